"""Small phrases that several views share: counts, sizes, and where a fit puts vCPUs and emulator threads. Layout does not belong here."""

from __future__ import annotations

from pinfold.core.cpuset import CpuSet
from pinfold.core.fit.model import EmulatorPlacement, Fit

_EMULATOR = {
    EmulatorPlacement.FLOAT: "its own pCPUs",
    EmulatorPlacement.POOL: "overhead pool",
    EmulatorPlacement.ISOLATED: "one for itself",
}


def count(number: int, noun: str) -> str:
    """The number with its noun, in the plural where it takes one.

    >>> count(1, "pCPU"), count(2, "pCPU")
    ('1 pCPU', '2 pCPUs')
    """
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def mib(amount: int) -> str:
    """An amount of memory in the largest unit that keeps it whole.

    >>> mib(512), mib(2048), mib(2500)
    ('512 MiB', '2 GiB', '2,500 MiB')
    """
    return f"{amount // 1024:,} GiB" if amount and amount % 1024 == 0 else f"{amount:,} MiB"


def vcpu_words(fit: Fit) -> str:
    """Where the vCPUs of a fit run: pinned pCPUs, and the set that the others float over."""
    parts = [str(fit.pinned)] if fit.pinned else []
    floating = fit.float_set
    for cell in fit.cells:
        floating |= cell.float_set
    if floating:
        parts.append(f"{'others float' if parts else 'float'} over {floating}")
    return ", ".join(parts)


def emulator_words(fit: Fit) -> str:
    """Where the emulator threads of a fit run, and why there."""
    return f"{fit.emulator} ({_EMULATOR[fit.emulator_placement]})"


def policy_words(placement: EmulatorPlacement) -> str:
    """What the emulator threads run on, in words."""
    return _EMULATOR[placement]


def plain(cpus: CpuSet | None) -> str:
    """A CPU set as text; `-` for none."""
    return str(cpus) if cpus else "-"

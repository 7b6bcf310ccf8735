"""The short marks that stand for guests and pCPUs on the map, and their colours. Laying them out does not belong here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pinfold.core.fit.model import Fit
from pinfold.core.ledger import HostState

GUEST_STYLES = ("bold cyan", "bold yellow", "bold magenta", "bold blue", "bold green", "bold bright_red")
FREE = "·"
CLASH = "!"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """What stands on one pCPU of the map: a few characters and a Rich style."""

    text: str
    style: str = ""


def letters(position: int) -> str:
    """The mark of the guest at that position: A to Z, then AA, AB and so on.

    >>> letters(0), letters(25), letters(26), letters(27)
    ('A', 'Z', 'AA', 'AB')
    """
    text = ""
    position += 1
    while position:
        position, digit = divmod(position - 1, 26)
        text = chr(ord("A") + digit) + text
    return text


def style_of(position: int) -> str:
    """The style of the guest at that position; neighbours differ."""
    return GUEST_STYLES[position % len(GUEST_STYLES)]


def pool_marks(state: HostState) -> Mapping[int, Mark]:
    """The pool of every online pCPU: `D` dedicated, `S` shared, `O` overhead, `SO` both, `R` retiring, `-` the host's own."""
    pools = state.pools
    retiring = _pinned(state) - set(pools.dedicated)
    marks: dict[int, Mark] = {}
    for cpu in state.topology.online:
        shared, overhead = cpu in pools.shared, pools.overhead is not None and cpu in pools.overhead
        if cpu in retiring:
            marks[cpu] = Mark(text="R", style="bold red")
        elif cpu in pools.dedicated:
            marks[cpu] = Mark(text="D", style="cyan")
        elif shared or overhead:
            marks[cpu] = Mark(text="S" * shared + "O" * overhead, style="green")
        else:
            marks[cpu] = Mark(text="-", style="dim")
    return marks


def owner_marks(state: HostState) -> Mapping[int, Mark]:
    """What runs on every online pCPU.

    `A0` is vCPU 0 of guest A, `Ae` its emulator threads, `A-` a sibling that it keeps idle, `x1` the first of somebody else's guests,
    `v` floating vCPUs, `e` overhead threads, `ve` both, `·` a free dedicated pCPU; `!` follows where two own one.
    """
    owned: dict[int, list[Mark]] = {}
    floating: set[int] = set()
    overhead: set[int] = set()
    for position, claim in enumerate(state.ledger.claims):
        for cpu, text in _own(claim.fit, letters(position)):
            owned.setdefault(cpu, []).append(Mark(text=text, style=style_of(position)))
        floating |= _float_cpus(claim.fit)
        overhead |= set(claim.fit.emulator - claim.fit.taken)
    for position, foreign in enumerate(state.ledger.foreign):
        for cpu in foreign.cpus:
            owned.setdefault(cpu, []).append(Mark(text=f"x{position + 1}", style="red"))
    return {cpu: _one(state, cpu, owned.get(cpu, []), "v" * (cpu in floating) + "e" * (cpu in overhead)) for cpu in state.topology.online}


def _one(state: HostState, cpu: int, owners: list[Mark], crowd: str) -> Mark:
    if len(owners) > 1:
        return Mark(text=owners[0].text + CLASH, style="bold white on red")
    if owners:
        return owners[0]
    if crowd:
        return Mark(text=crowd, style="green")
    return Mark(text=FREE if cpu in state.pools.dedicated else "", style="dim")


def _own(fit: Fit, mark: str) -> list[tuple[int, str]]:
    own = [(cpu, f"{mark}{vcpu}") for vcpu, cpu in fit.pins]
    if fit.emulator_pcpu is not None:
        own.append((fit.emulator_pcpu, f"{mark}e"))
    return own + [(cpu, f"{mark}-") for cpu in fit.idle_siblings]


def _float_cpus(fit: Fit) -> set[int]:
    cpus = set(fit.float_set) if fit.float_vcpus else set()
    for cell in fit.cells:
        cpus |= set(cell.float_set)
    return cpus


def _pinned(state: HostState) -> set[int]:
    return {cpu for claim in state.ledger.claims for cpu in claim.fit.taken}

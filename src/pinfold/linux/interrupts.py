"""Read from procfs to which pCPUs the kernel delivers each interrupt.

The kernel manages the affinity of some interrupts itself (`IRQD_AFFINITY_MANAGED`): those of the queues of NVMe, virtio-blk and many
network cards. It refuses a write to their affinity (the kernel's `kernel/irq/proc.c`). Newer kernels make these files read-only, seen on
6.18. Older ones do not show which interrupts these are.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from msgspec import Struct

from pinfold.core.cpuset import CpuSet
from pinfold.linux import kernel_file
from pinfold.linux.kernel_file import KernelFile
from pinfold.linux.procfs import PROC
from pinfold.linux.sysfs import SYS

_DIGITS: Final = 20


class Interrupt(Struct, frozen=True, kw_only=True):
    """One interrupt: the names of its handlers, where it may be delivered (`allowed`), and where it is (`effective`).

    `counts` are how often it came to each pCPU since boot, separated by commas.
    """

    number: int
    names: tuple[str, ...]
    allowed: KernelFile
    effective: KernelFile
    counts: KernelFile = KernelFile(path="", problem="not read")

    def count_on(self, pcpus: CpuSet) -> int | None:
        """How often it came to these pCPUs since boot; None if that cannot be seen."""
        counts = self.counts.text.split(",")
        if self.counts.problem or not all(one.isascii() and one.isdecimal() and len(one) <= _DIGITS for one in counts):
            return None
        return sum(int(one) for pcpu, one in enumerate(counts) if pcpu in pcpus)


class Interrupts(Struct, frozen=True, kw_only=True):
    """The interrupts that have handlers, by number. `problem` says why `folder` cannot be seen."""

    folder: str
    found: tuple[Interrupt, ...] = ()
    problem: str = ""


def interrupts(*, proc: Path = PROC, sys: Path = SYS) -> Interrupts:
    """The interrupts of this machine. One that goes away meanwhile is left out. Raises nothing."""
    folder = proc / "irq"
    try:
        numbers = sorted(int(name) for name in os.listdir(folder) if name.isascii() and name.isdigit())
    except OSError as error:
        return Interrupts(folder=str(folder), problem=error.strerror or str(error))
    found = (_interrupt(folder / str(number), number, sys) for number in numbers)
    return Interrupts(folder=str(folder), found=tuple(one for one in found if one is not None))


def _interrupt(folder: Path, number: int, sys: Path) -> Interrupt | None:
    """One interrupt; None without a handler. A handler is a folder, and the kernel writes a slash in its name as `!`."""
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
    except OSError:
        return None
    if not names:
        return None
    allowed = kernel_file.read(folder / "smp_affinity_list")
    effective = kernel_file.read(folder / "effective_affinity_list")
    return Interrupt(
        number=number,
        names=tuple(names),
        allowed=allowed,
        effective=allowed if effective.problem else effective,
        counts=kernel_file.read(sys / f"kernel/irq/{number}/per_cpu_count"),
    )

"""Whether the memory of a guest lies on the cells that it was given. Reading where memory lies does not belong here (`linux.numa`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from pinfold.core.cpuset import CpuSet
from pinfold.core.drift import remedy
from pinfold.core.drift.finding import Finding, FindingCode, Subject

_LEAST_AREA_KIB: Final = 8 * 1024
_LEAST_ASTRAY_KIB: Final = 32 * 1024
_HARD_REBOOT: Final = "reboot it with `openstack server reboot --hard`: QEMU then takes its memory anew, where the definition says"


class AreaKind(Enum):
    """What backs an area of a process's memory."""

    HUGE = "huge"
    """Huge pages: of a hypervisor's process, guest memory alone."""
    PLAIN = "plain"
    """Memory of nobody's file: a guest's, or the process's own."""
    OTHER = "other"
    """The heap, stacks, programs and other files: no guest's memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Area:
    """One area of a process's memory: what backs it, the size of its pages, and `(cell, pages)` for each cell that has some of them."""

    kind: AreaKind
    page_kib: int
    pages: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedMemory:
    """The host cells that a guest's memory belongs on, and how much of it there is on huge pages, in MiB by cell."""

    cells: CpuSet
    huge_mib: Mapping[int, int]


def misplaced_memory(subject: Subject, wanted: ExpectedMemory, areas: Iterable[Area]) -> tuple[Finding, ...]:
    """The memory that lies on a cell where it does not belong; at most one finding. Pure.

    1. Huge pages are all the guest's: what a cell has beyond its share, as far as another cell lacks it.
    2. Other memory of a hypervisor is the guest's where an area holds 8 MiB or more. What lies off the wanted cells counts from 32 MiB on:
       below that it may be QEMU's own.
    """
    seen = tuple(areas)
    astray = _huge_astray(wanted, seen)
    for cell, kib in _plain_astray(wanted, seen).items():
        astray[cell] = astray.get(cell, 0) + kib
    if not astray:
        return ()
    return (
        Finding(
            code=FindingCode.MEMORY_CELL,
            guest=subject.name,
            guest_id=subject.id,
            subject=f"{sum(astray.values()) // 1024} MiB",
            recorded=str(wanted.cells),
            observed=str(CpuSet(astray)),
            advice=f"start it anew: {remedy.restarted(subject)}" if subject.owner else _HARD_REBOOT,
        ),
    )


def _huge_astray(wanted: ExpectedMemory, areas: tuple[Area, ...]) -> dict[int, int]:
    """KiB of huge pages too many by cell, at most as many in all as other cells lack: the lowest cells first."""
    held = _by_cell(area for area in areas if area.kind is AreaKind.HUGE)
    due = {cell: mib * 1024 for cell, mib in wanted.huge_mib.items()}
    lacking = sum(kib - min(kib, held.get(cell, 0)) for cell, kib in due.items())
    astray: dict[int, int] = {}
    for cell in sorted(held):
        extra = min(held[cell] - min(held[cell], due.get(cell, 0)), lacking)
        if extra:
            astray[cell] = extra
            lacking -= extra
    return astray


def _plain_astray(wanted: ExpectedMemory, areas: tuple[Area, ...]) -> dict[int, int]:
    plain = (area for area in areas if area.kind is AreaKind.PLAIN)
    large = (area for area in plain if area.page_kib * sum(count for _, count in area.pages) >= _LEAST_AREA_KIB)
    astray = {cell: kib for cell, kib in _by_cell(large).items() if cell not in wanted.cells}
    return astray if sum(astray.values()) >= _LEAST_ASTRAY_KIB else {}


def _by_cell(areas: Iterable[Area]) -> dict[int, int]:
    held: dict[int, int] = {}
    for area in areas:
        for cell, count in area.pages:
            held[cell] = held.get(cell, 0) + count * area.page_kib
    return held

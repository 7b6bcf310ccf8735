"""Whether a guest's memory is on the host cells of its place. `linux.numa` reads where memory is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Final

from msgspec import Struct

from pinfold.core.cpuset import CpuSet
from pinfold.core.drift import remedy
from pinfold.core.drift.finding import Finding, FindingCode, Subject

_LEAST_AREA_KIB: Final = 8 * 1024
_LEAST_ASTRAY_KIB: Final = 32 * 1024
_HARD_REBOOT: Final = "reboot it with `openstack server reboot --hard`: QEMU then takes its memory anew, where the definition says"


class AreaKind(Enum):
    """What backs a memory area of a process."""

    HUGE = "huge"
    """Huge pages. In a hypervisor's process they are guest memory only."""
    PLAIN = "plain"
    """Anonymous memory: the guest's, or the process's own."""
    OTHER = "other"
    """Heap, stacks, programs and other files: never guest memory."""


class Area(Struct, frozen=True, kw_only=True):
    """One memory area of a process: its kind, page size, and `(cell, pages)` for each cell that holds some."""

    kind: AreaKind
    page_kib: int
    pages: tuple[tuple[int, int], ...]


class ExpectedMemory(Struct, frozen=True, kw_only=True):
    """The host cells that a guest's memory should be on, and the MiB in huge pages that each should hold."""

    cells: CpuSet
    huge_mib: Mapping[int, int]


def misplaced_memory(subject: Subject, wanted: ExpectedMemory, areas: Iterable[Area], age: float = 0.0) -> tuple[Finding, ...]:
    """A finding for guest memory on a wrong cell; at most one. It says the age of the reading in minutes, from one on. Pure.

    1. All huge pages are the guest's. What a cell has beyond its share counts, up to what other cells lack.
    2. Areas of other memory are the guest's if they hold 8 MiB or more. Memory off the expected cells counts from 32 MiB on; less may be
       QEMU's own.
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
            subject=f"{sum(astray.values()) // 1024} MiB{f' (read {age // 60:.0f} min ago)' if age >= 60 else ''}",
            recorded=str(wanted.cells),
            observed=str(CpuSet(astray)),
            advice=f"start it anew: {remedy.restarted(subject)}" if subject.owner else _HARD_REBOOT,
        ),
    )


def placed_mib(areas: Iterable[Area]) -> tuple[tuple[int, int], ...]:
    """How many MiB of a guest's memory lie on each host cell, by cell: its huge pages, and large areas of other memory. Pure."""
    guests = (area for area in areas if area.kind is AreaKind.HUGE or (area.kind is AreaKind.PLAIN and _large(area)))
    return tuple((cell, kib // 1024) for cell, kib in sorted(_by_cell(guests).items()) if kib >= 1024)


def _huge_astray(wanted: ExpectedMemory, areas: tuple[Area, ...]) -> dict[int, int]:
    """The surplus of huge pages by cell in KiB, lowest cells first, limited in total to what other cells lack."""
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
    astray = {cell: kib for cell, kib in _by_cell(filter(_large, plain)).items() if cell not in wanted.cells}
    return astray if sum(astray.values()) >= _LEAST_ASTRAY_KIB else {}


def _large(area: Area) -> bool:
    return area.page_kib * sum(count for _, count in area.pages) >= _LEAST_AREA_KIB


def _by_cell(areas: Iterable[Area]) -> dict[int, int]:
    held: dict[int, int] = {}
    for area in areas:
        for cell, count in area.pages:
            held[cell] = held.get(cell, 0) + count * area.page_kib
    return held

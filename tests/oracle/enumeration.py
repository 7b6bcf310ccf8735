"""What fits, by trying everything: every map of cells, every choice of pCPUs and of pages. For small hosts; no cleverness belongs here.

1. Host: traits, disk, the emulator's pool, the host's line of vCPUs.
2. Every injection of guest cells into host cells, and every guest cell that may carry the isolated emulator pCPU.
3. In each chosen cell every set of pCPUs that the thread policy allows, with every pCPU left for the emulator.
4. Every choice of page sizes, each checked in its cell and together against the host's line of memory.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from tests.oracle.room import CellRoom, PageRoom, Room

from pinfold.core.request.model import CpuPolicy, EmulatorPolicy, GuestCell, GuestRequest, PageKind, ThreadPolicy

T = TypeVar("T")
Order = Callable[[Sequence[T]], Sequence[T]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """One valid placement: per guest cell its host cell, its pCPUs (ascending) and its page size; and the isolated emulator's pCPU."""

    host_cells: tuple[int, ...] = ()
    pcpus: tuple[tuple[int, ...], ...] = ()
    pages: tuple[int, ...] = ()
    carrier: int | None = None
    emulator: int | None = None


def as_given(items: Sequence[T]) -> Sequence[T]:
    """The order in which things are tried when it does not matter."""
    return items


def host_allows(request: GuestRequest, room: Room) -> bool:
    """Clauses 1 to 4, 10, 11 and 13: whatever does not depend on the choice of cells."""
    if not request.traits_required <= room.traits or request.traits_forbidden & room.traits:
        return False
    if room.disk is not None and request.disk_gib > room.disk:
        return False
    if request.emulator_policy is EmulatorPolicy.SHARE and not _pool_allows(request, room):
        return False
    floating = len(request.floating)
    if floating and (not room.shared or room.floating + floating > len(room.shared) * room.effective_ratio()):
        return False
    if request.cells:
        return True
    return request.memory_mib / room.ram_ratio <= room.small_memory


def _pool_allows(request: GuestRequest, room: Room) -> bool:
    if room.overhead is None:
        return len(request.realtime) < request.vcpus
    if not room.overhead:
        return False
    if not room.enforce or not room.books_overhead():
        return True
    return room.overhead_booked + room.overhead_of(request) <= room.overhead_capacity()


def placements(
    request: GuestRequest, room: Room, order: Order[Any] = as_given, carriers: Sequence[int] | None = None
) -> Iterator[Placement]:
    """Placements, one for each map of cells and carrier that allows any; `order` decides what is tried first.

    `carriers` restricts the guest cells that may carry the isolated emulator pCPU.
    """
    if not host_allows(request, room):
        return
    if not request.cells:
        yield Placement()
        return
    isolated = request.emulator_policy is EmulatorPolicy.ISOLATE
    thread = ThreadPolicy.PREFER if request.cpu_policy is CpuPolicy.SHARED else request.thread_policy

    pages = {
        (guest.id, cell.id): [page for page in cell.pages if page_works(request, guest, page)] if shared_works(guest, cell, room) else []
        for guest in request.cells
        for cell in room.cells
    }
    known: dict[tuple[int, int, bool], tuple[tuple[int, ...], int | None] | None] = {}

    def pcpus(cell: CellRoom, count: int, carries: bool) -> tuple[tuple[int, ...], int | None] | None:
        key = (cell.id, count, carries)
        if key not in known:
            known[key] = next(pcpu_choices(cell, count, carries, thread, order), None)
        return known[key]

    everyone = range(len(request.cells)) if carriers is None else carriers
    for chosen in itertools.permutations(order(room.cells), len(request.cells)):
        pairs = list(zip(request.cells, chosen, strict=True))
        options = [pages[guest.id, cell.id] for guest, cell in pairs]
        if not all(options):
            continue
        sizes = _pages_together(request, room, options)
        if sizes is None:
            continue
        for carrier in order(everyone) if isolated else [None]:
            found = [pcpus(cell, len(guest.dedicated), carrier == index) for index, (guest, cell) in enumerate(pairs)]
            if all(choice is not None for choice in found):
                choices = [choice for choice in found if choice is not None]
                yield Placement(
                    host_cells=tuple(cell.id for cell in chosen),
                    pcpus=tuple(choice[0] for choice in choices),
                    pages=sizes,
                    carrier=carrier,
                    emulator=None if carrier is None else choices[carrier][1],
                )


def pcpu_choices(
    cell: CellRoom, count: int, carries: bool, thread: ThreadPolicy, order: Order[Any] = as_given
) -> Iterator[tuple[tuple[int, ...], int | None]]:
    """Every set of `count` pCPUs for vCPUs, with every pCPU for the emulator where the cell carries it; clauses 6 and 12."""
    free = order(sorted(cell.free))
    for chosen in itertools.combinations(free, count):
        if not thread_policy_allows(cell, frozenset(chosen), thread):
            continue
        if not carries:
            yield tuple(sorted(chosen)), None
            continue
        for emulator in free:
            if emulator not in chosen and emulator_allows(cell, frozenset(chosen), emulator, thread):
                yield tuple(sorted(chosen)), emulator


def thread_policy_allows(cell: CellRoom, chosen: frozenset[int], thread: ThreadPolicy) -> bool:
    """Clause 6, for a set of free pCPUs."""
    if thread is ThreadPolicy.PREFER:
        return True
    for core in cell.cores:
        here = core & chosen
        if here and thread is ThreadPolicy.REQUIRE and len(core & cell.free) < 2:
            return False
        if here and thread is ThreadPolicy.ISOLATE and (len(here) > 1 or not core <= cell.free):
            return False
    return True


def emulator_allows(cell: CellRoom, chosen: frozenset[int], emulator: int, thread: ThreadPolicy) -> bool:
    """Clause 12, for a free pCPU that carries no vCPU."""
    if thread is not ThreadPolicy.ISOLATE:
        return True
    core = next(core for core in cell.cores if emulator in core)
    return core <= cell.free and not core & chosen


def page_works(request: GuestRequest, guest: GuestCell, page: PageRoom) -> bool:
    """Clause 8, for one guest cell and one page size of a host cell; the host's line apart."""
    kind = request.page.kind
    if kind is PageKind.EXPLICIT and page.size_kib != request.page.size_kib:
        return False
    if (kind is PageKind.SMALL and not page.small) or (kind is PageKind.LARGE and page.small):
        return False
    memory_kib = guest.memory_mib * 1024
    if memory_kib % page.size_kib:
        return False
    return (memory_kib if page.small else memory_kib // page.size_kib) <= page.free


def shared_works(guest: GuestCell, cell: CellRoom, room: Room) -> bool:
    """Clause 7 in one host cell."""
    floating = len(guest.shared)
    if not floating:
        return True
    return floating <= len(cell.shared) and cell.floating + floating <= len(cell.shared) * room.effective_ratio()


def _pages_together(request: GuestRequest, room: Room, options: list[list[PageRoom]]) -> tuple[int, ...] | None:
    """Page sizes for all guest cells that keep the host's line of memory (3), larger pages first; None where there are none."""
    for pages in itertools.product(*(reversed(sizes) for sizes in options)):
        strict = sum(guest.memory_mib for guest, page in zip(request.cells, pages, strict=True) if page.small)
        if not strict or strict <= room.small_memory:
            return tuple(page.size_kib for page in pages)
    return None


def feasible_in(request: GuestRequest, room: Room) -> bool:
    """Whether any placement exists."""
    return next(placements(request, room), None) is not None

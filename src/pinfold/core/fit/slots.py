"""`free_slots`: how many more guests of one kind fit on a host. `stranded` says which pCPUs no flavor can use.

The answer is the largest n such that n of these guests can be placed one after another, each validly by docs/design/0001-what-fits.md. It
is the maximum over all choices of cells, cores and pages. Where guests have several cells, the engine may end earlier, because it prefers
full or empty host cells and does not look ahead.

Guests whose cells are equal (`Demand.one_kind`) are counted, none is placed:
1. Each line of the host (disk, floating vCPUs, memory, overhead) allows a number of guests.
2. Each host cell allows a number b of guest cells: by its pCPUs, the thread policy, its shared room and its pages.
3. n guests of k cells need n * k places, and a host cell serves each guest once. So n guests fit exactly if the sum of min(b, n) over the
   host cells is at least n * k. The largest such n is the least over 0 <= r < k of floor((sum of b less the r largest) / (k - r)).
4. In two cases n is searched by bisection, with `_feasible` as the test: only a part of the guest cells may be on small pages (page size
   `any` on a host that is short of them), or one of a guest's several cells carries an isolated emulator.
Why n guests find places in 3 and 4: draw an edge for each place, from its host cell to one of the k roles in a guest. No host cell or role
has more than n edges, so n colours suffice (Koenig 1916), and each colour is one guest.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Final

from msgspec import Struct

from pinfold.core.fit.count import CellCounts, Counts
from pinfold.core.fit.demand import CellNeed, Demand
from pinfold.core.fit.engine import search
from pinfold.core.fit.room import overhead_lack
from pinfold.core.host import Claim
from pinfold.core.identity import GuestId
from pinfold.core.overhead.pool import booked_millicpu

AMPLE: Final = 1 << 40
"""The number for "without limit"."""


class Resource(Enum):
    """What a host may lack. `free_slots` can ignore each but PCPUS."""

    OVERHEAD = "overhead"
    """room in the overhead pool"""
    DISK = "disk"
    SHARED = "shared"
    """room for floating vCPUs"""
    MEMORY = "memory"
    """small pages, of the host or of a cell"""
    PAGES = "pages"
    """huge pages"""
    SIBLINGS = "siblings"
    """whole cores, or cores with two free threads, as the thread policy asks"""
    PCPUS = "pcpus"
    """free pCPUs in one place"""


Ignored = frozenset[Resource]
NOTHING: Final[Ignored] = frozenset()


class _CellRoom(Struct, frozen=True):
    """What one host cell allows. `free` are pCPUs (whole cores with thread policy `isolate`), `guests` the most guest cells, and `huge` how
    many of these may be on pages other than small ones.
    """

    free: int
    guests: int
    huge: int


def free_slots(demand: Demand, counts: Counts, most: int = AMPLE, *, ignored: Ignored = NOTHING) -> int:
    """How many more guests like this the counted host takes, at most `most`. `ignored` resources are taken to be unlimited.

    Pure. Exact for guests without cells and for guests with equal cells. Two kinds of guests are placed by the engine (PACK) one after
    another until it refuses, at about 0.1 ms each; then the answer is a number that is certainly reached, `ignored` has no effect, and a
    better order might place more. They are guests with unequal cells (`hw:numa_cpus.N`), and guests of several cells with an isolated
    emulator and page size `any` on a host that is short of small pages.
    """
    bound = min(most, _host_slots(demand, counts, ignored))
    if not demand.cells or bound <= 0:
        return bound
    if len(demand.cells) > len(counts.cells):
        return 0
    if not demand.one_kind:
        return one_after_another(demand, counts, bound)
    need, cells = demand.kinds[0], len(demand.cells)
    carried = demand.own_pcpus if cells == 1 else 0
    rooms = [_cell_room(cell, need, carried, demand, ignored) for cell in counts.cells]
    bound = min(bound, together([room.guests for room in rooms], cells))
    small = _small_slots(demand, need, counts, ignored)
    rationed = sum([room.guests - min(room.guests, room.huge) for room in rooms]) > small
    carries = demand.own_pcpus > carried
    if not rationed and not carries:
        return bound
    if rationed and carries:
        return one_after_another(demand, counts, bound)
    low, high = 0, bound
    while low < high:
        middle = (low + high + 1) // 2
        if _feasible(middle, cells, rooms, small, need.pins if carries else None):
            low = middle
        else:
            high = middle - 1
    return low


def together(capacities: Sequence[int], cells: int) -> int:
    """How many guests of `cells` equal cells fit, if each takes a place on that many different host cells with these numbers of places.

    >>> together([3, 1, 1], 2), together([5, 4, 1], 3), together([7], 1), together([7], 2)
    (2, 1, 7, 0)
    """
    left = sum(capacities)
    least = left // cells
    for rest, capacity in zip(range(cells - 1, 0, -1), sorted(capacities, reverse=True), strict=False):
        left -= capacity
        least = min(least, left // rest)
    return least


def _feasible(slots: int, cells: int, rooms: Sequence[_CellRoom], small: int, pins: int | None) -> bool:
    """Whether `slots` guests of so many cells fit. With `pins`, one cell of each guest also carries an emulator pCPU; then small pages
    suffice for all.

    A host cell with z guest cells has `free - z * pins` pCPUs for emulators and carries at most z. Giving up one place there makes room for
    up to `pins` more emulators, and each further place for no more than the one before. So spare places are given up where each gains most.
    """
    wanted = slots * cells
    places = [min(room.guests, slots) for room in rooms]
    if pins is None:
        huge = sum([min(room.huge, most) for room, most in zip(rooms, places, strict=True)])
        return huge + min(small, sum(places) - huge) >= wanted
    spare = sum(places) - wanted
    if spare < 0:
        return False
    carried, gains = 0, []
    for room, most in zip(rooms, places, strict=True):
        now = min(most, room.free - most * pins)
        carried += now
        for given in range(1, most + 1):
            after = min(most - given, room.free - (most - given) * pins)
            if after <= now:
                break
            gains.append(after - now)
            now = after
    return carried + sum(sorted(gains, reverse=True)[:spare]) >= slots


def one_after_another(demand: Demand, counts: Counts, most: int = AMPLE) -> int:
    """How many the engine places, one after another, at most `most`."""
    slots = 0
    while slots < most:
        fit = search(demand, counts)
        if fit is None:
            break
        counts = counts.claimed(Claim(guest=GuestId(f"slot {slots}"), fit=fit))
        slots += 1
    return slots


def times(room: int, need: int) -> int:
    """How often `need` goes into `room`; never, if the room is overdrawn."""
    if need > room:
        return 0
    return room // need if need else AMPLE


def _host_slots(demand: Demand, counts: Counts, ignored: Ignored) -> int:
    """How many guests the host's own lines allow, without regard to cells."""
    frame, request = counts.frame, demand.request
    if demand.traits and not (request.traits_required <= frame.traits and request.traits_forbidden.isdisjoint(frame.traits)):
        return 0
    slots = AMPLE
    if counts.disk_room is not None and Resource.DISK not in ignored:
        slots = times(counts.disk_room, demand.disk_gib)
    if demand.floating:
        if not frame.n_shared:
            return 0
        if Resource.SHARED not in ignored:
            slots = min(slots, times(counts.vcpu_room, demand.floating))
    if (demand.only_small_pages or not demand.cells) and Resource.MEMORY not in ignored:
        slots = min(slots, times(counts.strict_room_mib if demand.cells else counts.floating_room_mib, request.memory_mib))
    if demand.asks_pool and Resource.OVERHEAD not in ignored:
        slots = min(slots, _overhead_slots(demand, counts))
    return slots


def _overhead_slots(demand: Demand, counts: Counts) -> int:
    pool = counts.frame.pool
    if overhead_lack(demand, counts) is not None:
        return 0
    if demand.rules[pool.state].books and pool.books and pool.enforces:
        return times(counts.overhead_room, booked_millicpu(demand.request, pool.rates))
    return AMPLE


def _small_slots(demand: Demand, need: CellNeed, counts: Counts, ignored: Ignored) -> int:
    """How many guest cells may be on small pages by the host's line; `_host_slots` has counted those of guests that take no others."""
    if demand.only_small_pages or not need.memory_mib or Resource.MEMORY in ignored:
        return AMPLE
    return times(counts.strict_room_mib, need.memory_mib)


def _cell_room(cell: CellCounts, need: CellNeed, carried: int, demand: Demand, ignored: Ignored) -> _CellRoom:
    """What one host cell allows. `carried` is 1 if each guest cell carries an emulator pCPU."""
    whole_cores = demand.isolated_threads and Resource.SIBLINGS not in ignored
    free = cell.shape.n_wholes if whole_cores else cell.n_free
    guests = times(free, need.pins + carried)
    if demand.required_threads and need.pins and Resource.SIBLINGS not in ignored:
        guests = min(guests, _paired_slots(cell, need.pins))
    if need.floats > cell.frame.n_shared:
        guests = 0
    elif need.floats and Resource.SHARED not in ignored:
        guests = min(guests, times(cell.shared_room, need.floats))
    huge, small = _page_slots(cell, need, demand, ignored)
    return _CellRoom(free, min(guests, huge + small), huge)


def _paired_slots(cell: CellCounts, pins: int) -> int:
    """How many guest cells find pCPUs with thread policy `require`: each takes them on cores with two or more free threads.

    Looked at from the last guest to the first, a guest opens a core with two threads at once, or it wastes one of them. A guest of p pCPUs
    opens at most p // 2 cores well. If n guests can open all m cores well, nothing is wasted, and n * p <= the sum of free threads. If not,
    each of the others gives one thread less, and each guest takes p // 2 pairs and p % 2 single threads: n * ceil(p / 2) <= that sum - m.
    """
    cores = sum([len(core) > 1 for core in (*cell.shape.wholes, *cell.shape.brokens)])
    most = cell.shape.n_paired // pins
    if most * (pins // 2) >= cores:
        return most
    return min(most, (cell.shape.n_paired - cores) // ((pins + 1) // 2))


def _page_slots(cell: CellCounts, need: CellNeed, demand: Demand, ignored: Ignored) -> tuple[int, int]:
    """How many guest cells find memory on pages other than small ones, and how many on small ones."""
    small_kib, explicit = cell.frame.small_kib, demand.explicit_kib
    huge = 0
    if not demand.only_small_pages and explicit != small_kib:
        if Resource.PAGES in ignored:
            huge = AMPLE
        else:
            sizes = [(size, free) for size, free in cell.huge if need.memory_kib % size == 0 and explicit in (0, size)]
            huge = sum([times(free, need.memory_kib // size) for size, free in sizes])
        if not demand.may_be_small:
            return huge, 0
    if Resource.MEMORY in ignored:
        return huge, AMPLE
    if need.memory_kib % small_kib:
        return huge, 0
    return huge, times(cell.small_free_mib, need.memory_mib)

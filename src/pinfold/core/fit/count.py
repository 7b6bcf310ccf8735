"""`Counts`: what each cell of a host has left, by core shape, page size and shared room.

Counts are computed once per `HostState` and stored with it. A claim or a release computes the next counts from them and recounts only the
cells that it changes. All of this is internal to the engine: bit masks, integers and tuples that never change.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from itertools import chain
from math import floor
from operator import attrgetter
from typing import TYPE_CHECKING

from pinfold.core.fit.model import Fit, FitCell, Strategy
from pinfold.core.overhead import capacity_millicpu
from pinfold.core.topology import HostCell

if TYPE_CHECKING:
    from pinfold.core.host import HostState

Threads = tuple[int, ...]

_PACK = Strategy.PACK
_free_pcpus = attrgetter("n_free")
_shared_room = attrgetter("shared_room")


class CellFrame:
    """The constant parts of one host cell: its cores, its part of the shared pool, its pages without the reserved ones.

    `cores` are `(mask, pCPUs)` by lowest pCPU. `core_of` is the mask of each pCPU's core. `rank` orders the cell's pCPUs core by core.
    """

    __slots__ = (
        "core_of",
        "cores",
        "huge",
        "id",
        "mask",
        "n_shared",
        "position",
        "rank",
        "shared",
        "shared_cap",
        "small_kib",
        "small_total_kib",
    )

    def __init__(self, position: int, cell: HostCell, frame: Frame) -> None:
        self.position = position
        self.id = cell.id
        self.mask = cell.cpus.mask
        self.cores: tuple[tuple[int, Threads], ...] = tuple((core.mask, tuple(core)) for core in cell.cores)
        self.rank = {pcpu: rank for rank, pcpu in enumerate(chain.from_iterable(threads for _, threads in self.cores))}
        self.core_of = {pcpu: mask for mask, threads in self.cores for pcpu in threads}
        self.shared = frame.shared & cell.cpus
        self.n_shared = len(self.shared)
        over, under = frame.effective_ratio
        self.shared_cap = self.n_shared * over // under
        self.small_kib = cell.small_page_kib
        kept = {page.size_kib: page.count for page in frame.reserved_pages if page.cell == cell.id}
        small = cell.pages[0].total - kept.get(self.small_kib, 0) if cell.pages else 0
        self.small_total_kib = small * self.small_kib
        self.huge = tuple((page.size_kib, page.total - kept.get(page.size_kib, 0)) for page in reversed(cell.pages[1:]))


class Frame:
    """The parts of a host that claims do not change: cells, pools, capacities as exact integers.

    Ratios and fractions are exact: the decimals as written. `vcpu_cap` is the host's limit of floating vCPUs. `books` is False if there
    is no overhead pool, or if it counts as shared only (`shared_fraction` 0).
    """

    __slots__ = (
        "books",
        "cells",
        "dedicated",
        "disk_cap",
        "effective_ratio",
        "empty",
        "enforces",
        "n_shared",
        "overhead",
        "overhead_cap",
        "ram_ratio",
        "rates",
        "reserved_memory_kib",
        "reserved_pages",
        "shared",
        "small_total_kib",
        "traits",
        "vcpu_cap",
    )

    def __init__(self, state: HostState) -> None:
        pools, limits = state.pools, state.limits
        self.dedicated = pools.dedicated.mask & state.topology.online.mask
        self.shared = pools.shared
        self.n_shared = len(pools.shared)
        self.overhead = pools.overhead
        self.effective_ratio = _effective_ratio(state).as_integer_ratio()
        self.vcpu_cap = self.n_shared * self.effective_ratio[0] // self.effective_ratio[1]
        self.overhead_cap = capacity_millicpu(pools, limits)
        self.books = pools.overhead is not None and not (limits.shared_fraction == 0 and pools.overhead <= pools.shared)
        self.enforces = limits.booking.value == "enforce"
        self.rates = limits.rates
        self.ram_ratio = exact(limits.ram_allocation_ratio).as_integer_ratio()
        self.reserved_memory_kib = limits.reserved_memory_mib * 1024
        self.reserved_pages = limits.reserved_pages
        self.disk_cap = (
            None if state.disk_gib is None else floor(state.disk_gib * exact(limits.disk_allocation_ratio)) - limits.reserved_disk_gib
        )
        self.traits = state.traits
        self.cells = tuple(CellFrame(position, cell, self) for position, cell in enumerate(state.topology.cells))
        self.small_total_kib = sum(cell.small_total_kib for cell in self.cells)
        self.empty: Counts | None = None


class CellCounts:
    """What one host cell has left.

    `wholes` are the cores with all online siblings free, and `brokens` the free parts of other cores (`broken` as a mask), by lowest pCPU.
    `whole_threads` are the pCPUs of `wholes` in a row, and `whole_size` their common number of threads (0 if it varies). `n_paired` counts
    free pCPUs on cores with two or more free ones. `huge` are `(size in KiB, free pages)`, the largest first.
    """

    __slots__ = (
        "broken",
        "brokens",
        "floats",
        "frame",
        "free",
        "huge",
        "n_free",
        "n_paired",
        "shared_room",
        "small_free_mib",
        "small_used_kib",
        "whole_size",
        "whole_threads",
        "wholes",
    )

    def __init__(self, frame: CellFrame, free: int, floats: int, small_used_kib: int, huge: tuple[tuple[int, int], ...]) -> None:
        self.frame = frame
        self.free = free
        self.n_free = free.bit_count()
        self.floats = floats
        self.shared_room = frame.shared_cap - floats
        self.small_used_kib = small_used_kib
        self.small_free_mib = (frame.small_total_kib - small_used_kib) // 1024
        self.huge = huge
        self._shape()

    def _shape(self) -> None:
        wholes: list[Threads] = []
        brokens: list[Threads] = []
        paired = broken = 0
        free = self.free
        for mask, threads in self.frame.cores:
            left = mask & free
            if left == mask:
                wholes.append(threads)
                if len(threads) > 1:
                    paired += len(threads)
            elif left:
                part = tuple([pcpu for pcpu in threads if left >> pcpu & 1])
                brokens.append(part)
                broken |= left
                if len(part) > 1:
                    paired += len(part)
        self.wholes = tuple(wholes)
        self.brokens = tuple(brokens)
        self.n_paired = paired
        self.broken = broken
        self.whole_threads = tuple(chain.from_iterable(wholes))
        sizes = {len(threads) for threads in wholes}
        self.whole_size = sizes.pop() if len(sizes) == 1 else 0


class Counts:
    """What a whole host has left. A room is the most that one more guest may take; it is negative if the host is overdrawn.

    `cells` are in the topology's order. `floating_room_mib` is for a guest without cells, `strict_room_mib` for the small pages of guest
    cells.
    """

    __slots__ = (
        "booked",
        "by_id",
        "cells",
        "disk_room",
        "disk_used",
        "floating_mib",
        "floating_room_mib",
        "foreign",
        "foreign_kib",
        "frame",
        "free",
        "orders",
        "overhead_room",
        "strict_mib",
        "strict_room_mib",
        "vcpu_room",
        "vcpus",
    )

    frame: Frame
    cells: tuple[CellCounts, ...]
    free: int
    foreign: int
    foreign_kib: int
    floating_mib: int
    strict_mib: int
    vcpus: int
    booked: int
    disk_used: int

    @classmethod
    def of(cls, state: HostState) -> Counts:
        """Count a host from nothing."""
        return cls._count(_frame_of(state), state)

    @classmethod
    def of_empty(cls, counts: Counts, state: HostState) -> Counts:
        """Count the same host without claims and foreign guests. Done once per host, not per claim."""
        frame = counts.frame
        if frame.empty is None:
            frame.empty = cls._count(frame, state, empty=True)
        return frame.empty

    @classmethod
    def _count(cls, frame: Frame, state: HostState, *, empty: bool = False) -> Counts:
        new = cls.__new__(cls)
        fits = () if empty else tuple(claim.fit for claim in state.ledger.claims)
        foreign = () if empty else state.ledger.foreign
        new.frame = frame
        new.foreign = 0
        foreign_pages: dict[tuple[int, int], int] = {}
        for other in foreign:
            new.foreign |= other.cpus.mask
            for page in other.pages:
                foreign_pages[page.cell, page.size_kib] = foreign_pages.get((page.cell, page.size_kib), 0) + page.count
        new.free = _free(frame, new.foreign, fits)
        parts: dict[int, list[FitCell]] = {cell.id: [] for cell in frame.cells}
        for fit in fits:
            for part in fit.cells:
                parts.setdefault(part.host_cell, []).append(part)
        new.cells = tuple([_count_cell(cell, new.free, parts[cell.id], foreign_pages) for cell in frame.cells])
        small = sum(foreign_pages.get((cell.id, cell.small_kib), 0) * cell.small_kib for cell in frame.cells)
        new.foreign_kib = small + sum(other.memory_mib for other in foreign) * 1024
        small_of = {cell.id: cell.small_kib for cell in frame.cells}
        new.floating_mib = new.strict_mib = new.vcpus = new.booked = new.disk_used = 0
        for fit in fits:
            new._charge(fit, small_of, 1)
        new._rooms()
        return new

    def after(self, fit: Fit, state: HostState, *, taken: bool) -> Counts:
        """The counts of `state`, which differs from the counted state by one claimed or released fit."""
        frame = self.frame
        new = Counts.__new__(Counts)
        new.frame, new.foreign, new.foreign_kib = frame, self.foreign, self.foreign_kib
        if taken:
            new.free = self.free & ~fit.taken.mask
        else:
            new.free = _free(frame, self.foreign, (claim.fit for claim in state.ledger.claims))
        sign = 1 if taken else -1
        changed = new.free ^ self.free
        guest_cells = {cell.host_cell: cell for cell in fit.cells}
        new.cells = tuple(
            [
                _recount(cell, new.free, guest_cells.get(cell.frame.id), sign)
                if cell.frame.id in guest_cells or changed & cell.frame.mask
                else cell
                for cell in self.cells
            ]
        )
        new.floating_mib, new.strict_mib, new.vcpus = self.floating_mib, self.strict_mib, self.vcpus
        new.booked, new.disk_used = self.booked, self.disk_used
        new._charge(fit, {cell.id: cell.small_kib for cell in frame.cells}, sign)
        new._rooms()
        return new

    def _charge(self, fit: Fit, small_of: dict[int, int], sign: int) -> None:
        self.vcpus += sign * fit.floating_count
        self.booked += sign * fit.overhead_millicpu
        self.disk_used += sign * fit.disk_gib
        if not fit.cells:
            self.floating_mib += sign * fit.memory_mib
        for cell in fit.cells:
            if cell.page_kib == small_of.get(cell.host_cell):
                self.strict_mib += sign * cell.memory_mib

    def _rooms(self) -> None:
        frame = self.frame
        self.vcpu_room = frame.vcpu_cap - self.vcpus
        self.overhead_room = frame.overhead_cap - self.booked
        self.disk_room = None if frame.disk_cap is None else frame.disk_cap - self.disk_used
        over, under = frame.ram_ratio
        rest = frame.small_total_kib - frame.reserved_memory_kib - self.foreign_kib - self.strict_mib * 1024
        self.floating_room_mib = rest * over // (1024 * under) - self.floating_mib
        self.strict_room_mib = (rest * over - self.floating_mib * 1024 * under) // (1024 * over)
        self.by_id = {cell.frame.id: cell for cell in self.cells}
        self.orders: list[tuple[CellCounts, ...] | None] = [None] * 4

    def order(self, strategy: Strategy, pins: bool) -> tuple[CellCounts, ...]:
        """The cells by preference: PACK puts the least free first, SPREAD the most; ties by id. Without pins, free means shared room."""
        key = (0 if pins else 1) + (0 if strategy is _PACK else 2)
        kept = self.orders[key]
        if kept is None:
            measure = _free_pcpus if pins else _shared_room
            kept = self.orders[key] = tuple(sorted(self.cells, key=measure, reverse=strategy is not _PACK))
        return kept


def exact(number: float) -> Fraction:
    """The exact decimal value of a configured number: 0.1 is one tenth, not the nearest binary fraction.

    >>> exact(1.1) * 10, exact(4)
    (Fraction(11, 1), Fraction(4, 1))
    """
    return Fraction(str(number))


def _frame_of(state: HostState) -> Frame:
    """The host's frame. It is stored with the topology and reused while pools, limits, traits and disk stay the same."""
    key = (state.pools, state.limits, state.traits, state.disk_gib)
    kept: tuple[object, Frame] | None = state.topology.__dict__.get("_frame")
    if kept is None or kept[0] != key:
        kept = state.topology.__dict__["_frame"] = (key, Frame(state))
    return kept[1]


def _effective_ratio(state: HostState) -> Fraction:
    pools, limits = state.pools, state.limits
    shared = len(pools.shared)
    if not shared:
        return Fraction(0)
    overlap = 0 if pools.overhead is None else len(pools.overhead & pools.shared)
    return exact(limits.cpu_allocation_ratio) * (shared - exact(limits.shared_fraction) * overlap) / shared


def _free(frame: Frame, foreign: int, fits: Iterable[Fit]) -> int:
    free = frame.dedicated & ~foreign
    for fit in fits:
        free &= ~fit.taken.mask
    return free


def _count_cell(cell: CellFrame, free: int, parts: Iterable[FitCell], foreign_pages: dict[tuple[int, int], int]) -> CellCounts:
    floats = 0
    used = {size: foreign_pages.get((cell.id, size), 0) for size in (cell.small_kib, *(size for size, _ in cell.huge))}
    for part in parts:
        floats += len(part.float_vcpus)
        if part.page_kib in used:
            used[part.page_kib] += part.memory_mib * 1024 // part.page_kib
    huge = tuple([(size, total - used[size]) for size, total in cell.huge])
    return CellCounts(cell, free & cell.mask, floats, used[cell.small_kib] * cell.small_kib, huge)


def _recount(cell: CellCounts, free: int, part: FitCell | None, sign: int) -> CellCounts:
    frame = cell.frame
    if part is None:
        return CellCounts(frame, free & frame.mask, cell.floats, cell.small_used_kib, cell.huge)
    small, huge = cell.small_used_kib, cell.huge
    if part.page_kib == frame.small_kib:
        small += sign * part.memory_mib * 1024
    else:
        pages = sign * (part.memory_mib * 1024 // part.page_kib)
        huge = tuple([(size, left - pages if size == part.page_kib else left) for size, left in huge])
    return CellCounts(frame, free & frame.mask, cell.floats + sign * len(part.float_vcpus), small, huge)

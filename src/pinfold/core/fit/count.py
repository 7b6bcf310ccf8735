"""`Counts`: what each cell of a host has left, by core shape, page size and shared room.

A caller that asks about a host more than once keeps its counts. `Counts.claimed` and `Counts.released` return the counts after a claim
or a release, and recount only the cells that it changes; `Counts.after` does so for a state that the caller has. `Frame` is the part that
many counts share. Apart from caches, neither changes.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from fractions import Fraction
from functools import cached_property
from itertools import chain
from math import floor
from operator import attrgetter
from typing import Final
from weakref import ref

from msgspec import Struct
from msgspec.structs import replace

from pinfold.core import ledger
from pinfold.core.fit.answer import Fit, FitCell, Strategy
from pinfold.core.host import Claim, HostState, Ledger, exact
from pinfold.core.identity import ClaimId, GuestId
from pinfold.core.overhead.pool import floating_pcpus, pool_of
from pinfold.core.packed_claims import packed
from pinfold.core.topology import HostCell

Threads = tuple[int, ...]

_PACK = Strategy.PACK
_free_pcpus = attrgetter("n_free")
_shared_room = attrgetter("shared_room")
_FEW: Final = 64
"""So many counts of a cell are kept before those that nobody has are looked for."""


class CellFrame:
    """The constant parts of one host cell: its cores, its part of the shared pool, its pages without the reserved ones.

    `cores` are `(mask, pCPUs)` by lowest pCPU, and `core_size` their common number of threads (0 if it varies). `core_of` is the mask of
    each pCPU's core. `rank` orders the cell's pCPUs core by core.
    """

    __slots__ = (
        "core_of",
        "core_size",
        "cores",
        "counted",
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
        "sweep_at",
    )

    def __init__(self, position: int, cell: HostCell, frame: Frame) -> None:
        self.position = position
        self.id = cell.id
        self.mask = cell.cpus.mask
        self.cores: tuple[tuple[int, Threads], ...] = tuple((core.mask, tuple(core)) for core in cell.cores)
        self.rank = {pcpu: rank for rank, pcpu in enumerate(chain.from_iterable(threads for _, threads in self.cores))}
        self.core_of = {pcpu: mask for mask, threads in self.cores for pcpu in threads}
        self.core_size = _common(len(threads) for _, threads in self.cores)
        self.shared = frame.shared & cell.cpus
        self.n_shared = len(self.shared)
        over, under = frame.effective_ratio
        self.shared_cap = self.n_shared * over // under
        self.small_kib = cell.small_page_kib
        kept = {page.size_kib: page.count for page in frame.reserved_pages if page.cell == cell.id}
        small = cell.pages[0].total - kept.get(self.small_kib, 0) if cell.pages else 0
        self.small_total_kib = small * self.small_kib
        self.huge = tuple((page.size_kib, page.total - kept.get(page.size_kib, 0)) for page in reversed(cell.pages[1:]))
        self.counted: dict[object, ref[CellCounts]] = {}
        self.sweep_at = _FEW

    def counts(self, free: int, floats: int, small_used_kib: int, huge: tuple[tuple[int, int], ...]) -> CellCounts:
        """The counts of a cell of this frame: one object for as long as somebody has it, because cells repeat in a fleet."""
        key = free, floats, small_used_kib, huge
        kept = self.counted.get(key)
        found = None if kept is None else kept()
        if found is None:
            # A plain dict that is swept now and then: a `WeakValueDictionary` takes 2 us more for each new cell.
            if len(self.counted) >= self.sweep_at:
                self.counted = {known: one for known, one in self.counted.items() if one() is not None}
                self.sweep_at = 2 * len(self.counted) + _FEW
            found = CellCounts(self, free, floats, small_used_kib, huge)
            self.counted[key] = ref(found)
        return found


class Frame:
    """The parts of a host that claims do not change: cells, pools, capacities as exact integers. Hosts that are alike may share it.

    Ratios and fractions are exact: the decimals as written. `vcpu_cap` is the host's limit of floating vCPUs. `pool` is the overhead pool.
    """

    def __init__(self, state: HostState) -> None:
        pools, limits = state.pools, state.limits
        self._empty = replace(state, ledger=Ledger())
        self.dedicated = pools.dedicated.mask & state.topology.online.mask
        self.shared = pools.shared
        self.n_shared = len(pools.shared)
        self.pool = pool_of(state)
        ratio = exact(limits.cpu_allocation_ratio) * floating_pcpus(pools, limits) / self.n_shared if self.n_shared else Fraction(0)
        self.effective_ratio = ratio.as_integer_ratio()
        self.vcpu_cap = self.n_shared * self.effective_ratio[0] // self.effective_ratio[1]
        self.ram_ratio = exact(limits.ram_allocation_ratio).as_integer_ratio()
        self.reserved_memory_kib = limits.reserved_memory_mib * 1024
        self.reserved_pages = limits.reserved_pages
        self.disk_cap = (
            None if state.disk_gib is None else floor(state.disk_gib * exact(limits.disk_allocation_ratio)) - limits.reserved_disk_gib
        )
        self.traits = state.traits
        self.cells = tuple(CellFrame(position, cell, self) for position, cell in enumerate(state.topology.cells))
        self.position_of = {cell.id: cell.position for cell in self.cells}
        self.small_of = {cell.id: cell.small_kib for cell in self.cells}
        self.small_total_kib = sum(cell.small_total_kib for cell in self.cells)

    @cached_property
    def empty(self) -> Counts:
        """The counts of the host without claims and foreign domains. Only explanations need them."""
        return _count(self, self._empty)


class Shape(Struct, frozen=True):  # not kw_only: one is made for most changed cells
    """How the free pCPUs of a host cell lie on its cores.

    `wholes` are the cores with all online siblings free, and `brokens` the free parts of other cores (`broken` as a mask), by lowest pCPU.
    `whole_threads` are the pCPUs of `wholes` in a row, and `whole_size` their common number of threads (0 if it varies). `n_paired` counts
    free pCPUs on cores with two or more free ones. Guests with thread policy `prefer` or `require` and up to `n_plain` vCPUs take the first
    of `whole_threads`: all of these, if the cores have several threads and none is broken. `free` are the pCPUs of all of it, as a mask.
    """

    free: int
    wholes: tuple[Threads, ...]
    n_wholes: int
    whole_threads: Threads
    whole_size: int
    brokens: tuple[Threads, ...]
    broken: int
    n_paired: int
    n_plain: int

    @classmethod
    def of(cls, frame: CellFrame, free: int) -> Shape:
        """The shape of these free pCPUs on the cell's cores."""
        wholes: list[Threads] = []
        brokens: list[Threads] = []
        paired = broken = 0
        for mask, threads in frame.cores:
            left = mask & free
            if left == mask:
                wholes.append(threads)
            elif left:
                part = tuple([pcpu for pcpu in threads if left >> pcpu & 1])
                brokens.append(part)
                broken |= left
                if len(part) > 1:
                    paired += len(part)
        row = tuple(chain.from_iterable(wholes))
        size = frame.core_size
        if size > 1:
            paired += len(row)
        elif not size:  # cores of several sizes; the whole ones may have one
            paired += sum([len(core) for core in wholes if len(core) > 1])
            size = _common(map(len, wholes))
        plain = len(row) if size > 1 and not brokens else 0
        return cls(free, tuple(wholes), len(wholes), row, size if wholes else 0, tuple(brokens), broken, paired, plain)

    def less(self, frame: CellFrame, free: int) -> Shape | None:
        """The shape of these free pCPUs, if this one has those and besides them the first of its whole cores, as many guests take them.

        None for any other change. It takes half the time of counting eight cores anew.
        """
        taken, size = self.free ^ free, self.whole_size
        if not size or taken & free:
            return None
        cores, rest = divmod(taken.bit_count(), size)
        left = self.n_wholes - cores
        if rest or left < 0:
            return None
        for threads in self.wholes[:cores]:
            taken &= ~frame.core_of[threads[0]]
        if taken:
            return None
        row = self.whole_threads[cores * size :]
        paired = self.n_paired - cores * size if size > 1 else self.n_paired
        plain = len(row) if self.n_plain else 0
        return Shape(free, self.wholes[cores:], left, row, size if left else 0, self.brokens, self.broken, paired, plain)


def _common(sizes: Iterable[int]) -> int:
    """The one size that all have; 0 if there is no such size."""
    found = set(sizes)
    return found.pop() if len(found) == 1 else 0


class CellCounts:
    """What one host cell has left: free pCPUs, room for floating vCPUs, memory in pages of each size.

    `huge` are `(size in KiB, free pages)`, the largest first. `before` is the last shape that was counted before the last changes, until
    `shape` is read. `known_shape` is `shape` if that has been counted: to read it first, as in
    `cell.known_shape or cell.shape`, takes a tenth of the time of a property.
    """

    __slots__ = (
        "__weakref__",
        "before",
        "floats",
        "frame",
        "free",
        "huge",
        "known_shape",
        "n_free",
        "shared_room",
        "small_free_mib",
        "small_used_kib",
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
        self.known_shape: Shape | None = None
        self.before: Shape | None = None

    @property
    def shape(self) -> Shape:
        """How the free pCPUs lie. It is counted when it is first read: guests do not read that of each cell that has changed."""
        found = self.known_shape
        if found is None:
            before, self.before = self.before, None
            found = (before.less(self.frame, self.free) if before is not None else None) or Shape.of(self.frame, self.free)
            self.known_shape = found
        return found

    @property
    def free_mib(self) -> int:
        """The free memory in pages of all sizes. A size of which more is taken than there is takes nothing from the others."""
        return max(0, self.small_free_mib) + sum([size * pages for size, pages in self.huge if pages > 0]) // 1024


class Usage(Struct, frozen=True):  # not kw_only: each claim makes one, and five keywords take twice as long
    """What claims use of a host as a whole; pCPUs and pages are counted by cell. `strict_mib` is small-page memory of guest cells."""

    vcpus: int = 0
    booked: int = 0
    disk_gib: int = 0
    floating_mib: int = 0
    strict_mib: int = 0

    def plus(self, fits: Iterable[Fit], frame: Frame, sign: int = 1) -> Usage:
        """The usage with fits added (`sign` 1) or removed (-1)."""
        vcpus = booked = disk_gib = floating_mib = strict_mib = 0
        small_of = frame.small_of
        for fit in fits:
            vcpus += fit.float_vcpus.mask.bit_count()
            booked += fit.overhead_millicpu
            disk_gib += fit.disk_gib
            if not fit.cells:
                floating_mib += fit.memory_mib
            for cell in fit.cells:
                vcpus += cell.float_vcpus.mask.bit_count()  # `Fit.floating_count`, at a lower price for a fit that is new
                if cell.page_kib == small_of.get(cell.host_cell):
                    strict_mib += cell.memory_mib
        return Usage(
            self.vcpus + sign * vcpus,
            self.booked + sign * booked,
            self.disk_gib + sign * disk_gib,
            self.floating_mib + sign * floating_mib,
            self.strict_mib + sign * strict_mib,
        )


class Counts:
    """What a whole host has left. A room is the most that one more guest may take; it is negative if the host is overdrawn.

    `cells` are in the topology's order. `floating_room_mib` is for a guest without cells, `strict_room_mib` for the small pages of guest
    cells. `foreign` is the mask of pCPUs that are not ours, `twice` that of pCPUs that two claims hold, as on a faulty host.
    """

    __slots__ = (
        "_orders",
        "cells",
        "disk_room",
        "floating_room_mib",
        "foreign",
        "foreign_kib",
        "frame",
        "free",
        "overhead_room",
        "state",
        "strict_room_mib",
        "twice",
        "usage",
        "vcpu_room",
    )

    def __init__(
        self, state: HostState, frame: Frame, cells: tuple[CellCounts, ...], pcpus: tuple[int, int, int], foreign_kib: int, usage: Usage
    ) -> None:
        """`pcpus` are the masks `free`, `twice` and `foreign`."""
        self.state = state
        self.frame = frame
        self.cells = cells
        self.free, self.twice, self.foreign = pcpus
        self.foreign_kib = foreign_kib
        self.usage = usage
        self.vcpu_room = frame.vcpu_cap - usage.vcpus
        self.overhead_room = frame.pool.capacity - usage.booked
        self.disk_room = None if frame.disk_cap is None else frame.disk_cap - usage.disk_gib
        over, under = frame.ram_ratio
        rest = frame.small_total_kib - frame.reserved_memory_kib - foreign_kib - usage.strict_mib * 1024
        self.floating_room_mib = rest * over // (1024 * under) - usage.floating_mib
        self.strict_room_mib = (rest * over - usage.floating_mib * 1024 * under) // (1024 * over)
        self._orders: list[tuple[CellCounts, ...] | None] | None = None

    def claimed(self, claim: Claim) -> Counts:
        """The counts after a claim. Raises `Conflict` as `ledger.claim`."""
        taken = claim.fit.compute_taken_mask()
        return self._after(claim.fit, taken, ledger.add_claim(self.state, claim, self.free, taken), 1)

    def claimed_all(self, claims: Sequence[Claim]) -> Counts:
        """The counts after several claims, as by `claimed` of one after another. Raises as `claimed`."""
        together = 0
        for one in claims:
            taken = one.fit.taken_mask
            if taken & (together | ~self.free) or one.fit.overhead_cells:  # each is compared with those before it
                break
            together |= taken
        else:
            if len(claims) > 1:
                return self._after_all(claims, together)
        counts = self
        for one in claims:
            counts = counts.claimed(one)
        return counts

    def released(self, guest: GuestId, claim: ClaimId | None = None) -> Counts:
        """The counts without that claim of `guest`. Raises `Conflict` as `ledger.release`."""
        gone, state = ledger.remove_claim(self.state, guest, claim)
        return self._after(gone.fit, gone.fit.taken_mask, state, -1)

    def after(self, fit: Fit, state: HostState, *, taken: bool) -> Counts:
        """The counts of `state`, which differs from the counted state by one claimed or released fit."""
        return self._after(fit, fit.taken_mask, state, 1 if taken else -1)

    def _after(self, fit: Fit, mask: int, state: HostState, sign: int) -> Counts:
        frame = self.frame
        position_of = frame.position_of
        free, twice = self.free, self.twice
        if sign > 0 and not mask & ~free:
            free ^= mask
        elif sign > 0 or mask & twice:  # it shares a pCPU with another claim, or it has one outside of the dedicated pool
            free, twice = _free(frame, self.foreign, [claim.fit for claim in state.ledger.claims])
        else:
            free |= mask & frame.dedicated & ~self.foreign
        cells = [*self.cells]
        changed = free ^ self.free
        for part in fit.cells:
            position = position_of.get(part.host_cell)
            if position is not None:
                cells[position] = _recount(cells[position], free, (part,), sign)
                changed &= ~cells[position].frame.mask
        if changed:  # pCPUs outside of the guest's cells: only a record has such a fit
            cells = [_recount(cell, free, (), sign) if changed & cell.frame.mask else cell for cell in cells]
        usage = self.usage.plus((fit,), frame, sign)
        return Counts(state, frame, (*cells,), (free, twice, self.foreign), self.foreign_kib, usage)

    def _after_all(self, claims: Sequence[Claim], taken: int) -> Counts:
        """The counts after claims on free pCPUs, which are `taken`."""
        state, frame, free = ledger.add_claims(self.state, claims), self.frame, self.free ^ taken
        fits = [one.fit for one in claims]
        parts: dict[int, list[FitCell]] = {}
        for fit in fits:
            for part in fit.cells:
                parts.setdefault(part.host_cell, []).append(part)
        cells = tuple(
            [
                _recount(cell, free, parts.get(cell.frame.id, ()), 1) if cell.frame.id in parts or taken & cell.frame.mask else cell
                for cell in self.cells
            ]
        )
        return Counts(state, frame, cells, (free, self.twice, self.foreign), self.foreign_kib, self.usage.plus(fits, frame))

    def cell(self, id: int) -> CellCounts:  # noqa: A002
        """What the host cell with that id has left. Raises `KeyError`."""
        return self.cells[self.frame.position_of[id]]

    def order(self, strategy: Strategy, pins: bool) -> tuple[CellCounts, ...]:
        """The cells by preference: PACK puts the least free first, SPREAD the most; ties by id. Without pins, free means shared room."""
        key = (0 if pins else 1) + (0 if strategy is _PACK else 2)
        orders = self._orders
        if orders is None:
            orders = self._orders = [None] * 4
        kept = orders[key]
        if kept is None:
            measure = _free_pcpus if pins else _shared_room
            kept = orders[key] = tuple(sorted(self.cells, key=measure, reverse=strategy is not _PACK))
        return kept

    def at(self, revision: int) -> Counts:
        """The same counts of the state at that revision."""
        return self._of(replace(self.state, revision=revision))

    def at_rest(self) -> Counts:
        """The same counts in less memory, of a host that nothing happens on: its claims are packed."""
        kept = self.state.ledger
        return self._of(replace(self.state, ledger=Ledger(claims=packed(kept.claims), foreign=kept.foreign)))

    def _of(self, state: HostState) -> Counts:
        """The same counts of a state that has the same left."""
        return Counts(state, self.frame, self.cells, (self.free, self.twice, self.foreign), self.foreign_kib, self.usage)

    @property
    def content(self) -> Hashable:
        """What a fit depends on, unless the overhead pool is booked by cell. Equal for hosts of one frame that are alike."""
        return self.frame, self.cells, self.usage, self.foreign_kib


def count_host(state: HostState, frame: Frame | None = None) -> Counts:
    """Count a host from nothing. `frame` is its frame, where the caller has it."""
    return _count(frame or Frame(state), state)


def _count(frame: Frame, state: HostState) -> Counts:
    fits, foreign = tuple(claim.fit for claim in state.ledger.claims), state.ledger.foreign
    foreign_cpus = 0
    foreign_pages: dict[tuple[int, int], int] = {}
    for other in foreign:
        foreign_cpus |= other.cpus.mask
        for page in other.pages:
            foreign_pages[page.cell, page.size_kib] = foreign_pages.get((page.cell, page.size_kib), 0) + page.count
    free, twice = _free(frame, foreign_cpus, fits)
    parts: dict[int, list[FitCell]] = {cell.id: [] for cell in frame.cells}
    for fit in fits:
        for part in fit.cells:
            parts.setdefault(part.host_cell, []).append(part)
    cells = tuple([_count_cell(cell, free, parts[cell.id], foreign_pages) for cell in frame.cells])
    small = sum(foreign_pages.get((cell.id, cell.small_kib), 0) * cell.small_kib for cell in frame.cells)
    foreign_kib = small + sum(other.memory_mib for other in foreign) * 1024
    return Counts(state, frame, cells, (free, twice, foreign_cpus), foreign_kib, Usage().plus(fits, frame))


def _free(frame: Frame, foreign: int, fits: Iterable[Fit]) -> tuple[int, int]:
    """The dedicated pCPUs that nobody holds, and the pCPUs that two of the fits hold, as masks."""
    free = frame.dedicated & ~foreign
    held = twice = 0
    for fit in fits:
        taken = fit.taken_mask
        twice |= held & taken
        held |= taken
    return free & ~held, twice


def _count_cell(cell: CellFrame, free: int, parts: Iterable[FitCell], foreign_pages: dict[tuple[int, int], int]) -> CellCounts:
    floats = 0
    used = {size: foreign_pages.get((cell.id, size), 0) for size in (cell.small_kib, *(size for size, _ in cell.huge))}
    for part in parts:
        floats += len(part.float_vcpus)
        if part.page_kib in used:
            used[part.page_kib] += part.memory_mib * 1024 // part.page_kib
    huge = tuple([(size, total - used[size]) for size, total in cell.huge])
    return cell.counts(free & cell.mask, floats, used[cell.small_kib] * cell.small_kib, huge)


def _recount(cell: CellCounts, free: int, parts: Sequence[FitCell], sign: int) -> CellCounts:
    """The cell's counts with these pCPUs free, and `parts` of claims added (`sign` 1) or removed (-1)."""
    frame = cell.frame
    floats, small, huge = cell.floats, cell.small_used_kib, cell.huge
    for part in parts:
        floats += sign * part.float_vcpus.mask.bit_count()
        if part.page_kib == frame.small_kib:
            small += sign * part.memory_mib * 1024
        else:
            pages = sign * (part.memory_mib * 1024 // part.page_kib)
            huge = tuple([(size, left - pages if size == part.page_kib else left) for size, left in huge])
    found = frame.counts(free & frame.mask, floats, small, huge)
    if sign > 0 and found.known_shape is None:  # a release changes a shape in too many ways
        found.before = cell.known_shape or cell.before
    return found

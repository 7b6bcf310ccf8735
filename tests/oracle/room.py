"""`Room`: what is free on a host, read from its state as `0001-what-fits` counts it. Whether a guest fits does not belong here."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

from msgspec import UNSET, structs

from pinfold.core.host import Booking, HostState, Ledger, Locality, OverheadRates
from pinfold.core.request.model import GuestRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRoom:
    """Pages of one size in one cell: `free` counts them, in KiB for the small page (of which anything may be left), else in pages."""

    size_kib: int
    free: int
    small: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CellRoom:
    """One host cell: its cores (online siblings), its free dedicated pCPUs, its part of the shared pool and its memory."""

    id: int
    cores: tuple[frozenset[int], ...]
    free: frozenset[int]
    shared: frozenset[int]
    floating: int
    pages: tuple[PageRoom, ...]
    overhead: frozenset[int] = frozenset()
    overhead_booked: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """A host: its cells and what holds for the host as a whole. Fractions are exact; memory is in MiB."""

    cells: tuple[CellRoom, ...]
    shared: frozenset[int]
    overhead: frozenset[int] | None
    floating: int
    cpu_ratio: Fraction
    ram_ratio: Fraction
    shared_fraction: Fraction
    small_memory: Fraction
    overhead_booked: int
    enforce: bool
    local: bool
    rates: OverheadRates
    disk: Fraction | None
    traits: frozenset[str]

    def effective_ratio(self) -> Fraction:
        """Floating vCPUs for each shared pCPU; clause 2. The shared pool must not be empty."""
        pool = len(self.shared)
        overlap = len(self.shared & (self.overhead or frozenset()))
        return self.cpu_ratio * (pool - self.shared_fraction * overlap) / pool

    def overhead_capacity(self) -> Fraction:
        """Millicpu of the overhead pool; clause 11."""
        pool = self.overhead or frozenset()
        return 1000 * len(pool - self.shared) + self.shared_fraction * 1000 * len(pool & self.shared)

    def part_capacity(self, cell: CellRoom) -> int:
        """Millicpu of the pool's part on one cell, rounded down; clause 11."""
        both = len(cell.overhead & self.shared)
        return int(1000 * (len(cell.overhead) - both) + self.shared_fraction * 1000 * both)

    def books_overhead(self) -> bool:
        """Whether `share` guests book anything: not where the fraction is 0 and the pool lies within the shared pool; clause 11."""
        return not (self.shared_fraction == 0 and (self.overhead or frozenset()) <= self.shared)

    def overhead_of(self, request: GuestRequest) -> int:
        """Millicpu that one `share` guest books on this host."""
        rates, queues = self.rates, request.nics
        if request.hardware is not UNSET and request.hardware.multiqueue:
            queues *= request.vcpus if request.vcpus < 256 else 256
        return rates.guest + rates.vcpu * request.vcpus + rates.disk * request.disks + rates.nic * queues if self.books_overhead() else 0


def written(ratio: float) -> Fraction:
    """The ratio as a person wrote it: 1.2 is six fifths."""
    return Fraction(str(ratio))


def emptied(state: HostState) -> HostState:
    """The same host with no claims and nothing foreign."""
    return structs.replace(state, ledger=Ledger())


def at_best(state: HostState) -> Room:
    """The room of the same host with no claims and nothing foreign, its overhead pool back where all of it is offline now."""
    room = read(emptied(state))
    if room.overhead is None or room.overhead:
        return room
    # How large the pool is when it is back is not known here: it takes any booking, and is no part of the shared pool.
    return replace(room, overhead=frozenset({-1}), enforce=False)


def read(state: HostState) -> Room:
    """The room that a state leaves."""
    limits, ledger = state.limits, state.ledger
    fits = [claim.fit for claim in ledger.claims]
    taken = {cpu for fit in fits for cpu in fit.taken} | {cpu for foreign in ledger.foreign for cpu in foreign.cpus}
    free = frozenset(state.pools.dedicated) - taken
    shared = frozenset(state.pools.shared)
    return Room(
        cells=tuple(_cell(state, cell.id, free, shared) for cell in state.topology.cells),
        shared=shared,
        overhead=None if state.pools.overhead is None else frozenset(state.pools.overhead),
        floating=sum(fit.floating_count for fit in fits),
        cpu_ratio=written(limits.cpu_allocation_ratio),
        ram_ratio=written(limits.ram_allocation_ratio),
        shared_fraction=written(limits.shared_fraction),
        small_memory=_small_memory(state),
        overhead_booked=sum(fit.overhead_millicpu for fit in fits),
        enforce=limits.booking is Booking.ENFORCE,
        local=limits.locality is Locality.PREFER_LOCAL,
        rates=limits.rates,
        disk=_disk(state),
        traits=state.traits,
    )


def _cell(state: HostState, cell_id: int, free: frozenset[int], shared: frozenset[int]) -> CellRoom:
    cell = state.topology.cell(cell_id)
    here = [part for claim in state.ledger.claims for part in claim.fit.cells if part.host_cell == cell_id]
    pages = []
    for pool in cell.pages:
        size = pool.size_kib
        small = size == cell.small_page_kib
        foreign = sum(held.count for owner in state.ledger.foreign for held in owner.pages if (held.cell, held.size_kib) == (cell_id, size))
        kept = sum(held.count for held in state.limits.reserved_pages if (held.cell, held.size_kib) == (cell_id, size))
        claimed_kib = sum(part.memory_mib * 1024 for part in here if part.page_kib == size)
        left_kib = (pool.total - foreign - kept) * size - claimed_kib
        pages.append(PageRoom(size_kib=size, free=left_kib if small else left_kib // size, small=small))
    return CellRoom(
        id=cell_id,
        cores=tuple(frozenset(core) for core in cell.cores),
        free=free & frozenset(cell.cpus),
        shared=shared & frozenset(cell.cpus),
        floating=sum(len(part.float_vcpus) for part in here),
        pages=tuple(pages),
        overhead=frozenset(state.pools.overhead or ()) & frozenset(cell.cpus),
        overhead_booked=sum(amount for claim in state.ledger.claims for where, amount in claim.fit.overhead_cells if where == cell_id),
    )


def _small_memory(state: HostState) -> Fraction:
    """Small-page memory of the host that is left, in MiB; clause 3."""
    limits, cells = state.limits, state.topology.cells
    small = {cell.id: cell.small_page_kib for cell in cells}
    left = sum((Fraction(cell.pages[0].total * cell.pages[0].size_kib, 1024) for cell in cells if cell.pages), Fraction(0))
    left -= limits.reserved_memory_mib
    for foreign in state.ledger.foreign:
        left -= foreign.memory_mib
        left -= sum(Fraction(held.count * held.size_kib, 1024) for held in foreign.pages if held.size_kib == small.get(held.cell))
    for claim in state.ledger.claims:
        if claim.fit.cells:
            left -= sum(part.memory_mib for part in claim.fit.cells if part.page_kib == small[part.host_cell])
        else:
            left -= claim.fit.memory_mib / written(limits.ram_allocation_ratio)
    return left


def _disk(state: HostState) -> Fraction | None:
    """GiB of disk that are left; None where disks are not accounted; clause 13."""
    if state.disk_gib is None:
        return None
    claimed = sum(claim.fit.disk_gib for claim in state.ledger.claims)
    return state.disk_gib * written(state.limits.disk_allocation_ratio) - state.limits.reserved_disk_gib - claimed

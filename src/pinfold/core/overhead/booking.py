"""What a guest on the overhead pool books: when it is placed, and again after the options have changed. `table` says which guests book.

With `[overhead] locality = prefer_local` a guest runs on the parts of the pool on its host cells (`local`), and books them by cell:
1. Divide its millicpu among these cells in proportion to its vCPUs there. The remainder goes to the lowest cell.
2. If one of the cells has less room than that, the guest runs on the whole pool and books no cell, with a warning for each such cell.
The whole pool must have room in both cases, so locality never decides whether a guest fits.
"""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from pinfold.core.cpuset import CpuSet
from pinfold.core.fit.answer import EmulatorPlacement, Fit, FitCell, NoFit
from pinfold.core.host import HostState, Ledger
from pinfold.core.overhead.pool import OverheadPool, booked_millicpu, capacity_millicpu, pool_of
from pinfold.core.reasons import Kind, Reason, ReasonCode
from pinfold.core.request.model import GuestRequest

Millicpu = tuple[tuple[int, int], ...]
"""`(host cell, millicpu)`, ascending by cell."""


class PoolBooking(Struct, frozen=True):
    """The pCPUs of the overhead threads of a guest on the overhead pool, the millicpu it books, and warnings if that is too much.

    `cells` are the millicpu by host cell, `Fit.overhead_cells`.
    """

    cpus: CpuSet
    millicpu: int
    warnings: tuple[Reason, ...]
    cells: Millicpu = ()


def book(request: GuestRequest, pool: OverheadPool, room: int, cells: tuple[FitCell, ...], ledger: Ledger) -> PoolBooking:
    """What a guest on these cells gets of the overhead pool, and books. `room` is the millicpu that the claims leave of the whole pool."""
    millicpu, warnings = _of_whole(request, pool, room)
    if not pool.prefers_local:
        return PoolBooking(pool.cpus, millicpu, warnings)
    local = divided(millicpu, cells, CpuSet(part.cell for part in pool.parts))
    lacking = overbooked_cells(pool, local, ledger)
    if not local or lacking:
        return PoolBooking(pool.cpus, millicpu, (*warnings, *lacking))
    mask = sum(part.cpus.mask for part in pool.parts if part.cell in dict(local))
    return PoolBooking(CpuSet.from_mask(mask), millicpu, warnings, local)


def _of_whole(request: GuestRequest, pool: OverheadPool, room: int) -> tuple[int, tuple[Reason, ...]]:
    """The millicpu that a guest books of the whole pool, and the reason if that is more than `room`."""
    if not pool.books:
        return 0, ()
    millicpu = booked_millicpu(request, pool.rates)
    return millicpu, _overbooked(millicpu, room, pool.capacity)


def divided(millicpu: int, cells: tuple[FitCell, ...], among: CpuSet) -> Millicpu:
    """The millicpu by host cell, for the guest's cells on host cells of `among`: in proportion to vCPUs, the remainder on the lowest cell.

    >>> cells = (FitCell(0, 3, pins=((0, 4), (1, 5))), FitCell(1, 1, pins=((2, 6),)))
    >>> divided(25, cells, CpuSet.of(1, 3)), divided(25, cells, CpuSet.of(3)), divided(25, cells, CpuSet.of(0))
    (((1, 9), (3, 16)), ((3, 25),), ())
    """
    vcpus = {cell.host_cell: len(cell.pins) + len(cell.float_vcpus) for cell in cells if cell.host_cell in among}
    total = sum(vcpus.values())
    parts = [(cell, millicpu * vcpus[cell] // total) for cell in sorted(vcpus)]
    rest = millicpu - sum(part for _, part in parts)
    return tuple((cell, part + rest if position == 0 else part) for position, (cell, part) in enumerate(parts))


def overbooked_cells(pool: OverheadPool, cells: Millicpu, ledger: Ledger) -> tuple[Reason, ...]:
    """A reason for each cell whose part of the pool has less room than is booked there; the claims of the ledger come first."""
    if not pool.books:
        return ()
    capacity = {part.cell: part.capacity for part in pool.parts}
    found: list[Reason] = []
    for cell, millicpu in cells:
        most = capacity.get(cell, 0)
        room = most - booked_on(cell, ledger)
        found += _overbooked(millicpu, room, most, cell)
    return tuple(found)


def booked_on(cell: int, ledger: Ledger) -> int:
    """The millicpu that claims book of the part of the pool on that host cell. What they book of the whole pool is not in it."""
    return sum(dict(claim.fit.overhead_cells).get(cell, 0) for claim in ledger.claims)


def _overbooked(millicpu: int, room: int, capacity: int, cell: int | None = None) -> tuple[Reason, ...]:
    """The reason if a booking exceeds the room of the pool, or of its part on one cell; none otherwise."""
    if millicpu <= room:
        return ()
    code = ReasonCode.OVERHEAD_BOOKED if cell is None else ReasonCode.OVERHEAD_CELL_BOOKED
    kind = Kind.INFEASIBLE if millicpu > capacity else Kind.INSUFFICIENT
    return (Reason(code=code, kind=kind, cell=cell, needed=millicpu, available=room),)


def free_millicpu(state: HostState) -> int:
    """The millicpu of the overhead pool that the claims leave; negative if it is overbooked."""
    return capacity_millicpu(state.pools, state.limits) - sum(claim.fit.overhead_millicpu for claim in state.ledger.claims)


def rebooked(fit: Fit, request: GuestRequest, state: HostState) -> Fit | NoFit:
    """The same placement with its booking under the current options, or why the pool has no room for it. Pure.

    `state` has the fit as a claim. With `booking=report` the answer is always a fit, with a warning if the pool is overbooked.
    """
    if fit.emulator_placement is not EmulatorPlacement.POOL:
        return fit
    pool = pool_of(state)
    others = Ledger(claims=tuple(claim for claim in state.ledger.claims if claim.fit != fit))
    millicpu, warnings = _of_whole(request, pool, free_millicpu(state) + fit.overhead_millicpu)
    cells = divided(millicpu, fit.cells, CpuSet(cell for cell, _ in fit.overhead_cells))
    warnings += overbooked_cells(pool, cells, others)
    if warnings and pool.enforces and millicpu > fit.overhead_millicpu:
        return NoFit(reasons=warnings)
    return replace(fit, overhead_millicpu=millicpu, overhead_cells=cells, warnings=warnings)

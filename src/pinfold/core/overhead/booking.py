"""What a guest on the overhead pool books: when it is placed, and again after the options have changed. `table` says which guests book."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from pinfold.core.cpuset import CpuSet
from pinfold.core.fit.model import EmulatorPlacement, Fit, NoFit
from pinfold.core.host import HostState
from pinfold.core.overhead.pool import OverheadPool, booked_millicpu, capacity_millicpu, pool_of
from pinfold.core.reasons import Kind, Reason, ReasonCode
from pinfold.core.request.model import GuestRequest


class Booking(Struct, frozen=True):
    """The pCPUs of the overhead threads of a guest on the overhead pool, the millicpu it books, and warnings if that is too much."""

    cpus: CpuSet
    millicpu: int
    warnings: tuple[Reason, ...]


def book(request: GuestRequest, pool: OverheadPool, room: int) -> Booking:
    """What a guest on the overhead pool gets and books. `room` is the millicpu that the claims leave of the pool."""
    if not pool.books:
        return Booking(pool.cpus, 0, ())
    millicpu = booked_millicpu(request, pool.rates)
    return Booking(pool.cpus, millicpu, _overbooked(ReasonCode.OVERHEAD_BOOKED, millicpu, room, pool.capacity))


def _overbooked(code: ReasonCode, millicpu: int, room: int, capacity: int) -> tuple[Reason, ...]:
    """The reason if a booking exceeds the room; none otherwise."""
    if millicpu <= room:
        return ()
    kind = Kind.INFEASIBLE if millicpu > capacity else Kind.INSUFFICIENT
    return (Reason(code=code, kind=kind, needed=millicpu, available=room),)


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
    anew = book(request, pool, free_millicpu(state) + fit.overhead_millicpu)
    if anew.warnings and pool.enforces and anew.millicpu > fit.overhead_millicpu:
        return NoFit(reasons=anew.warnings)
    return replace(fit, overhead_millicpu=anew.millicpu, warnings=anew.warnings)

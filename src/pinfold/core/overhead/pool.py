"""The overhead pool of a host: what it holds, what a guest books of it, and when it refuses. `table` says which guests book."""

from __future__ import annotations

from fractions import Fraction
from math import floor

from msgspec import Struct
from msgspec.structs import replace

from pinfold.core.cpuset import CpuSet
from pinfold.core.fit.model import EmulatorPlacement, Fit, NoFit
from pinfold.core.host import Booking, HostState, Limits, OverheadRates, exact
from pinfold.core.overhead.table import PoolState, Rule, state_of
from pinfold.core.pools import Pools
from pinfold.core.reasons import Kind, Reason, ReasonCode
from pinfold.core.request.model import GuestRequest

Lack = tuple[ReasonCode, int, int]
"""What a host lacks for a guest's overhead threads: the code, the millicpu needed and available (0 and 0 if it is not about millicpu)."""


class OverheadPool(Struct, frozen=True, kw_only=True):
    """The overhead pool of a host, as a fit reads it; the claims are not counted in it.

    `cpus` are its online pCPUs, empty for none. `capacity` is in millicpu. `books` is False if there is no pool, or if it counts as shared
    only (`shared_fraction` 0): then guests book nothing. `enforces` means that a booked pool refuses guests.
    """

    state: PoolState
    cpus: CpuSet
    capacity: int
    books: bool
    enforces: bool
    rates: OverheadRates


def pool_of(pools: Pools, limits: Limits) -> OverheadPool:
    """The overhead pool of a host with these pools and limits."""
    overhead = pools.overhead
    return OverheadPool(
        state=state_of(overhead),
        cpus=CpuSet() if overhead is None else overhead,
        capacity=capacity_millicpu(pools, limits),
        books=overhead is not None and not (limits.shared_fraction == 0 and overhead <= pools.shared),
        enforces=limits.booking is Booking.ENFORCE,
        rates=limits.rates,
    )


def capacity_millicpu(pools: Pools, limits: Limits) -> int:
    """The capacity of the overhead pool, rounded down. pCPUs that are also in the shared pool count by `shared_fraction`.

    0 if no overhead pool is configured or all of it is offline. The fraction is exact: the decimal as written.
    """
    overlap = _overlap(pools)
    return 1000 * (len(pools.overhead or ()) - overlap) + floor(exact(limits.shared_fraction) * 1000 * overlap)


def floating_pcpus(pools: Pools, limits: Limits) -> Fraction:
    """How many pCPUs of the shared pool are left for floating vCPUs: all but the part that counts as overhead."""
    return len(pools.shared) - exact(limits.shared_fraction) * _overlap(pools)


def _overlap(pools: Pools) -> int:
    return 0 if pools.overhead is None else len(pools.overhead & pools.shared)


def booked_millicpu(request: GuestRequest, rates: OverheadRates) -> int:
    """The millicpu that a guest books of an overhead pool, if its rule says that it books.

    >>> booked_millicpu(GuestRequest(vcpus=4, memory_mib=64, disks=1, nics=2), OverheadRates())
    58
    """
    return rates.guest + rates.vcpu * request.vcpus + rates.disk * request.disks + rates.nic * request.nics


def lack(rule: Rule, pool: OverheadPool, request: GuestRequest, room: int, *, all_realtime: bool) -> Lack | None:
    """What a host with `room` millicpu free in its overhead pool lacks for a guest's overhead threads; None if it lacks nothing.

    `rule` is the rule of the guest's policy there.
    """
    code = rule.refusal or (rule.realtime_refusal if all_realtime else None)
    if code is not None:
        return code, 0, 0
    if rule.books and pool.books and pool.enforces:
        millicpu = booked_millicpu(request, pool.rates)
        if millicpu > room:
            return ReasonCode.OVERHEAD_BOOKED, millicpu, room
    return None


def booking(request: GuestRequest, pool: OverheadPool, room: int) -> tuple[int, tuple[Reason, ...]]:
    """The millicpu that a guest on the overhead pool books, and a warning if that is more than `room`."""
    if not pool.books:
        return 0, ()
    millicpu = booked_millicpu(request, pool.rates)
    if millicpu <= room:
        return millicpu, ()
    kind = Kind.INFEASIBLE if millicpu > pool.capacity else Kind.INSUFFICIENT
    return millicpu, (Reason(code=ReasonCode.OVERHEAD_BOOKED, kind=kind, needed=millicpu, available=room),)


def free_millicpu(state: HostState) -> int:
    """The millicpu of the overhead pool that the claims leave; negative if it is overbooked."""
    return capacity_millicpu(state.pools, state.limits) - sum(claim.fit.overhead_millicpu for claim in state.ledger.claims)


def rebooked(fit: Fit, request: GuestRequest, state: HostState) -> Fit | NoFit:
    """The same placement with its booking under the current options, or why the pool has no room for it. Pure.

    `state` has the fit as a claim. With `booking=report` the answer is always a fit, with a warning if the pool is overbooked.
    """
    if fit.emulator_placement is not EmulatorPlacement.POOL:
        return fit
    pool = pool_of(state.pools, state.limits)
    millicpu, warnings = booking(request, pool, free_millicpu(state) + fit.overhead_millicpu)
    if warnings and pool.enforces and millicpu > fit.overhead_millicpu:
        return NoFit(reasons=warnings)
    return replace(fit, overhead_millicpu=millicpu, warnings=warnings)

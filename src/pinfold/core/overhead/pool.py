"""The overhead pool of a host: what it holds, and when it refuses a guest. `booking` says what a guest books of it."""

from __future__ import annotations

from fractions import Fraction
from math import floor
from typing import Final

from msgspec import Struct

from pinfold.core.cpuset import CpuSet
from pinfold.core.host import Booking, HostState, Limits, Locality, OverheadRates, exact
from pinfold.core.overhead.table import PoolState, Rule, state_of
from pinfold.core.pools import Pools
from pinfold.core.reasons import ReasonCode
from pinfold.core.request.model import GuestRequest

RESOURCE_CLASS: Final = "CUSTOM_OVERHEAD_MILLICPU"
"""Placement's resource class of the millicpu of overhead pools."""

Lack = tuple[ReasonCode, int, int]
"""What a host lacks for a guest's overhead threads: the code, the millicpu needed and available (0 and 0 if it is not about millicpu)."""


class PoolPart(Struct, frozen=True, kw_only=True):
    """The online pCPUs of the overhead pool on one host cell, and their capacity in millicpu."""

    cell: int
    cpus: CpuSet
    capacity: int


class OverheadPool(Struct, frozen=True, kw_only=True):
    """The overhead pool of a host, as a fit reads it; the claims are not counted in it.

    `cpus` are its online pCPUs, empty for none. `capacity` is in millicpu. `books` is False if there is no pool, or if it counts as shared
    only (`shared_fraction` 0): then guests book nothing. `enforces` means that a booked pool refuses guests.
    `parts` are ascending by cell, without cells that have none of it. `prefers_local` means that guests prefer those on their host cells.
    """

    state: PoolState
    cpus: CpuSet
    capacity: int
    books: bool
    enforces: bool
    rates: OverheadRates
    parts: tuple[PoolPart, ...]
    prefers_local: bool


def pool_of(state: HostState) -> OverheadPool:
    """The overhead pool of a host."""
    pools, limits = state.pools, state.limits
    overhead = pools.overhead
    return OverheadPool(
        state=state_of(overhead),
        cpus=CpuSet() if overhead is None else overhead,
        capacity=capacity_millicpu(pools, limits),
        books=overhead is not None and not (limits.shared_fraction == 0 and overhead <= pools.shared),
        enforces=limits.booking is Booking.ENFORCE,
        rates=limits.rates,
        parts=_parts(state),
        prefers_local=limits.locality is Locality.PREFER_LOCAL,
    )


def _parts(state: HostState) -> tuple[PoolPart, ...]:
    overhead = state.pools.overhead or CpuSet()
    cells = sorted((cell.id, cell.cpus & overhead) for cell in state.topology.cells)
    return tuple(PoolPart(cell=cell, cpus=cpus, capacity=_millicpu(cpus, state.pools.shared, state.limits)) for cell, cpus in cells if cpus)


def capacity_millicpu(pools: Pools, limits: Limits) -> int:
    """The capacity of the overhead pool, rounded down. pCPUs that are also in the shared pool count by `shared_fraction`.

    0 if no overhead pool is configured or all of it is offline. The fraction is exact: the decimal as written.
    """
    return _millicpu(pools.overhead or CpuSet(), pools.shared, limits)


def _millicpu(cpus: CpuSet, shared: CpuSet, limits: Limits) -> int:
    overlap = len(cpus & shared)
    return 1000 * (len(cpus) - overlap) + floor(exact(limits.shared_fraction) * 1000 * overlap)


def floating_pcpus(pools: Pools, limits: Limits) -> Fraction:
    """How many pCPUs of the shared pool are left for floating vCPUs: all but the part that counts as overhead."""
    return len(pools.shared) - exact(limits.shared_fraction) * len(pools.shared & (pools.overhead or CpuSet()))


def booked_millicpu(request: GuestRequest, rates: OverheadRates) -> int:
    """The millicpu that a guest books of an overhead pool, if its rule says that it books.

    >>> booked_millicpu(GuestRequest(vcpus=4, memory_mib=64, disks=1, nics=2), OverheadRates())
    58
    """
    return rates.guest + rates.vcpu * request.vcpus + rates.disk * request.disks + rates.nic * request.nic_queues


def lack(rule: Rule, pool: OverheadPool, request: GuestRequest, room: int, all_realtime: bool) -> Lack | None:  # keywords double the price
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

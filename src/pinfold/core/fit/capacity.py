"""`capacity`: what a host has left, in guests of each flavor, and the free pCPUs that no flavor can use. `slots` counts the guests."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import Struct

from pinfold.core.bounds import Count
from pinfold.core.errors import InvalidRequest
from pinfold.core.fit.count import Counts
from pinfold.core.fit.demand import Demand, prepare
from pinfold.core.fit.slots import NOTHING, Resource, free_slots
from pinfold.core.request.compile import compile_request
from pinfold.core.request.model import Flavor


class FlavorSlots(Struct, frozen=True, kw_only=True):
    """How many more guests of a flavor fit."""

    flavor: str
    slots: Count


class StrandedPcpus(Struct, frozen=True, kw_only=True):
    """How many free dedicated pCPUs no flavor can use, for lack of one resource."""

    cause: Resource
    pcpus: Count


class HostCapacity(Struct, frozen=True, kw_only=True):
    """What one host has left. A host that takes no new guests has no slots and strands nothing.

    `flavors` are in the order in which they were asked for. `stranded` is in the order of `Resource`, without causes that strand none.
    """

    host: str
    takes_guests: bool
    dedicated_pcpus: Count
    free_pcpus: Count
    flavors: tuple[FlavorSlots, ...] = ()
    stranded: tuple[StrandedPcpus, ...] = ()


class NotCounted(Struct, frozen=True, kw_only=True):
    """A flavor whose guests cannot be counted, and why."""

    flavor: str
    why: str


class CapacitySum(Struct, frozen=True, kw_only=True):
    """What several hosts have left together."""

    hosts: Count
    dedicated_pcpus: Count
    free_pcpus: Count
    flavors: tuple[FlavorSlots, ...] = ()
    stranded: tuple[StrandedPcpus, ...] = ()


class FleetCapacity(Struct, frozen=True, kw_only=True):
    """What every host has left, by name, and all of them together."""

    hosts: tuple[HostCapacity, ...]
    fleet: CapacitySum
    not_counted: tuple[NotCounted, ...] = ()


FlavorDemand = tuple[str, Demand]
"""A flavor's name and the demand of a guest of it."""


def demands_of(flavors: Iterable[Flavor]) -> tuple[tuple[FlavorDemand, ...], tuple[NotCounted, ...]]:
    """The demand of a guest of each flavor, with one disk; and the flavors that are refused as requests. Pure."""
    demands: list[FlavorDemand] = []
    refused: list[NotCounted] = []
    for flavor in flavors:
        try:
            demands.append((flavor.name, prepare(compile_request(flavor, disks=1))))
        except InvalidRequest as error:
            refused.append(NotCounted(flavor=flavor.name, why=str(error)))
    return tuple(demands), tuple(refused)


def capacity(
    counts: Counts, flavors: Sequence[FlavorDemand], *, takes_guests: bool = True, barred: frozenset[str] = frozenset()
) -> HostCapacity:
    """What the counted host has left for guests of these flavors. Flavors named in `barred` may not go there. Pure."""
    slots = [free_slots(demand, counts) if takes_guests and name not in barred else 0 for name, demand in flavors]
    return HostCapacity(
        host=counts.state.name,
        takes_guests=takes_guests,
        dedicated_pcpus=counts.frame.dedicated.bit_count(),
        free_pcpus=counts.free.bit_count(),
        flavors=tuple(FlavorSlots(flavor=name, slots=found) for (name, _), found in zip(flavors, slots, strict=True)),
        stranded=stranded(counts, [demand for name, demand in flavors if name not in barred]) if takes_guests else (),
    )


def stranded(counts: Counts, demands: Iterable[Demand]) -> tuple[StrandedPcpus, ...]:
    """The free dedicated pCPUs that no flavor can use, by cause, in the order of `Resource`. Nothing if no flavor pins vCPUs.

    A flavor can use as many pCPUs as its free slots take: vCPUs, emulator and idle siblings. The flavor that can use most decides; a mix of
    flavors may use more.
    1. Take the resources to be unlimited, one after another in the order of `Resource`; those before stay unlimited.
    2. The pCPUs that become usable with a resource are stranded for the lack of it.
    3. With PCPUS, the last one, all are usable: until then, what is free in one place is too little for a guest cell.
    """
    pinning = [demand for demand in demands if demand.pins]
    free = counts.free.bit_count()
    if not pinning:
        return ()
    found: list[StrandedPcpus] = []
    ignored = NOTHING
    usable = _usable(counts, pinning, ignored, free)
    for resource in Resource:
        if usable == free:
            break
        ignored |= {resource}
        more = free if resource is Resource.PCPUS else _usable(counts, pinning, ignored, free)
        if more > usable:
            found.append(StrandedPcpus(cause=resource, pcpus=more - usable))
            usable = more
    return tuple(found)


def _usable(counts: Counts, demands: Iterable[Demand], ignored: frozenset[Resource], free: int) -> int:
    """How many of the `free` pCPUs guests of one of the flavors can take."""
    most = 0
    for demand in demands:
        each = demand.pins + demand.own_pcpus
        if demand.isolated_threads and Resource.SIBLINGS not in ignored:
            each *= min((len(core) for cell in counts.cells for core in cell.shape.wholes), default=1)
        most = max(most, free_slots(demand, counts, ignored=ignored) * each)
        if most >= free:
            return free
    return most


def total(hosts: Iterable[HostCapacity], names: Sequence[str]) -> CapacitySum:
    """The sum over hosts, for the flavors of these names in this order."""
    slots, causes = dict.fromkeys(names, 0), dict.fromkeys(Resource, 0)
    number = dedicated = free = 0
    for host in hosts:
        number += 1
        dedicated += host.dedicated_pcpus
        free += host.free_pcpus
        for each in host.flavors:
            slots[each.flavor] += each.slots
        for lost in host.stranded:
            causes[lost.cause] += lost.pcpus
    return CapacitySum(
        hosts=number,
        dedicated_pcpus=dedicated,
        free_pcpus=free,
        flavors=tuple(FlavorSlots(flavor=name, slots=found) for name, found in slots.items()),
        stranded=tuple(StrandedPcpus(cause=cause, pcpus=pcpus) for cause, pcpus in causes.items() if pcpus),
    )

"""`Sizing`: all that `pinfold advise` says about a host, as one document: its pool, and what each flavor costs. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

from msgspec import Struct

from pinfold.core.host import OverheadRates
from pinfold.core.overhead.advice import Advice, Evidence, Figure, advise
from pinfold.core.overhead.assumption import Assumptions
from pinfold.core.overhead.flavor_costs import FlavorCosts, FlavorShape, flavor_costs, of_shape, seen_shapes
from pinfold.core.overhead.hours import OverheadHour, ShapeHour
from pinfold.core.plural import count
from pinfold.core.pools import PoolConfig


class Sizing(Struct, frozen=True, kw_only=True):
    """The advice on a host. `host_pcpus` are its pCPUs for guests and their overhead, None without pools. `flavors_from` says where the
    flavors come from, '' if there are none.

    `pool.pcpus` keeps the delay target. `booked_pcpus` is what the guests book, in pCPUs of the pool, where that is known: their number,
    and one flavor. With fewer, Placement refuses some of them. A pool needs the larger of both numbers. `dedicated_guests` is how many
    guests the dedicated pCPUs hold, where it is one flavor and fewer than are assumed to share the pool.
    """

    pool: Advice
    booked_pcpus: Figure | None = None
    dedicated_guests: Figure | None = None
    host_pcpus: Figure | None = None
    flavors_from: str = ""
    flavors: tuple[FlavorCosts, ...] = ()


def sizing(
    hours: tuple[OverheadHour, ...],
    shapes: tuple[ShapeHour, ...],
    target_us: float,
    rates: OverheadRates,
    pools: PoolConfig,
    assumed: Assumptions,
    flavors: Sequence[FlavorShape] | None,
    flavors_from: str,
    shared_fraction: float = 0.5,
) -> Sizing:
    """The advice for a delay target, for a host with these rates and pools. Without `flavors` it is about the guest whose vCPUs are
    assumed, else about the shapes that were measured.
    """
    pool = advise(hours, target_us, rates, shapes=shapes, assumed=assumed)
    host = _host_pcpus(pools, assumed)
    if flavors is not None:
        asked, source = tuple(flavors), flavors_from
    elif assumed.vcpus is not None:
        asked, source = (of_shape((assumed.vcpus, 1, assumed.nics)),), "what is assumed"
    else:
        asked, source = seen_shapes(shapes), "the guests that were measured"
    costs = flavor_costs(asked, pool, shapes, rates, None if host is None else int(host.value), assumed)
    offered = 1.0 if pools.overhead is not None else shared_fraction
    return Sizing(
        pool=pool,
        booked_pcpus=_booked_pcpus(pool, costs, offered),
        dedicated_guests=_dedicated_guests(pools, assumed, costs),
        host_pcpus=host,
        flavors_from=source if costs else "",
        flavors=costs,
    )


def _booked_pcpus(pool: Advice, costs: Sequence[FlavorCosts], offered: float) -> Figure | None:
    """What the guests book, in pCPUs of a pool of which the part `offered` counts as overhead."""
    if pool.guests is None or len(costs) != 1 or not offered:
        return None
    guests, booked = pool.guests.value, costs[0].booked_millicpu
    part = "" if offered == 1.0 else f", of which the pool offers {offered:g} of each pCPU"
    source = f"{guests:g} guests ({pool.guests.evidence.value}) book {booked} millicpu each{part}"
    return Figure(value=math.ceil(guests * booked / 1000 / offered - 1e-9), evidence=pool.guests.evidence, source=source)


def _dedicated_guests(pools: PoolConfig, assumed: Assumptions, costs: Sequence[FlavorCosts]) -> Figure | None:
    """How many guests of the one flavor have their pCPUs; None if that is as many as are assumed, or not known."""
    if assumed.guests is None or len(costs) != 1:
        return None
    if assumed.pcpus is not None:
        pcpus, evidence, whose = assumed.pcpus, Evidence.ASSUMED, "the host"
    elif pools.dedicated is not None:
        pcpus, evidence, whose = len(pools.dedicated), Evidence.CONFIGURED, "the dedicated pool"
    else:
        return None
    guests, pinned = pcpus // costs[0].pinned, costs[0].pinned
    source = f"{count(pcpus, 'pCPU')} of {whose} ({evidence.value}), {pinned} for each guest"
    return Figure(value=guests, evidence=evidence, source=source) if guests < assumed.guests else None


def _host_pcpus(pools: PoolConfig, assumed: Assumptions) -> Figure | None:
    if assumed.pcpus is not None:
        return Figure(value=assumed.pcpus, evidence=Evidence.ASSUMED, source="assumed")
    if pools.dedicated is None:
        return None
    overhead = pools.overhead if pools.overhead is not None else pools.shared
    found = pools.dedicated if overhead is None else pools.dedicated | overhead
    return Figure(value=len(found), evidence=Evidence.CONFIGURED, source="the pCPUs of the dedicated pool and the overhead pool")

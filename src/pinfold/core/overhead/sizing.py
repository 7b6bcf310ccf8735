"""`Sizing`: all that `pinfold advise` says about a host, as one document: its pool, and what each flavor costs. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from pinfold.core.host import OverheadRates
from pinfold.core.overhead.advice import Advice, Evidence, Figure, advise
from pinfold.core.overhead.assumption import Assumptions
from pinfold.core.overhead.flavor_costs import FlavorCosts, FlavorShape, flavor_costs, seen_shapes
from pinfold.core.overhead.hours import OverheadHour, ShapeHour
from pinfold.core.pools import PoolConfig


class Sizing(Struct, frozen=True, kw_only=True):
    """The advice on a host. `host_pcpus` are its pCPUs for guests and their overhead, None without pools. `flavors_from` says where the
    flavors come from, '' if there are none.
    """

    pool: Advice
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
) -> Sizing:
    """The advice for a delay target, for a host with these rates and pools. Without `flavors` it is about the shapes that were measured."""
    pool = advise(hours, target_us, rates, shapes=shapes, assumed=assumed)
    host = _host_pcpus(pools, assumed)
    asked, source = (seen_shapes(shapes), "the guests that were measured") if flavors is None else (tuple(flavors), flavors_from)
    costs = flavor_costs(asked, pool, shapes, rates, None if host is None else int(host.value), assumed)
    return Sizing(pool=pool, host_pcpus=host, flavors_from=source if costs else "", flavors=costs)


def _host_pcpus(pools: PoolConfig, assumed: Assumptions) -> Figure | None:
    if assumed.pcpus is not None:
        return Figure(value=assumed.pcpus, evidence=Evidence.ASSUMED, source="assumed")
    if pools.dedicated is None:
        return None
    overhead = pools.overhead if pools.overhead is not None else pools.shared
    found = pools.dedicated if overhead is None else pools.dedicated | overhead
    return Figure(value=len(found), evidence=Evidence.CONFIGURED, source="the pCPUs of the dedicated pool and the overhead pool")

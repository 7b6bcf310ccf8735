"""The traits that follow from a host's topology and pools. Operators may add others; those are not decided here."""

from __future__ import annotations

from typing import Final

from pinfold.core.pools import Pools
from pinfold.core.topology import Topology

HYPERTHREADING: Final = "HW_CPU_HYPERTHREADING"
OVERHEAD_POOL: Final = "CUSTOM_OVERHEAD_POOL"
OWN_TRAITS: Final = frozenset({HYPERTHREADING, OVERHEAD_POOL})
"""The traits that pinfold adds and removes. It leaves all other traits of a host alone."""


def own_traits(topology: Topology, pools: Pools) -> frozenset[str]:
    """The members of `OWN_TRAITS` that hold: a core has two or more online threads; an overhead pool is configured.

    >>> from pinfold.core.cpuset import CpuSet
    >>> from pinfold.core.hosttext import host
    >>> sorted(own_traits(host("core:2 pu:2"), Pools(shared=CpuSet(), dedicated=CpuSet(), overhead=CpuSet())))
    ['CUSTOM_OVERHEAD_POOL', 'HW_CPU_HYPERTHREADING']
    """
    found = set()
    if topology.threads_per_core > 1:
        found.add(HYPERTHREADING)
    if pools.has_overhead_pool:
        found.add(OVERHEAD_POOL)
    return frozenset(found)

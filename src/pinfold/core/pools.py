"""The pools of a host: which pCPUs run what. Reading configuration files does not belong here, nor who owns a pCPU.

shared    = cpu_shared_set ∩ online          (all online pCPUs where neither set is given)
dedicated = cpu_dedicated_set ∩ online       (empty where not given)
overhead  = cpu_overhead_set ∩ online, else shared where cpu_shared_set is given, else none at all
os        = online − shared − dedicated − overhead
shared ∩ dedicated = overhead ∩ dedicated = ∅
retiring  = pinned pCPUs of live claims − dedicated      (the ledger's, since only it knows the claims)
"""

from __future__ import annotations

from dataclasses import dataclass

from pinfold.core.cpuset import CpuSet


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolConfig:
    """The three options as given; None where an option is absent."""

    shared: CpuSet | None = None
    dedicated: CpuSet | None = None
    overhead: CpuSet | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pools:
    """The pools' online parts.

    `overhead` is None where no overhead pool is configured, and the empty set where one is configured and wholly offline:
    the first lets `share` guests float, the second refuses them.
    """

    shared: CpuSet
    dedicated: CpuSet
    overhead: CpuSet | None = None

    @property
    def has_overhead_pool(self) -> bool:
        """Whether an overhead pool is configured, online or not."""
        return self.overhead is not None

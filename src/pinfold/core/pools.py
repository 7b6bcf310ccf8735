"""The pools of a host: which pCPUs run what. `config` reads the files, and `ledger` knows who owns a pCPU.

shared    = cpu_shared_set ∩ online          (all online pCPUs if neither set is given)
dedicated = cpu_dedicated_set ∩ online       (empty if not given)
overhead  = cpu_overhead_set ∩ online; if not given, shared if cpu_shared_set is given; otherwise there is no overhead pool
os        = online − shared − dedicated − overhead
shared ∩ dedicated = overhead ∩ dedicated = ∅
retiring  = pinned pCPUs of live claims − dedicated      (computed in `ledger`, which knows the claims)

Audits follow two more options of Nova's; pinfold does not place guests by them:
shared    = dedicated = vcpu_pin_set ∩ online            (if given; overhead as above)
dedicated = cpu_dedicated_set                            (with cpu_power_management: Nova switches pCPUs on when a guest needs them)
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from pinfold.core.cpuset import MAX_CPU, CpuSet
from pinfold.core.errors import InvalidRequest
from pinfold.core.plural import pcpus
from pinfold.core.topology import Topology

SHARED: Final = "cpu_shared_set"
DEDICATED: Final = "cpu_dedicated_set"
OVERHEAD: Final = "cpu_overhead_set"
EITHER: Final = "vcpu_pin_set"


class PoolConfig(Struct, frozen=True, kw_only=True):
    """The options as given; None for an absent option.

    `either` (Nova's `vcpu_pin_set`) is one pool for pinned and floating vCPUs. `power_managed` means that Nova switches dedicated pCPUs
    off while no guest uses them. Only audits set these two.
    """

    shared: CpuSet | None = None
    dedicated: CpuSet | None = None
    overhead: CpuSet | None = None
    either: CpuSet | None = None
    power_managed: bool = False

    @property
    def names_pools(self) -> bool:
        """Whether any set is given."""
        return any(one is not None for one in (self.shared, self.dedicated, self.overhead, self.either))


class PoolOrder(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The pools that an operator orders for a host through the service; None for no such pool."""

    shared: CpuSet | None = None
    dedicated: CpuSet | None = None
    overhead: CpuSet | None = None

    @property
    def config(self) -> PoolConfig:
        """The same as options."""
        return PoolConfig(shared=self.shared, dedicated=self.dedicated, overhead=self.overhead)


class Pools(Struct, frozen=True, kw_only=True):
    """The online pCPUs of each pool. A power-managed dedicated pool includes its offline pCPUs too.

    `overhead` is None if no overhead pool is configured: then `share` guests float. It is the empty set if one is configured and wholly
    offline: then `share` guests are refused.
    """

    shared: CpuSet
    dedicated: CpuSet
    overhead: CpuSet | None = None

    @property
    def has_overhead_pool(self) -> bool:
        """Whether an overhead pool is configured, online or not."""
        return self.overhead is not None

    @property
    def exclusive(self) -> CpuSet:
        """The dedicated pCPUs that nobody may float over: all of them, unless one pool serves pinned and floating vCPUs."""
        return self.dedicated - self.shared


def build_pools(
    config: PoolConfig, topology: Topology, *, isolated: CpuSet = CpuSet(), usable: CpuSet | None = None
) -> tuple[Pools, tuple[str, ...]]:
    """The pools of a host with this configuration, and warnings for the operator, one sentence each.

    `isolated` is the kernel's set (isolcpus). `usable` is the cpuset that guests' processes may use, None if nothing limits them.
    Raises `InvalidRequest` naming the option if a given set is empty, names a pCPU that the host does not have, or overlaps a set that
    it must not overlap.

    >>> from pinfold.core.hosttext import host
    >>> config = PoolConfig(shared=CpuSet.of(0, 1), dedicated=CpuSet.parse("2-4"))
    >>> build_pools(config, host("core:6 offline:4"))
    (Pools(shared=CpuSet('0-1'), dedicated=CpuSet('2-3'), overhead=CpuSet('0-1')), \
('cpu_dedicated_set names pCPU 4, which is offline; the rest of the pool is used',))
    """
    given = {SHARED: config.shared, DEDICATED: config.dedicated, OVERHEAD: config.overhead, EITHER: config.either}
    for option, cpus in given.items():
        if cpus is not None:
            _check_members(option, cpus, topology)
    check_disjoint(config)
    online = topology.online
    shared, dedicated = _shared_and_dedicated(config, online)
    overhead_config = config.shared if config.overhead is None else config.overhead
    pools = Pools(shared=shared, dedicated=dedicated, overhead=None if overhead_config is None else overhead_config & online)
    warnings = [
        *(
            _offline_warning(option, cpus, online)
            for option, cpus in given.items()
            if cpus is not None and not cpus <= online and not (config.power_managed and option == DEDICATED)
        ),
        *(sentence for _, _, sentence in isolation_warnings(pools, isolated, config.overhead is not None)),
        *sibling_warnings(pools, topology),
        *_usable_warnings(pools, usable, online, config.overhead is not None),
    ]
    return pools, tuple(warnings)


def configured_pools(config: PoolConfig) -> Pools | None:
    """The pools with their offline pCPUs, as definitions name them; None if the files configure no pools.

    >>> configured_pools(PoolConfig(shared=CpuSet.parse("0-1"), dedicated=CpuSet.parse("2-7")))
    Pools(shared=CpuSet('0-1'), dedicated=CpuSet('2-7'), overhead=CpuSet('0-1'))
    >>> configured_pools(PoolConfig()) is None
    True
    """
    if config.shared is None and config.dedicated is None and config.either is None:
        return None
    shared, dedicated = _shared_and_dedicated(config, CpuSet.from_mask((1 << MAX_CPU + 1) - 1))
    return Pools(shared=shared, dedicated=dedicated, overhead=config.shared if config.overhead is None else config.overhead)


def _shared_and_dedicated(config: PoolConfig, online: CpuSet) -> tuple[CpuSet, CpuSet]:
    if config.either is not None:
        return config.either & online, config.either & online
    everything = config.shared is None and config.dedicated is None
    shared = online if everything else (config.shared or CpuSet()) & online
    dedicated = config.dedicated or CpuSet()
    return shared, dedicated if config.power_managed else dedicated & online


def check_disjoint(config: PoolConfig) -> None:
    """Raises `InvalidRequest` naming the option if a set overlaps the dedicated one. This needs no host.

    >>> check_disjoint(PoolConfig(shared=CpuSet.parse("0-1"), dedicated=CpuSet.parse("1-3")))
    Traceback (most recent call last):
    ...
    pinfold.core.errors.InvalidRequest: cpu_shared_set and cpu_dedicated_set overlap in pCPU 1; a pCPU is in one of them at most
    """
    if config.either is not None and config.dedicated is not None:
        raise InvalidRequest(f"{EITHER} and {DEDICATED} exclude each other, as in Nova; leave one of them out", key=EITHER)
    for option, other in ((SHARED, config.shared), (OVERHEAD, config.overhead)):
        if other is not None and config.dedicated is not None and not other.isdisjoint(config.dedicated):
            raise InvalidRequest(
                f"{option} and {DEDICATED} overlap in {pcpus(str(other & config.dedicated))}; a pCPU is in one of them at most", key=option
            )


def _check_members(option: str, cpus: CpuSet, topology: Topology) -> None:
    if not cpus:
        raise InvalidRequest(f"{option} is empty; leave it out to have no such pool", key=option)
    absent = cpus - topology.online - topology.offline
    if absent:
        present = topology.online | topology.offline
        raise InvalidRequest(f"{option} names {pcpus(str(absent))}, which this host does not have; it has {present}", key=option)


def _offline_warning(option: str, cpus: CpuSet, online: CpuSet) -> str:
    rest = "the rest of the pool is used" if not cpus.isdisjoint(online) else "the pool is empty until they are back"
    gone = cpus - online
    return f"{option} names {pcpus(str(gone))}, which {'is' if len(gone) == 1 else 'are'} offline; {rest}"


def isolation_warnings(pools: Pools, isolated: CpuSet, own_overhead: bool) -> list[tuple[str, CpuSet, str]]:
    """`(option, pCPUs, warning)` for each pool that overlaps isolcpus. The kernel does not balance there: floating threads share one pCPU.

    `own_overhead` says that cpu_overhead_set is given.
    """
    warnings = []
    for option, pool in _named(pools, own_overhead):
        overlap = pool & isolated
        if not overlap:
            continue
        which = "emulator threads that float over a guest's own pCPUs all stay on one of them"
        others = "threads that float there all stay on one of them"
        words = which if option == DEDICATED else others
        warnings.append((option, overlap, f"{option} has {pcpus(str(overlap))}, which the kernel isolates (isolcpus): {words}"))
    return warnings


def without_siblings_elsewhere(pools: Pools, topology: Topology) -> CpuSet:
    """The online dedicated pCPUs whose core has no sibling in the shared or the overhead pool."""
    others = pools.shared if pools.overhead is None else pools.shared | pools.overhead
    whole = 0
    for cell in topology.cells:
        for core in cell.cores:
            if core.isdisjoint(others):
                whole |= (core & pools.exclusive).mask
    return CpuSet.from_mask(whole)


def sibling_warnings(pools: Pools, topology: Topology) -> list[str]:
    """A warning if cores are split between the dedicated pool and another one; at most one."""
    mixed = (pools.exclusive & topology.online) - without_siblings_elsewhere(pools, topology)
    if not mixed:
        return []
    return [f"{DEDICATED} has {pcpus(str(mixed))}, whose SMT siblings are in another pool and disturb the guests pinned there"]


def _usable_warnings(pools: Pools, usable: CpuSet | None, online: CpuSet, own_overhead: bool) -> list[str]:
    if usable is None:
        return []
    return [
        f"{option} has {pcpus(str((pool & online) - usable))}, which the cpuset of machine.slice ({usable}) does not let guests use"
        for option, pool in _named(pools, own_overhead)
        if not pool & online <= usable
    ]


def _named(pools: Pools, own_overhead: bool) -> list[tuple[str, CpuSet]]:
    named = [(SHARED, pools.shared), (DEDICATED, pools.dedicated)]
    if own_overhead and pools.overhead is not None:
        named.append((OVERHEAD, pools.overhead))
    return named

"""The pools that a configuration makes of a host: the set equations, the refusals, the warnings."""

from __future__ import annotations

import pytest
from tests.build.hosts import cpus

from pinfold.core.cpuset import CpuSet
from pinfold.core.errors import InvalidRequest
from pinfold.core.hosttext import host
from pinfold.core.pools import PoolConfig, Pools, build_pools


def config(shared: str | None = None, dedicated: str | None = None, overhead: str | None = None) -> PoolConfig:
    return PoolConfig(
        shared=None if shared is None else cpus(shared),
        dedicated=None if dedicated is None else cpus(dedicated),
        overhead=None if overhead is None else cpus(overhead),
    )


@pytest.mark.parametrize(
    ("given", "shared", "dedicated", "overhead"),
    [
        pytest.param(config(), "0-5,7", "", None, id="nothing given: all online pCPUs are shared, and there is no overhead pool"),
        pytest.param(config(shared="0-1"), "0-1", "", "0-1", id="shared alone is the overhead pool too"),
        pytest.param(config(dedicated="2-5"), "", "2-5", None, id="dedicated alone: nothing is shared, no overhead pool"),
        pytest.param(config("0-1", "2-5"), "0-1", "2-5", "0-1", id="shared and dedicated"),
        pytest.param(config("0-1", "2-4", "5"), "0-1", "2-4", "5", id="an overhead pool of its own"),
        pytest.param(config(dedicated="2-4", overhead="5"), "", "2-4", "5", id="dedicated and overhead"),
        pytest.param(config(overhead="5"), "0-5,7", "", "5", id="overhead alone overlaps the shared pCPUs"),
        pytest.param(config("0-1", "2-4", "1,5"), "0-1", "2-4", "1,5", id="overhead and shared may overlap"),
        pytest.param(config("6", "2-4"), "", "2-4", "", id="a pool that is wholly offline is configured and empty"),
        pytest.param(config("0,6", "2-4,7"), "0", "2-4,7", "0", id="the online part is used"),
    ],
)
def test_the_set_equations(given: PoolConfig, shared: str, dedicated: str, overhead: str | None) -> None:
    pools, _ = build_pools(given, host("core:8 offline:6"))
    assert pools == Pools(shared=cpus(shared), dedicated=cpus(dedicated), overhead=None if overhead is None else cpus(overhead))


@pytest.mark.parametrize(
    ("given", "key", "sentence"),
    [
        pytest.param(config(shared=""), "cpu_shared_set", "cpu_shared_set is empty", id="an empty shared set"),
        pytest.param(config(dedicated=""), "cpu_dedicated_set", "cpu_dedicated_set is empty", id="an empty dedicated set"),
        pytest.param(config("0", "1", ""), "cpu_overhead_set", "cpu_overhead_set is empty", id="an empty overhead set"),
        pytest.param(
            config(shared="0-9"),
            "cpu_shared_set",
            "cpu_shared_set names pCPUs 8-9, which this host does not have; it has 0-7",
            id="absent pCPUs",
        ),
        pytest.param(
            config("0-2", "2-4"),
            "cpu_shared_set",
            "cpu_shared_set and cpu_dedicated_set overlap in pCPU 2",
            id="shared overlaps dedicated",
        ),
        pytest.param(
            config("0", "2-4", "4-5"),
            "cpu_overhead_set",
            "cpu_overhead_set and cpu_dedicated_set overlap in pCPU 4",
            id="overhead overlaps",
        ),
        pytest.param(config("0,6", "2,6"), "cpu_shared_set", "overlap in pCPU 6", id="an overlap that is offline now"),
    ],
)
def test_refusals(given: PoolConfig, key: str, sentence: str) -> None:
    with pytest.raises(InvalidRequest, match=sentence) as caught:
        build_pools(given, host("core:8 offline:6"))
    assert caught.value.key == key


@pytest.mark.parametrize(
    ("given", "isolated", "usable", "fragments"),
    [
        pytest.param(config("0-1", "2-5"), "", None, [], id="nothing to say"),
        pytest.param(config("0,6", "2-5"), "", None, ["cpu_shared_set names pCPU 6, which is offline; the rest"], id="offline members"),
        pytest.param(config("6", "2-5"), "", None, ["the pool is empty until they are back"], id="a pool that is wholly offline"),
        pytest.param(config("0-1", "2-5"), "1", None, ["cpu_shared_set has pCPU 1, which the kernel isolates"], id="isolcpus and shared"),
        pytest.param(
            config("0-1", "2-5"), "4-5", None, ["cpu_dedicated_set has pCPUs 4-5, which the kernel isolates"], id="isolcpus and dedicated"
        ),
        pytest.param(
            config("0-1", "2-3", "4"), "4", None, ["cpu_overhead_set has pCPU 4, which the kernel isolates"], id="isolcpus and overhead"
        ),
        pytest.param(config("0", "1-3"), "", None, ["cpu_dedicated_set has pCPU 1, whose SMT siblings are in another pool"], id="siblings"),
        pytest.param(
            config("0-1", "2,4-5", "3"), "", None, ["cpu_dedicated_set has pCPU 2, whose SMT siblings"], id="siblings in overhead"
        ),
        pytest.param(config("0-1", "2-5"), "", "0-4", ["cpu_dedicated_set has pCPU 5, which the cpuset of machine.slice"], id="usable"),
        pytest.param(config(), "", "0-4", ["cpu_shared_set has pCPUs 5,7, which the cpuset of machine.slice"], id="usable and defaults"),
    ],
)
def test_warnings(given: PoolConfig, isolated: str, usable: str | None, fragments: list[str]) -> None:
    _, warnings = build_pools(
        given, host("core:4 pu:2 offline:6"), isolated=cpus(isolated), usable=CpuSet.parse(usable) if usable else None
    )
    assert len(warnings) == len(fragments)
    for warning, fragment in zip(warnings, fragments, strict=True):
        assert fragment in warning


def test_one_pool_for_pinned_and_floating_vcpus_as_vcpu_pin_set_makes_it() -> None:
    topology = host("core:4 pu:2 offline:7")
    pools, warnings = build_pools(PoolConfig(either=cpus("2-7")), topology)
    assert (pools.shared, pools.dedicated, pools.overhead, pools.exclusive) == (cpus("2-6"), cpus("2-6"), None, cpus(""))
    assert warnings == ("vcpu_pin_set names pCPU 7, which is offline; the rest of the pool is used",)
    pools, _ = build_pools(PoolConfig(either=cpus("2-7"), shared=cpus("0-1")), topology)
    assert (pools.shared, pools.overhead) == (cpus("2-6"), cpus("0-1"))
    with pytest.raises(InvalidRequest, match="vcpu_pin_set and cpu_dedicated_set exclude each other, as in Nova"):
        build_pools(PoolConfig(either=cpus("2-5"), dedicated=cpus("6")), topology)


def test_power_managed_pcpus_stay_in_the_dedicated_pool_while_they_are_off() -> None:
    config = PoolConfig(shared=cpus("0-1"), dedicated=cpus("2-7"), power_managed=True)
    pools, warnings = build_pools(config, host("core:8 offline:4-7"), usable=cpus("0-3"))
    assert (pools.dedicated, warnings) == (cpus("2-7"), ())

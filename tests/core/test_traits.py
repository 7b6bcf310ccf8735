"""The traits that a host has by itself."""

from __future__ import annotations

import pytest

from pinfold.core.cpuset import CpuSet
from pinfold.core.hosttext import host
from pinfold.core.pools import Pools
from pinfold.core.traits import HYPERTHREADING, OVERHEAD_POOL, OWN_TRAITS, own_traits

POOL = CpuSet.of(0)


@pytest.mark.parametrize(
    ("text", "overhead", "expected"),
    [
        ("core:4 pu:2", POOL, {HYPERTHREADING, OVERHEAD_POOL}),
        ("core:4 pu:2", None, {HYPERTHREADING}),
        ("core:4", CpuSet(), {OVERHEAD_POOL}),
        ("core:2 pu:2 offline:1,3", None, set()),
    ],
    ids=["threads and a pool", "no pool", "a pool that is offline is configured", "threads that are offline do not count"],
)
def test_traits_follow_topology_and_pools(text: str, overhead: CpuSet | None, expected: set[str]) -> None:
    found = own_traits(host(text), Pools(shared=POOL, dedicated=CpuSet(), overhead=overhead))
    assert found == expected
    assert found <= OWN_TRAITS

"""The place of a guest against the pools of today."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from tests.core.drift.guest import ONLINE, POOLS, WEB
from tests.core.hosts import cpus

from pinfold.core.drift import Place, Severity, outside_pools, place_of
from pinfold.core.fit.model import EmulatorPlacement, Fit, FitCell
from pinfold.core.pools import Pools


@pytest.mark.parametrize(
    ("place", "sentences"),
    [
        pytest.param(Place(alone=cpus("4-5"), floating=cpus("0-3"), pooled=cpus("0-3")), [], id="within every pool"),
        pytest.param(
            Place(alone=cpus("3-5")),
            ["guest web: its pins lie on 3, outside the pool of today (4-15)"],
            id="a pinned pCPU that has left the dedicated pool",
        ),
        pytest.param(Place(alone=cpus("4,20")), [], id="an offline pCPU is reported elsewhere"),
        pytest.param(
            Place(floating=cpus("2-4")),
            ["guest web: its floating vCPUs lie on 4, outside the pool of today (0-3)"],
            id="a float set beyond the shared pool",
        ),
        pytest.param(
            Place(pooled=cpus("0-1")),
            ["guest web: its overhead threads lie on 0-1, only a part of the pool of today (0-3)"],
            id="an overhead pool that has grown",
        ),
        pytest.param(
            Place(pooled=cpus("3-4")),
            ["guest web: its overhead threads lie on 4, outside the pool of today (0-3)"],
            id="an overhead pool that has moved",
        ),
    ],
)
def test_places_against_the_pools(place: Place, sentences: list[str]) -> None:
    assert [finding.sentence() for finding in outside_pools(WEB, place, POOLS, ONLINE)] == sentences


@pytest.mark.parametrize(
    ("owner", "first"),
    [
        pytest.param("pinfold", "", id="started on its host: the command reads the files itself"),
        pytest.param("the agent of c01", "restart the agent of c01, which reads its pools only when it starts", id="a server"),
    ],
)
def test_who_places_a_guest_reads_the_new_pools_before_the_guest_starts(owner: str, first: str) -> None:
    (finding,) = outside_pools(replace(WEB, owner=owner), Place(alone=cpus("3")), POOLS, ONLINE)
    before, _, after = finding.advice.partition("stop the guest")
    assert after
    assert before.startswith(first) and bool(before) is bool(first)
    assert ("`systemctl restart pinfold-agent`" in before) is bool(first)


def test_a_vanished_overhead_pool_is_drift_and_a_grown_one_a_note() -> None:
    none = Pools(shared=cpus("0-3"), dedicated=cpus("4-15"))
    (gone,) = outside_pools(WEB, Place(pooled=cpus("0-3")), none, ONLINE)
    (grown,) = outside_pools(WEB, Place(pooled=cpus("0-1")), POOLS, ONLINE)
    assert (gone.severity, grown.severity) == (Severity.DRIFT, Severity.NOTE)


def test_the_place_of_a_fit_is_all_that_it_holds() -> None:
    cell = FitCell(guest_cell=0, host_cell=0, pins=((0, 4),), float_vcpus=cpus("1"), float_set=cpus("0-1"))
    fit = Fit(
        vcpus=2,
        memory_mib=64,
        cells=(cell,),
        emulator_placement=EmulatorPlacement.ISOLATED,
        emulator=cpus("6"),
        emulator_pcpu=6,
        idle_siblings=cpus("7"),
    )
    assert place_of(fit) == Place(alone=cpus("4,6-7"), floating=cpus("0-1"), pooled=None)

"""The place of a guest against the pools of today."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from tests.build.hosts import cpus
from tests.build.threads import ONLINE, POOLS, WEB

from pinfold.core.drift import Place, Severity, outside_pools, place_of
from pinfold.core.fit.answer import EmulatorPlacement, Fit, FitCell
from pinfold.core.pools import Pools

REREAD = "let the agent of c01 read its pools again (`systemctl reload pinfold-agent`; where `pinfold up` runs, SIGHUP to that process)"


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
    ("owner", "pinned", "others"),
    [
        pytest.param("pinfold", "stop the guest, ", "move its threads to the pools of today, without a restart: `", id="on its host"),
        pytest.param("the agent of c01", f"{REREAD}, then stop the guest, ", f"{REREAD}, and its threads follow", id="a server"),
    ],
)
def test_threads_follow_without_a_restart_and_pins_with_one(owner: str, pinned: str, others: str) -> None:
    everywhere = Place(alone=cpus("3"), floating=cpus("4"), pooled=cpus("4"))
    pins, floats, pooled = outside_pools(replace(WEB, owner=owner), everywhere, POOLS, ONLINE)
    assert pins.advice.startswith(pinned)
    assert floats.advice == pooled.advice and floats.advice.startswith(others)


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

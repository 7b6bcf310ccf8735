"""Hosts and requests that a simulation leaves out: none of them changes what the others give, and each is named."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from tests.simulation.test_run import ALL, by_policy, plan, setting

from pinfold.core.errors import InvalidRequest
from pinfold.core.fit.answer import Fit
from pinfold.core.fit.engine import fit
from pinfold.core.fit.slots import Resource
from pinfold.core.hosttext import host
from pinfold.core.request.model import EmulatorPolicy
from pinfold.simulation.exclusions import exclusions
from pinfold.simulation.fleet import demand, state_of
from pinfold.simulation.inputs import MIXES
from pinfold.simulation.model import GuestMix, GuestShape, Plan, SimulatedFleet
from pinfold.simulation.run import simulate

USUAL = tuple(GuestShape(vcpus=vcpus, memory_mib=1024 * vcpus) for vcpus in (2, 4, 1, 2, 2))
EMPTY = ", not even on an empty one: "
PCPUS = "too few pCPUs in one host cell"
POOL = "the overhead pool is too small"
HUGE = GuestShape(vcpus=200, memory_mib=4096)


def requests(*shapes: GuestShape) -> GuestMix:
    return GuestMix(name="r.csv", shapes=shapes, ordered=True, sources=tuple(f"r.csv, line {line + 2}" for line in range(len(shapes))))


def test_a_request_that_fits_on_no_empty_host_changes_no_figure_and_is_named_with_its_line() -> None:
    asked = simulate(plan(requests(*USUAL[:3], HUGE, *USUAL[3:])))
    usual = simulate(plan(requests(*USUAL)))
    assert tuple(structs.replace(one, left_out=()) for one in asked.results) == usual.results
    assert asked.sentences == usual.sentences
    assert asked.warnings == (
        f"r.csv, line 5: a guest of 200 vCPUs, 4 GiB, 1 cell fits on no host of this fleet{EMPTY}{PCPUS}; 1 of 6 requests is left out",
    )
    assert usual.warnings == ()


def test_a_request_that_fits_under_some_policies_is_left_out_under_the_others_only() -> None:
    whole = GuestShape(vcpus=8, memory_mib=1024)
    fleet = SimulatedFleet(hosts=3, topologies=(host("cell:2 core:8 mem:65536"),), reserve=0)
    found = simulate(Plan(fleet=fleet, mix=requests(*USUAL, whole, whole), settings=ALL))
    left = {
        one.setting.policy: [(shape.shape.vcpus, shape.lacks, shape.requests, shape.first) for shape in one.left_out]
        for one in found.results
    }
    assert left == {
        EmulatorPolicy.UNSET: [],
        EmulatorPolicy.SHARE: [],
        EmulatorPolicy.ISOLATE: [(8, Resource.PCPUS, 2, "r.csv, line 7")],
    }
    guest = "r.csv, line 7: a guest of 8 vCPUs, 1 GiB, 1 cell"
    assert found.warnings == (f"{guest} fits on no host of this fleet under isolate{EMPTY}{PCPUS}; 2 of 7 requests are left out there",)
    assert found.sentences[0].endswith(
        " They do not hold the same requests: share with 1 pCPU leaves out 0 of them and isolate leaves out 2, which fit on no empty host."
    )
    assert "They do not hold" not in found.sentences[1]


@pytest.mark.parametrize(
    ("shape", "sentence"),
    [
        (GuestShape(vcpus=2, memory_mib=1 << 20), "too little memory in one host cell; 1 of 6 requests is left out"),
        (GuestShape(vcpus=8, memory_mib=8, cells=4), "too few pCPUs in one host cell; 1 of 6 requests is left out"),
    ],
)
def test_what_the_empty_hosts_lack_is_said(shape: GuestShape, sentence: str) -> None:
    (said,) = simulate(plan(requests(*USUAL, shape))).warnings
    assert said.endswith(sentence)


def test_a_pool_that_is_too_small_for_one_guest_is_said() -> None:
    found = simulate(plan(requests(GuestShape(vcpus=600, memory_mib=1024)), text="core:800 mem:65536"))
    (said,) = found.warnings
    assert f"under share with 1 pCPU{EMPTY}{POOL}; 1 of 1 request is left out there" in said


def test_a_shape_of_a_mix_is_left_out_too_and_the_others_come_and_go() -> None:
    found = simulate(plan(MIXES["mixed"], text="core:12 mem:65536", settings=ALL[:1], churn=20, load=0.5))
    assert found.warnings == (
        f"mix mixed: a guest of 16 vCPUs, 64 GiB, 2 cells fits on no host of this fleet{EMPTY}{PCPUS}; 1 of 5 shapes is left out",
    )
    (one,) = found.results
    assert one.first.guests
    assert any(sample.usable_pcpus for sample in one.churn), "the largest guests are those that fit somewhere"


def test_with_no_request_left_nothing_runs_and_nothing_comes_or_goes() -> None:
    for one in simulate(plan(requests(HUGE), churn=20)).results:
        assert (one.first.guests, one.full.guests, one.churn) == (0, 0, ())
        assert one.free_pcpus == one.dedicated_pcpus == sum(lost.pcpus for lost in one.stranded)


def mixed_fleet(*texts: str) -> SimulatedFleet:
    lines = tuple(f"f.csv, line {line + 2}" for line in range(len(texts)))
    return SimulatedFleet(hosts=len(texts), topologies=tuple(host(text) for text in texts), reserve=0, sources=lines)


def test_a_host_without_a_pcpu_for_vcpus_is_left_out_and_named_with_its_line() -> None:
    fleet = mixed_fleet("core:16 mem:65536", "core:4 mem:65536", "core:16 mem:65536")
    small = Plan(fleet=fleet, mix=requests(*USUAL), settings=(setting(EmulatorPolicy.UNSET), setting(EmulatorPolicy.SHARE, 4)))
    found = simulate(small)
    assert [(one.hosts, one.dedicated_pcpus) for one in found.results] == [(3, 36), (2, 24)]
    assert found.warnings == (
        "f.csv, line 3: a host of 4 pCPUs cannot reserve 0 and have an overhead pool of 4; 1 of 3 hosts is left out of share with 4 pCPUs",
    )


def test_a_setting_that_no_host_can_have_is_left_out() -> None:
    found = simulate(plan(settings=(*ALL, setting(EmulatorPolicy.SHARE, 16))))
    assert [one.setting for one in found.results] == list(ALL)
    assert found.warnings == (
        "share with 16 pCPUs is left out: no host has a pCPU for vCPUs beside 1 reserved and 16 in the overhead pool",
    )


def test_settings_that_no_host_can_have_are_refused_where_no_other_is_asked_for() -> None:
    with pytest.raises(InvalidRequest, match="a host of 4 pCPUs cannot reserve 1 and have an overhead pool of 3: none is left for vCPUs"):
        simulate(plan(settings=(setting(EmulatorPolicy.SHARE, 3),), text="core:4"))
    with pytest.raises(InvalidRequest, match="a host of 1 pCPU cannot reserve 1: none is left for vCPUs"):
        simulate(plan(text="core:1"))


SHAPES = st.builds(
    lambda cells, vcpus, memory: GuestShape(vcpus=cells * vcpus, memory_mib=cells * memory, cells=cells),
    st.integers(1, 3),
    st.integers(1, 9),
    st.sampled_from((512, 4096, 9000)),
)
TEXTS = st.sampled_from(("core:2 mem:4096", "cell:2 core:4 mem:4096", "core:12 mem:8192", "cell:2 core:9 mem:16384", "core:6 mem:0"))


@given(st.lists(SHAPES, min_size=1, max_size=6), st.lists(TEXTS, min_size=1, max_size=3))
def test_a_shape_is_left_out_exactly_if_the_engine_refuses_it_on_each_empty_host(shapes: list[GuestShape], texts: list[str]) -> None:
    made = Plan(fleet=mixed_fleet(*texts), mix=requests(*shapes), settings=ALL)
    for one in exclusions(made):
        for shape in shapes:
            request = demand(shape, one.setting.policy).request
            states = [state_of(topology, made.fleet, one.setting.pool_pcpus) for topology in made.fleet.topologies]
            fits = any(isinstance(fit(request, state), Fit) for state in states if state is not None)
            assert one.leaves_out(shape) is not fits


def test_the_figures_of_a_fleet_without_exclusions_name_all_hosts() -> None:
    assert {one.hosts for one in by_policy(plan()).values()} == {3}

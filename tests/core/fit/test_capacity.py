"""What a host has left for a set of flavors, and which free pCPUs none of them can use."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.build.hosts import NO_RESERVE, state, states
from tests.build.requests import explicit, guest, guests

from pinfold.core.fit.capacity import FlavorSlots, StrandedPcpus, capacity, stranded, total
from pinfold.core.fit.count import count_host
from pinfold.core.fit.demand import prepare
from pinfold.core.fit.slots import Resource
from pinfold.core.host import HostState, Limits, OverheadRates
from pinfold.core.request.model import EmulatorPolicy, GuestRequest, ThreadPolicy

RATES = Limits(reserved_memory_mib=0, rates=OverheadRates(guest=500, vcpu=0))
SHARE, ISOLATE = EmulatorPolicy.SHARE, EmulatorPolicy.ISOLATE


def lost(where: HostState, *requests: GuestRequest) -> dict[str, int]:
    found = stranded(count_host(where), [prepare(request) for request in requests])
    return {each.cause.value: each.pcpus for each in found}


@pytest.mark.parametrize(
    ("where", "requests", "by_cause"),
    [
        pytest.param(state("core:8 mem:64"), [guest("2")], {}, id="all can be used"),
        pytest.param(state("core:9 mem:64"), [guest("2")], {"pcpus": 1}, id="one pCPU is too few"),
        pytest.param(state("core:9 mem:64"), [guest("2"), guest("3")], {}, id="the flavor that uses most decides"),
        pytest.param(state("core:9 mem:32"), [guest("2", memory_mib=16)], {"memory": 4, "pcpus": 1}, id="memory is short"),
        pytest.param(state("core:8 mem:64 huge:2048x8"), [guest("2", memory_mib=8, page=explicit(2048))], {"pages": 4}, id="huge pages"),
        pytest.param(state("core:4 pu:2 mem:64", taken="1,3"), [guest("2", threads=ThreadPolicy.REQUIRE)], {"siblings": 2}, id="siblings"),
        pytest.param(state("core:2 pu:2 mem:64"), [guest("1", threads=ThreadPolicy.ISOLATE)], {}, id="idle siblings are in use"),
        pytest.param(
            state("core:9 mem:64", overhead="8", limits=RATES),
            [guest("2", emulator=SHARE)],
            {"overhead": 4},
            id="overhead",
        ),
        pytest.param(state("core:8 mem:64", disk_gib=10), [guest("2", disk_gib=4)], {"disk": 4}, id="disk"),
        pytest.param(state("core:8 mem:64"), [guest("1 1")], {"pcpus": 8}, id="a host of one cell and guests of two"),
        pytest.param(state("core:8 mem:64"), [], {}, id="no flavor, no answer"),
        pytest.param(state("core:8 mem:64"), [GuestRequest(vcpus=1, memory_mib=1)], {}, id="floating guests need no dedicated pCPU"),
    ],
)
def test_stranded_pcpus_by_cause(where: HostState, requests: list[GuestRequest], by_cause: dict[str, int]) -> None:
    assert lost(where, *requests) == by_cause


@settings(max_examples=100, deadline=None)
@given(states(), st.lists(guests(), max_size=3))
def test_no_more_pcpus_are_stranded_than_are_free(where: HostState, requests: list[GuestRequest]) -> None:
    assert sum(lost(where, *requests).values()) <= count_host(where).free.bit_count()


def test_a_host_that_takes_no_guests_has_no_slots_and_strands_nothing() -> None:
    left = capacity(count_host(state("core:9 mem:64")), [("pin", prepare(guest("2")))], takes_guests=False)
    assert (left.free_pcpus, left.flavors, left.stranded) == (9, (FlavorSlots(flavor="pin", slots=0),), ())


def test_the_sum_over_hosts_keeps_the_order_of_flavors() -> None:
    asked = [("two", prepare(guest("2"))), ("one", prepare(guest("1", memory_mib=16)))]
    hosts = [capacity(count_host(state(text, limits=NO_RESERVE)), asked) for text in ("core:9 mem:64", "core:3 mem:64")]
    left = total(hosts, [name for name, _ in asked])
    assert (left.hosts, left.dedicated_pcpus, left.free_pcpus) == (2, 12, 12)
    assert left.flavors == (FlavorSlots(flavor="two", slots=5), FlavorSlots(flavor="one", slots=7))
    assert left.stranded == (StrandedPcpus(cause=Resource.MEMORY, pcpus=1),)

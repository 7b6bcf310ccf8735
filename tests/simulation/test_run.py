"""A simulated fleet is filled by the scheduler: what it holds under each policy, what is left and why, and what churn does to it."""

from __future__ import annotations

import pytest
from msgspec import structs

from pinfold.core.fit.slots import Resource
from pinfold.core.hosttext import host
from pinfold.core.request.model import EmulatorPolicy
from pinfold.scheduler.model import HostStrategy
from pinfold.simulation.inputs import MIXES
from pinfold.simulation.model import GuestMix, GuestShape, Plan, Setting, SettingResult, SimulatedFleet
from pinfold.simulation.run import simulate

TWO = GuestMix(name="two", shapes=(GuestShape(vcpus=2, memory_mib=1024),))


def setting(policy: EmulatorPolicy, pool: int = 0) -> Setting:
    return Setting(policy=policy, pool_pcpus=pool)


ALL = (setting(EmulatorPolicy.UNSET), setting(EmulatorPolicy.SHARE, 1), setting(EmulatorPolicy.ISOLATE))


def plan(
    mix: GuestMix = TWO, *, settings: tuple[Setting, ...] = ALL, hosts: int = 3, text: str = "cell:2 core:8 mem:65536", **more: object
) -> Plan:
    fleet = SimulatedFleet(hosts=hosts, topologies=(host(text),), reserve=1)
    return structs.replace(Plan(fleet=fleet, mix=mix, settings=settings), **more)


def by_policy(made: Plan) -> dict[EmulatorPolicy, SettingResult]:
    return {one.setting.policy: one for one in simulate(made).results}


def test_two_vcpu_guests_take_two_pcpus_or_three_or_two_and_a_pool() -> None:
    found = by_policy(plan())
    # 7 and 8 pCPUs for vCPUs in the cells of each host; the pool takes one of the 8
    assert {policy: (one.dedicated_pcpus, one.full.guests) for policy, one in found.items()} == {
        EmulatorPolicy.UNSET: (45, 21),
        EmulatorPolicy.SHARE: (42, 18),
        EmulatorPolicy.ISOLATE: (45, 12),
    }
    assert found[EmulatorPolicy.ISOLATE].emulator_pcpus == 12


@pytest.mark.parametrize("mix", [TWO, MIXES["mixed"], MIXES["large"]], ids=lambda mix: mix.name)
@pytest.mark.parametrize("strategy", HostStrategy)
def test_every_dedicated_pcpu_is_a_vcpus_or_an_emulators_or_left_with_a_reason(mix: GuestMix, strategy: HostStrategy) -> None:
    for one in simulate(plan(mix, strategy=strategy, text="cell:2 core:12 pu:2 mem:49152")).results:
        assert one.full.vcpus + one.emulator_pcpus + one.free_pcpus == one.dedicated_pcpus
        assert sum(lost.pcpus for lost in one.stranded) == one.free_pcpus, "nothing fits any more, so all that is left is stranded"
        assert one.first.guests <= one.full.guests


def test_a_small_pool_and_short_memory_are_named_as_the_reason() -> None:
    found = by_policy(plan(settings=(setting(EmulatorPolicy.SHARE, 1),), text="core:64 mem:262144"))[EmulatorPolicy.SHARE]
    assert found.full.guests == 3 * 22, "a pool of 1,000 millicpu holds 22 guests of 44"
    assert {lost.cause for lost in found.stranded} == {Resource.OVERHEAD}
    short = by_policy(plan(settings=(setting(EmulatorPolicy.UNSET),), text="core:16 mem:4096"))[EmulatorPolicy.UNSET]
    assert (short.full.guests, {lost.cause for lost in short.stranded}) == (12, {Resource.MEMORY, Resource.PCPUS})


def test_the_same_seed_gives_the_same_result_and_another_seed_another() -> None:
    made = plan(MIXES["mixed"], churn=40)
    assert simulate(made) == simulate(made)
    assert simulate(made).results != simulate(structs.replace(made, seed=2)).results


def test_requests_with_an_order_are_asked_in_it_again_and_again() -> None:
    mix = GuestMix(name="file", shapes=(GuestShape(vcpus=8, memory_mib=1024), GuestShape(vcpus=1, memory_mib=1024)), ordered=True)
    found = by_policy(plan(mix, settings=(setting(EmulatorPolicy.UNSET),), hosts=1, text="core:20 mem:65536"))[EmulatorPolicy.UNSET]
    assert (found.first.guests, found.first.vcpus) == (4, 18), "8, 1, 8, 1, and the third of 8 is refused"
    assert found.full.vcpus == 19


def test_with_churn_the_fleet_stays_at_its_load_and_the_usable_pcpus_are_sampled() -> None:
    made = plan(MIXES["mixed"], hosts=6, settings=(setting(EmulatorPolicy.UNSET),), text="cell:2 core:16 mem:131072", churn=100, load=0.7)
    found = simulate(made).results[0]
    assert [sample.events for sample in found.churn] == list(range(0, 101, 5))
    assert all(sample.vcpus <= 0.7 * found.full.vcpus + 16 for sample in found.churn)
    assert all(0 <= sample.usable_pcpus <= sample.free_pcpus for sample in found.churn)


def test_the_sentence_compares_share_with_the_others() -> None:
    said = simulate(plan()).sentences
    assert said[0] == (
        "share, with an overhead pool of 1 pCPU on each host, holds 50 % more 2-vCPU guests than isolate on this fleet when the first "
        "request is refused, and 50 % more when nothing fits any more."
    )
    assert "14 % fewer 2-vCPU guests than unset" in said[1]
    assert simulate(plan(settings=(setting(EmulatorPolicy.UNSET),))).sentences == ()


def test_policies_that_hold_the_same_are_said_to() -> None:
    whole = GuestMix(name="whole", shapes=(GuestShape(vcpus=4, memory_mib=1024),))
    settings = (setting(EmulatorPolicy.SHARE, 1), setting(EmulatorPolicy.ISOLATE))
    (sentence,) = simulate(plan(whole, hosts=2, settings=settings, text="core:8 mem:65536")).sentences
    assert sentence == (
        "share, with an overhead pool of 1 pCPU on each host, holds as many 4-vCPU guests as isolate on this fleet when the first request "
        "is refused, and as many when nothing fits any more."
    )


def test_policies_that_hold_nothing_are_compared_without_a_share() -> None:
    huge = GuestMix(name="huge", shapes=(GuestShape(vcpus=400, memory_mib=1024),))
    assert simulate(plan(huge)).sentences == (
        "Neither share nor isolate holds one guest of this mix on this fleet: no host has room for it.",
        "Neither share nor unset holds one guest of this mix on this fleet: no host has room for it.",
    )
    whole = GuestMix(name="whole", shapes=(GuestShape(vcpus=6, memory_mib=1024),))
    settings = (setting(EmulatorPolicy.SHARE, 2), setting(EmulatorPolicy.ISOLATE))
    (sentence,) = simulate(plan(whole, settings=settings, text="core:8 mem:65536")).sentences
    assert "share, with an overhead pool of 2 pCPUs on each host, holds 0 6-vCPU guests on this fleet when" in sentence
    assert ", and 0 when nothing fits any more; isolate holds 3 and 3. They do not hold the same requests" in sentence


def test_progress_is_told_from_the_first_request_to_the_last_departure() -> None:
    told: list[tuple[str, int, int]] = []
    simulate(plan(hosts=20, settings=(setting(EmulatorPolicy.ISOLATE),), churn=250), lambda *one: told.append(one))
    filled, churned = "isolate", "isolate, arrivals and departures"
    assert [one for one in told if one[0] == churned] == [(churned, 100, 250), (churned, 200, 250), (churned, 250, 250)]
    fill = [one for one in told if one[0] == filled]
    assert fill == sorted(fill)
    assert (fill[0][1], fill[-1][1]) == (0, fill[0][2])

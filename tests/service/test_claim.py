"""The claim protocol and release, on real databases and a real Placement."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from msgspec import structs
from tests.build.hosts import report
from tests.build.requests import floating, pinned
from tests.build.rows import add_guest, add_host, wanted
from tests.rig.promises import at_rest
from tests.service.claiming import EAGER, SLOW_EYES, create, refuse, synced_hosts

from pinfold.accounting.client import Placement
from pinfold.accounting.resources import OVERHEAD, PCPU, Shares
from pinfold.core.cpuset import CpuSet
from pinfold.core.errors import Conflict
from pinfold.core.host import Foreign, Limits, OverheadRates
from pinfold.core.reasons import ReasonCode
from pinfold.core.request.model import EmulatorPolicy, Flavor
from pinfold.scheduler.model import SchedulerSettings
from pinfold.service.fleet import Fleet, assemble
from pinfold.store import aggregates, claims, flavors, guests, host_orders, hosts, tombstones
from pinfold.store.database import Database
from pinfold.store.records import ClaimState, Desired, FlavorRecord, Tombstone

pytestmark = pytest.mark.real_placement


def test_a_claim_stands_in_the_ledger_and_in_placement(database: Database, fleet: Fleet, placement: Placement) -> None:
    (host,) = synced_hosts(database, fleet, "c01")
    made = create(database, fleet, pinned(4, emulator=EmulatorPolicy.SHARE))
    assert (made.host, made.name, made.revision) == (host, "c01", 2)
    assert dict(placement.usages(host)) == {PCPU: 4, "VCPU": 0, "MEMORY_MB": 64, "DISK_GB": 1, OVERHEAD: 28}
    with database.read() as connection:
        placed = guests.get(connection, made.guest)
        ((_, held),) = guests.orders(connection, host)
        assert host_orders.parts(connection, host).count == 2
    assert (placed.host, placed.task) == (host, "spawning")
    assert (held.fit, held.revision, held.state) == (made.fit, 2, ClaimState.HELD)
    at_rest(database, placement)


def test_a_second_claim_of_the_same_guest_is_a_conflict(database: Database, fleet: Fleet, placement: Placement) -> None:
    synced_hosts(database, fleet, "c01")
    made = create(database, fleet, pinned(2))
    with pytest.raises(Conflict):
        fleet.claimer.create(wanted(made.guest, pinned(2)))
    at_rest(database, placement)


def test_a_guest_that_is_not_stored_is_a_conflict(database: Database, fleet: Fleet, placement: Placement) -> None:
    (host,) = synced_hosts(database, fleet, "c01")
    with pytest.raises(Conflict):
        fleet.claimer.create(wanted(str(uuid.uuid4()), pinned(2)))
    assert placement.provider_allocations(host) == ()


def test_a_guest_that_is_unwanted_by_now_leaves_nothing(database: Database, fleet: Fleet, placement: Placement) -> None:
    (host,) = synced_hosts(database, fleet, "c01")
    guest = add_guest(database, pinned(2))
    with database.write() as connection:
        guests.want(connection, guest, Desired.ABSENT, task="deleting")
    with pytest.raises(Conflict):
        fleet.claimer.create(wanted(guest, pinned(2)))
    assert placement.provider_allocations(host) == ()
    fleet.healer.heal()
    with database.read() as connection:
        assert guests.get(connection, guest).deleted is not None
    at_rest(database, placement)


def test_hosts_fill_until_all_refuse_and_each_says_why(database: Database, fleet: Fleet, placement: Placement) -> None:
    synced_hosts(database, fleet, "c01", "c02")
    for _ in range(4):
        create(database, fleet, pinned(6))
    refused = refuse(database, fleet, pinned(6))
    assert [one.name for one in refused.refusals] == ["c01", "c02"]
    assert refused.sentence().startswith("No host takes the guest: c01: ")
    assert "cell 0 has 0 free dedicated pCPUs, 6 needed" in refused.sentence()
    with database.read() as connection:
        assert claims.live(connection, refused.guest) is None
        assert guests.get(connection, refused.guest).host is None
    assert placement.allocation(refused.guest) is None
    at_rest(database, placement)


def test_no_host_at_all_is_said_so(database: Database, fleet: Fleet) -> None:
    assert refuse(database, fleet, pinned(1)).sentence() == "No host is registered"


def test_overhead_is_booked_until_the_pool_is_full(database: Database, fleet: Fleet, placement: Placement) -> None:
    limits = Limits(reserved_memory_mib=0, rates=OverheadRates(guest=300, vcpu=0))
    host = add_host(database, "c07", report(limits=limits))
    fleet.providers.sync(host)
    for _ in range(3):
        create(database, fleet, pinned(1, emulator=EmulatorPolicy.SHARE))
    assert dict(placement.usages(host))[OVERHEAD] == 900
    refused = refuse(database, fleet, pinned(1, emulator=EmulatorPolicy.SHARE))
    assert refused.refusals[0].sentence() == "c07: overhead pool has 100 of 300 millicpu free"
    create(database, fleet, pinned(1))
    at_rest(database, placement)


def test_a_host_that_is_down_or_disabled_is_no_candidate(database: Database, fleet: Fleet) -> None:
    down, disabled, up = synced_hosts(database, fleet, "down", "disabled", "up")
    with database.write() as connection:
        hosts.expire(connection, down)
        hosts.disable(connection, disabled, "broken fan")
    for _ in range(2):
        assert create(database, fleet, pinned(6)).host == up
    refused = refuse(database, fleet, pinned(6))
    codes = {one.name: {reason.code for reason in one.no_fit.reasons} for one in refused.refusals}
    assert codes["down"] == {ReasonCode.HOST_DOWN}
    assert codes["disabled"] == {ReasonCode.HOST_DISABLED}
    assert ReasonCode.DEDICATED_PCPUS in codes["up"]


def test_when_placement_lacks_room_the_next_host_is_taken(database: Database, fleet: Fleet, placement: Placement) -> None:
    full, free = synced_hosts(database, fleet, "full", "free")
    stranger = Placement(placement._http)
    stranger.allocate(str(uuid.uuid4()), ((full, ((PCPU, 13),)),), generation=None)
    for _ in range(2):
        assert create(database, fleet, pinned(6)).host == free
    refused = refuse(database, fleet, pinned(6))
    told = {one.name: one.no_fit.reasons[0] for one in refused.refusals}
    assert told["full"].code is ReasonCode.PLACEMENT
    assert "exceed the capacity" in told["full"].detail
    assert placement.allocation(refused.guest) is None


def test_a_host_that_had_room_only_after_it_was_asked_is_asked_once_more(
    database: Database, fleet: Fleet, placement: Placement, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Placement lacks room on both hosts, and the room of the first one is released while the second is tried."""
    strangers = {host: str(uuid.uuid4()) for host in synced_hosts(database, fleet, "c01", "c02")}
    for host, consumer in strangers.items():
        placement.allocate(consumer, ((host, ((PCPU, 13),)),), generation=None)
    asked: list[str] = []
    allocate = Placement.allocate

    def allocating(self: Placement, consumer: str, shares: Shares, **more: Any) -> None:
        asked.append(shares[0][0])
        if len(asked) == 2:
            found = placement.allocation(strangers[asked[0]])
            assert found is not None
            placement.empty(found)
        allocate(self, consumer, shares, **more)

    monkeypatch.setattr(Placement, "allocate", allocating)
    made = create(database, fleet, pinned(6))
    assert (len(set(asked[:2])), made.host) == (2, asked[0])


def test_a_stale_index_costs_a_second_look_and_nothing_else(database: Database, placement: Placement) -> None:
    behind, ahead = assemble(database, placement, SLOW_EYES), assemble(database, placement, EAGER)
    synced_hosts(database, ahead, "c01")
    behind.healer.start()
    first = create(database, ahead, pinned(3))
    second = create(database, behind, pinned(3))
    assert first.fit.taken.isdisjoint(second.fit.taken)
    assert second.revision == 3
    create(database, ahead, pinned(6))
    refused = refuse(database, behind, pinned(6))
    assert refused.refusals[0].revision == 4
    assert ReasonCode.PLACEMENT not in {reason.code for reason in refused.refusals[0].no_fit.reasons}
    at_rest(database, placement)


def test_after_a_stale_decision_the_host_that_loses_least_now_is_found_again(database: Database, placement: Placement) -> None:
    behind, ahead = assemble(database, placement, SLOW_EYES), assemble(database, placement, EAGER)
    wide = Flavor(vcpus=12, memory_mib=64, name="wide", extra_specs=(("hw:cpu_policy", "dedicated"),))
    with database.write() as connection:
        flavors.create(connection, FlavorRecord(id="wide", flavor=wide))
    tight = add_host(database, "tight", report(cells=1, cores=9))
    roomy = add_host(database, "roomy", report(cells=1, cores=8))
    for host in (tight, roomy):
        ahead.providers.sync(host)
    only = frozenset({tight})
    create(database, ahead, pinned(2, memory_mib=1024), hosts=only)
    behind.healer.start()
    assert behind.scheduler.preview(wanted("g", pinned(2))).candidates[0].host == tight
    create(database, ahead, pinned(2), hosts=only)
    assert create(database, behind, pinned(2)).host == roomy  # twelve pCPUs in a row are left on both
    at_rest(database, placement)


def test_a_stale_index_learns_that_a_host_went_down(database: Database, placement: Placement) -> None:
    behind, ahead = assemble(database, placement, SLOW_EYES), assemble(database, placement, EAGER)
    (host,) = synced_hosts(database, ahead, "c01")
    behind.healer.start()
    with database.write() as connection:
        hosts.report(connection, host, report(shared="0-3"), lease_seconds=3600)
        hosts.disable(connection, host)
    refused = refuse(database, behind, pinned(3))
    assert refused.refusals[0].no_fit.reasons[0].code is ReasonCode.HOST_DISABLED
    assert placement.allocation(refused.guest) is None


def test_a_pool_that_shrank_behind_the_index_is_respected(database: Database, placement: Placement) -> None:
    behind, ahead = assemble(database, placement, SLOW_EYES), assemble(database, placement, EAGER)
    (host,) = synced_hosts(database, ahead, "c01")
    behind.healer.start()
    with database.write() as connection:
        hosts.report(
            connection, host, structs.replace(report(), foreign=(Foreign(name="x", cpus=CpuSet.parse("2-7")),)), lease_seconds=3600
        )
    made = create(database, behind, pinned(6))
    assert made.fit.taken <= CpuSet.parse("8-15")
    at_rest(database, placement)


def test_traits_that_operators_set_are_respected(database: Database, fleet: Fleet, placement: Placement) -> None:
    plain, fast = synced_hosts(database, fleet, "plain", "fast")
    placement.ensure_trait("CUSTOM_FAST")
    generation, having = placement.traits(fast)
    placement.put_traits(fast, generation, having | {"CUSTOM_FAST"})
    assert create(database, fleet, pinned(2, traits=frozenset({"CUSTOM_FAST"}))).host == fast
    assert create(database, fleet, pinned(2, forbidden=frozenset({"CUSTOM_FAST"}))).host == plain
    refused = refuse(database, fleet, pinned(2, traits=frozenset({"CUSTOM_NONE"})))
    assert refused.refusals[0].sentence() == "fast: the host lacks the trait CUSTOM_NONE"
    fleet.providers.sync(fast)
    assert "CUSTOM_FAST" in placement.traits(fast)[1]
    assert "CUSTOM_OVERHEAD_POOL" in placement.traits(fast)[1]


def test_a_trait_that_went_away_a_moment_ago_is_noticed_before_the_claim(database: Database, placement: Placement) -> None:
    fleet = assemble(database, placement, SchedulerSettings(traits_seconds=1e9))
    (host,) = synced_hosts(database, fleet, "c01")
    placement.ensure_trait("CUSTOM_FAST")
    generation, having = placement.traits(host)
    generation = placement.put_traits(host, generation, having | {"CUSTOM_FAST"})
    request = pinned(2, traits=frozenset({"CUSTOM_FAST"}))
    assert fleet.scheduler.preview(wanted("none", request)).candidates
    placement.put_traits(host, placement.traits(host)[0], having)
    refused = refuse(database, fleet, request)
    assert refused.refusals[0].no_fit.reasons[0].code is ReasonCode.MISSING_TRAIT


def test_an_aggregate_that_a_host_left_a_moment_ago_is_noticed_before_the_claim(database: Database, placement: Placement) -> None:
    fleet = assemble(database, placement, SchedulerSettings(traits_seconds=1e9))
    (host,) = synced_hosts(database, fleet, "c01")
    group = frozenset({str(uuid.uuid4())})
    placement.put_aggregates(host, placement.aggregates(host)[0], group)
    assert fleet.scheduler.preview(wanted("none", pinned(2), member_of=group)).candidates
    placement.put_aggregates(host, placement.aggregates(host)[0], frozenset())
    refused = refuse(database, fleet, pinned(2), member_of=group)
    assert refused.refusals[0].sentence() == "c01: the host has left the aggregates that were asked for"


def test_a_host_without_a_provider_is_refused_not_an_error(database: Database, placement: Placement) -> None:
    fleet = assemble(database, placement, EAGER)
    add_host(database, "c01")
    placement.ensure_trait("CUSTOM_NOISY")
    refused = refuse(database, fleet, pinned(2, forbidden=frozenset({"CUSTOM_NOISY"})))
    assert [reason.code for reason in refused.refusals[0].no_fit.reasons] == [ReasonCode.PLACEMENT]


def test_aggregates_and_named_hosts_are_respected(database: Database, fleet: Fleet, placement: Placement) -> None:
    first, second = synced_hosts(database, fleet, "c01", "c02")
    group, own = str(uuid.uuid4()), str(uuid.uuid4())
    with database.write() as connection:
        made = aggregates.create(connection, uuid=group, name="rack")
        aggregates.add_host(connection, made.id, second)
    generation, _ = placement.aggregates(second)
    placement.put_aggregates(second, generation, frozenset({own}))
    fleet.providers.sync(second)
    assert placement.aggregates(second)[1] == {group, own}
    assert create(database, fleet, pinned(2), member_of=frozenset({group})).host == second
    assert create(database, fleet, pinned(2), member_of=frozenset({own})).host == second
    assert create(database, fleet, pinned(2), hosts=frozenset({first})).host == first
    assert create(database, fleet, pinned(2), exclude=frozenset({first})).host == second
    assert refuse(database, fleet, pinned(2), hosts=frozenset()).considered == 0


@pytest.mark.parametrize("shut", ["disabled", "down", "fenced"])
def test_a_host_that_was_shut_a_moment_ago_takes_no_guest(database: Database, placement: Placement, shut: str) -> None:
    behind = assemble(database, placement, SLOW_EYES)
    (host,) = synced_hosts(database, behind, "c01")
    behind.healer.start()
    with database.write() as connection:
        if shut == "disabled":
            hosts.disable(connection, host, "broken fan")
        else:
            hosts.expire(connection, host)
        if shut == "fenced":
            hosts.fence(connection, host)
    refused = refuse(database, behind, pinned(2))
    expected = "c01: the host is disabled: broken fan" if shut == "disabled" else "c01: the host is down"
    assert [one.sentence() for one in refused.refusals] == [expected]
    at_rest(database, placement)


def test_preview_claims_nothing_and_tells_all(database: Database, fleet: Fleet, placement: Placement) -> None:
    synced_hosts(database, fleet, "c01", "c02")
    found = fleet.scheduler.preview(wanted("none", pinned(7)))
    assert [one.name for one in found.candidates] == ["c01", "c02"]
    assert found.refusals == ()
    none = fleet.scheduler.preview(wanted("none", pinned(9)))
    assert [one.name for one in none.refusals] == ["c01", "c02"]
    at_rest(database, placement)


def test_release_gives_everything_back(database: Database, fleet: Fleet, placement: Placement) -> None:
    (host,) = synced_hosts(database, fleet, "c01")
    made = [create(database, fleet, pinned(6)) for _ in range(2)]
    fleet.releaser.release(made[0].guest)
    fleet.releaser.release(made[0].guest)
    at_rest(database, placement)
    with database.write() as connection:
        assert hosts.get(connection, host).revision == 4
        assert tombstones.of_host(connection, host) == ()
        guests.remove(connection, made[0].guest)
    assert create(database, fleet, pinned(6)).fit.taken == made[0].fit.taken


def test_release_after_fencing_leaves_a_tombstone(database: Database, fleet: Fleet, placement: Placement) -> None:
    (host,) = synced_hosts(database, fleet, "c01")
    made = create(database, fleet, pinned(6))
    fleet.releaser.release(made.guest, bury=True)
    with database.read() as connection:
        assert tombstones.of_host(connection, host) == (Tombstone(guest=made.guest, revision=made.revision, claim=made.claim),)
    at_rest(database, placement)


def test_a_guest_that_is_deleted_on_a_fenced_host_goes_when_healed(database: Database, fleet: Fleet, placement: Placement) -> None:
    (host,) = synced_hosts(database, fleet, "c01")
    made = create(database, fleet, pinned(6))
    with database.write() as connection:
        guests.want(connection, made.guest, Desired.ABSENT, task="deleting")
    fleet.healer.heal()
    with database.write() as connection:
        assert guests.get(connection, made.guest).deleted is None
        hosts.expire(connection, host)
        hosts.fence(connection, host)
    fleet.healer.heal()
    with database.read() as connection:
        assert guests.get(connection, made.guest).deleted is not None
        assert [one.guest for one in tombstones.of_host(connection, host)] == [made.guest]
    at_rest(database, placement)


def test_a_provider_follows_its_host(database: Database, fleet: Fleet, placement: Placement) -> None:
    (host,) = synced_hosts(database, fleet, "c01")
    made = create(database, fleet, pinned(2, emulator=EmulatorPolicy.SHARE))
    with database.write() as connection:
        guests.want(connection, made.guest, Desired.STOPPED, task="")
        hosts.report(connection, host, structs.replace(report(shared="", overhead=False), disk_gib=None), lease_seconds=3600)
    assert fleet.healer.heal().synced == 1
    offered = dict(placement.inventories(host)[1])
    assert set(offered) == {PCPU, "MEMORY_MB", "DISK_GB", OVERHEAD}
    assert (offered[PCPU].total, offered[OVERHEAD].total, offered["DISK_GB"].total) == (16, 24, 1)
    assert placement.traits(host)[1] == {"HW_CPU_HYPERTHREADING"}
    assert fleet.healer.heal().synced == 0
    fleet.releaser.release(made.guest)
    assert fleet.healer.heal().synced == 1
    assert set(dict(placement.inventories(host)[1])) == {PCPU, "MEMORY_MB"}


def test_a_provider_offers_no_more_of_what_running_guests_have_left(database: Database, fleet: Fleet, placement: Placement) -> None:
    (host,) = synced_hosts(database, fleet, "c01")
    create(database, fleet, pinned(2, emulator=EmulatorPolicy.SHARE))
    with database.write() as connection:
        hosts.report(connection, host, report(shared="", overhead=False), lease_seconds=3600)
    assert fleet.healer.heal().synced == 1
    assert OVERHEAD not in dict(placement.inventories(host)[1])
    assert fleet.healer.heal().synced == 0


def test_a_host_that_cannot_be_removed_keeps_its_provider_as_it_is(database: Database, fleet: Fleet, placement: Placement) -> None:
    (host,) = synced_hosts(database, fleet, "c01")
    placement.ensure_trait("CUSTOM_FAST")
    generation, having = placement.traits(host)
    placement.put_traits(host, generation, having | {"CUSTOM_FAST"})
    with database.write() as connection:
        group = aggregates.create(connection, uuid=str(uuid.uuid4()), name="rack")
        aggregates.add_host(connection, group.id, host)
    with pytest.raises(Conflict, match="aggregates"):
        fleet.hosts.remove(host)
    assert "CUSTOM_FAST" in placement.traits(host)[1]
    with database.write() as connection:
        aggregates.remove_host(connection, group.id, host)
    somebody = str(uuid.uuid4())
    placement.allocate(somebody, ((host, ((PCPU, 1),)),), generation=None)
    with pytest.raises(Conflict):
        fleet.hosts.remove(host)
    with database.read() as connection:
        assert hosts.get(connection, host).name == "c01"


def test_a_host_without_claims_is_removed_with_its_provider(database: Database, fleet: Fleet, placement: Placement) -> None:
    (host,) = synced_hosts(database, fleet, "c01")
    made = create(database, fleet, pinned(2))
    with pytest.raises(Conflict):
        fleet.hosts.remove(host)
    fleet.releaser.release(made.guest)
    with database.write() as connection:
        guests.remove(connection, made.guest)
    fleet.hosts.remove(host)
    assert placement.provider(host) is None
    assert refuse(database, fleet, pinned(1)).considered == 0


def test_floating_guests_are_claimed_without_pcpus_of_their_own(database: Database, fleet: Fleet, placement: Placement) -> None:
    (host,) = synced_hosts(database, fleet, "c01")
    for _ in range(4):
        create(database, fleet, floating(1))
    refused = refuse(database, fleet, floating(1))
    assert refused.refusals[0].sentence() == "c01: the host has room for 0 floating vCPUs, 1 needed"
    assert dict(placement.usages(host))["VCPU"] == 4
    at_rest(database, placement)

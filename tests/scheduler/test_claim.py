"""The claim protocol, release and healing, on real databases and a real Placement."""

from __future__ import annotations

import dataclasses
import uuid

import httpx
import pytest
import sqlalchemy as sa
from tests.fleet import add_guest, add_host, at_rest, floating, pinned, report, wanted

from pinfold.accounting.client import Placement
from pinfold.accounting.embedded import Embedded
from pinfold.accounting.resources import OVERHEAD, PCPU
from pinfold.core.cpuset import CpuSet
from pinfold.core.errors import Conflict, InvalidRequest, Unavailable
from pinfold.core.ledger import Foreign, Limits, OverheadRates
from pinfold.core.reasons import ReasonCode
from pinfold.core.request.model import EmulatorPolicy, GuestRequest
from pinfold.scheduler.model import Claimed, Refused, SchedulerSettings
from pinfold.scheduler.schedule import Scheduler
from pinfold.store import aggregates, claims, guests, hosts
from pinfold.store.database import Database
from pinfold.store.model import ClaimState, Desired, Tombstone
from pinfold.store.schema import claim as claim_table

pytestmark = pytest.mark.real_placement

SLOW_EYES = SchedulerSettings(refresh_seconds=1e9, claim_seconds=60)
EAGER = SchedulerSettings(refresh_seconds=0, traits_seconds=0, claim_seconds=60, late_seconds=-1)


@pytest.fixture
def placement(embedded: Embedded) -> Placement:
    return embedded.client


@pytest.fixture
def scheduler(database: Database, placement: Placement) -> Scheduler:
    made = Scheduler(database, placement, EAGER)
    made.start()
    return made


def _hosts(database: Database, scheduler: Scheduler, *names: str) -> list[str]:
    made = [add_host(database, name) for name in names]
    for host in made:
        scheduler.sync_host(host)
    return made


def _create(database: Database, scheduler: Scheduler, request: GuestRequest, **more: object) -> Claimed:
    outcome = scheduler.create(wanted(add_guest(database, request), request, **more))
    assert isinstance(outcome, Claimed), outcome
    return outcome


def _refuse(database: Database, scheduler: Scheduler, request: GuestRequest, **more: object) -> Refused:
    outcome = scheduler.create(wanted(add_guest(database, request), request, **more))
    assert isinstance(outcome, Refused), outcome
    return outcome


def test_a_claim_stands_in_the_ledger_and_in_placement(database: Database, scheduler: Scheduler, placement: Placement) -> None:
    (host,) = _hosts(database, scheduler, "c01")
    made = _create(database, scheduler, pinned(4, emulator=EmulatorPolicy.SHARE))
    assert (made.host, made.name, made.revision) == (host, "c01", 2)
    assert dict(placement.usages(host)) == {PCPU: 4, "VCPU": 0, "MEMORY_MB": 64, "DISK_GB": 1, OVERHEAD: 28}
    with database.read() as connection:
        placed = guests.get(connection, made.guest)
        (order,) = guests.orders(connection, host)
        assert hosts.orders(connection, host) == 2
    assert (placed.host, placed.task) == (host, "spawning")
    assert (order.claim.fit, order.claim.revision, order.claim.state) == (made.fit, 2, ClaimState.HELD)
    at_rest(database, placement)


def test_a_second_claim_of_the_same_guest_is_a_conflict(database: Database, scheduler: Scheduler, placement: Placement) -> None:
    _hosts(database, scheduler, "c01")
    made = _create(database, scheduler, pinned(2))
    with pytest.raises(Conflict):
        scheduler.create(wanted(made.guest, pinned(2)))
    at_rest(database, placement)


def test_a_guest_that_is_not_stored_is_a_conflict(database: Database, scheduler: Scheduler, placement: Placement) -> None:
    (host,) = _hosts(database, scheduler, "c01")
    with pytest.raises(Conflict):
        scheduler.create(wanted(str(uuid.uuid4()), pinned(2)))
    assert placement.provider_allocations(host) == ()


def test_a_guest_that_is_unwanted_by_now_leaves_nothing(database: Database, scheduler: Scheduler, placement: Placement) -> None:
    (host,) = _hosts(database, scheduler, "c01")
    guest = add_guest(database, pinned(2))
    with database.write() as connection:
        guests.want(connection, guest, Desired.ABSENT, task="deleting")
    with pytest.raises(Conflict):
        scheduler.create(wanted(guest, pinned(2)))
    assert placement.provider_allocations(host) == ()
    scheduler.heal()
    with database.read() as connection:
        assert guests.get(connection, guest).deleted is not None
    at_rest(database, placement)


def test_hosts_fill_until_all_refuse_and_each_says_why(database: Database, scheduler: Scheduler, placement: Placement) -> None:
    _hosts(database, scheduler, "c01", "c02")
    for _ in range(4):
        _create(database, scheduler, pinned(6))
    refused = _refuse(database, scheduler, pinned(6))
    assert [one.name for one in refused.refusals] == ["c01", "c02"]
    assert refused.sentence().startswith("No host takes the guest: c01: ")
    assert "cell 0 has 0 free dedicated pCPUs, 6 needed" in refused.sentence()
    with database.read() as connection:
        assert claims.live(connection, refused.guest) is None
        assert guests.get(connection, refused.guest).host is None
    assert placement.allocation(refused.guest) is None
    at_rest(database, placement)


def test_no_host_at_all_is_said_so(database: Database, scheduler: Scheduler) -> None:
    assert _refuse(database, scheduler, pinned(1)).sentence() == "No host is registered"


def test_overhead_is_booked_until_the_pool_is_full(database: Database, scheduler: Scheduler, placement: Placement) -> None:
    limits = Limits(reserved_memory_mib=0, rates=OverheadRates(guest=300, vcpu=0))
    host = add_host(database, "c07", report(limits=limits))
    scheduler.sync_host(host)
    for _ in range(3):
        _create(database, scheduler, pinned(1, emulator=EmulatorPolicy.SHARE))
    assert dict(placement.usages(host))[OVERHEAD] == 900
    refused = _refuse(database, scheduler, pinned(1, emulator=EmulatorPolicy.SHARE))
    assert refused.refusals[0].sentence() == "c07: overhead pool has 100 of 300 millicpu free"
    _create(database, scheduler, pinned(1))
    at_rest(database, placement)


def test_a_host_that_is_down_or_disabled_is_no_candidate(database: Database, scheduler: Scheduler) -> None:
    down, disabled, up = _hosts(database, scheduler, "down", "disabled", "up")
    with database.write() as connection:
        hosts.expire(connection, down)
        hosts.disable(connection, disabled, "broken fan")
    for _ in range(2):
        assert _create(database, scheduler, pinned(6)).host == up
    refused = _refuse(database, scheduler, pinned(6))
    codes = {one.name: {reason.code for reason in one.no_fit.reasons} for one in refused.refusals}
    assert codes["down"] == {ReasonCode.HOST_DOWN}
    assert codes["disabled"] == {ReasonCode.HOST_DISABLED}
    assert ReasonCode.DEDICATED_PCPUS in codes["up"]


def test_when_placement_lacks_room_the_next_host_is_taken(database: Database, scheduler: Scheduler, placement: Placement) -> None:
    full, free = _hosts(database, scheduler, "full", "free")
    stranger = Placement(placement._http)
    stranger.allocate(str(uuid.uuid4()), full, ((PCPU, 13),), generation=None)
    for _ in range(2):
        assert _create(database, scheduler, pinned(6)).host == free
    refused = _refuse(database, scheduler, pinned(6))
    told = {one.name: one.no_fit.reasons[0] for one in refused.refusals}
    assert told["full"].code is ReasonCode.PLACEMENT
    assert "exceed the capacity" in told["full"].detail
    assert placement.allocation(refused.guest) is None


def test_a_stale_index_costs_a_second_look_and_nothing_else(database: Database, placement: Placement) -> None:
    behind, ahead = Scheduler(database, placement, SLOW_EYES), Scheduler(database, placement, EAGER)
    _hosts(database, ahead, "c01")
    behind.start()
    first = _create(database, ahead, pinned(3))
    second = _create(database, behind, pinned(3))
    assert first.fit.taken.isdisjoint(second.fit.taken)
    assert second.revision == 3
    _create(database, ahead, pinned(6))
    refused = _refuse(database, behind, pinned(6))
    assert refused.refusals[0].revision == 4
    assert ReasonCode.PLACEMENT not in {reason.code for reason in refused.refusals[0].no_fit.reasons}
    at_rest(database, placement)


def test_a_stale_index_learns_that_a_host_went_down(database: Database, placement: Placement) -> None:
    behind, ahead = Scheduler(database, placement, SLOW_EYES), Scheduler(database, placement, EAGER)
    (host,) = _hosts(database, ahead, "c01")
    behind.start()
    with database.write() as connection:
        hosts.report(connection, host, report(shared="0-3"))
        hosts.disable(connection, host)
    refused = _refuse(database, behind, pinned(3))
    assert refused.refusals[0].no_fit.reasons[0].code is ReasonCode.HOST_DISABLED
    assert placement.allocation(refused.guest) is None


def test_a_pool_that_shrank_behind_the_index_is_respected(database: Database, placement: Placement) -> None:
    behind, ahead = Scheduler(database, placement, SLOW_EYES), Scheduler(database, placement, EAGER)
    (host,) = _hosts(database, ahead, "c01")
    behind.start()
    with database.write() as connection:
        hosts.report(connection, host, dataclasses.replace(report(), foreign=(Foreign(name="x", cpus=CpuSet.parse("2-7")),)))
    made = _create(database, behind, pinned(6))
    assert made.fit.taken <= CpuSet.parse("8-15")
    at_rest(database, placement)


def test_traits_that_operators_set_are_respected(database: Database, scheduler: Scheduler, placement: Placement) -> None:
    plain, fast = _hosts(database, scheduler, "plain", "fast")
    placement.ensure_trait("CUSTOM_FAST")
    generation, having = placement.traits(fast)
    placement.put_traits(fast, generation, having | {"CUSTOM_FAST"})
    assert _create(database, scheduler, pinned(2, traits=frozenset({"CUSTOM_FAST"}))).host == fast
    assert _create(database, scheduler, pinned(2, forbidden=frozenset({"CUSTOM_FAST"}))).host == plain
    refused = _refuse(database, scheduler, pinned(2, traits=frozenset({"CUSTOM_NONE"})))
    assert refused.refusals[0].sentence() == "fast: the host lacks the trait CUSTOM_NONE"
    scheduler.sync_host(fast)
    assert "CUSTOM_FAST" in placement.traits(fast)[1]
    assert "CUSTOM_OVERHEAD_POOL" in placement.traits(fast)[1]


def test_a_trait_that_went_away_a_moment_ago_is_noticed_before_the_claim(database: Database, placement: Placement) -> None:
    scheduler = Scheduler(database, placement, SchedulerSettings(traits_seconds=1e9))
    (host,) = _hosts(database, scheduler, "c01")
    placement.ensure_trait("CUSTOM_FAST")
    generation, having = placement.traits(host)
    generation = placement.put_traits(host, generation, having | {"CUSTOM_FAST"})
    request = pinned(2, traits=frozenset({"CUSTOM_FAST"}))
    assert scheduler.preview(wanted("none", request)).candidates
    placement.put_traits(host, placement.traits(host)[0], having)
    refused = _refuse(database, scheduler, request)
    assert refused.refusals[0].no_fit.reasons[0].code is ReasonCode.MISSING_TRAIT


def test_aggregates_and_named_hosts_are_respected(database: Database, scheduler: Scheduler, placement: Placement) -> None:
    first, second = _hosts(database, scheduler, "c01", "c02")
    group, own = str(uuid.uuid4()), str(uuid.uuid4())
    with database.write() as connection:
        made = aggregates.create(connection, uuid=group, name="rack")
        aggregates.add_host(connection, made.id, second)
    generation, _ = placement.aggregates(second)
    placement.put_aggregates(second, generation, frozenset({own}))
    scheduler.sync_host(second)
    assert placement.aggregates(second)[1] == {group, own}
    assert _create(database, scheduler, pinned(2), member_of=frozenset({group})).host == second
    assert _create(database, scheduler, pinned(2), member_of=frozenset({own})).host == second
    assert _create(database, scheduler, pinned(2), hosts=frozenset({first})).host == first
    assert _create(database, scheduler, pinned(2), exclude=frozenset({first})).host == second
    assert _refuse(database, scheduler, pinned(2), hosts=frozenset()).considered == 0


def test_preview_claims_nothing_and_tells_all(database: Database, scheduler: Scheduler, placement: Placement) -> None:
    _hosts(database, scheduler, "c01", "c02")
    found = scheduler.preview(wanted("none", pinned(7)))
    assert [one.name for one in found.candidates] == ["c01", "c02"]
    assert found.refusals == ()
    none = scheduler.preview(wanted("none", pinned(9)))
    assert [one.name for one in none.refusals] == ["c01", "c02"]
    at_rest(database, placement)


def test_release_gives_everything_back(database: Database, scheduler: Scheduler, placement: Placement) -> None:
    (host,) = _hosts(database, scheduler, "c01")
    made = [_create(database, scheduler, pinned(6)) for _ in range(2)]
    scheduler.release(made[0].guest)
    scheduler.release(made[0].guest)
    at_rest(database, placement)
    with database.write() as connection:
        assert hosts.get(connection, host).revision == 4
        assert hosts.tombstones(connection, host) == ()
        guests.remove(connection, made[0].guest)
    assert _create(database, scheduler, pinned(6)).fit.taken == made[0].fit.taken


def test_release_after_fencing_leaves_a_tombstone(database: Database, scheduler: Scheduler, placement: Placement) -> None:
    (host,) = _hosts(database, scheduler, "c01")
    made = _create(database, scheduler, pinned(6))
    scheduler.release(made.guest, bury=True)
    with database.read() as connection:
        assert hosts.tombstones(connection, host) == (Tombstone(guest=made.guest, revision=made.revision),)
    at_rest(database, placement)


def test_a_guest_that_is_deleted_on_a_fenced_host_goes_when_healed(database: Database, scheduler: Scheduler, placement: Placement) -> None:
    (host,) = _hosts(database, scheduler, "c01")
    made = _create(database, scheduler, pinned(6))
    with database.write() as connection:
        guests.want(connection, made.guest, Desired.ABSENT, task="deleting")
    scheduler.heal()
    with database.write() as connection:
        assert guests.get(connection, made.guest).deleted is None
        hosts.expire(connection, host)
        hosts.fence(connection, host)
    scheduler.heal()
    with database.read() as connection:
        assert guests.get(connection, made.guest).deleted is not None
        assert [one.guest for one in hosts.tombstones(connection, host)] == [made.guest]
    at_rest(database, placement)


def test_rebook_follows_todays_options(database: Database, scheduler: Scheduler, placement: Placement) -> None:
    (host,) = _hosts(database, scheduler, "c01")
    made = _create(database, scheduler, pinned(4, emulator=EmulatorPolicy.SHARE))
    for guest_rate, expected in ((200, 208), (5, 13), (5, 13)):
        with database.write() as connection:
            limits = Limits(reserved_memory_mib=0, rates=OverheadRates(guest=guest_rate))
            hosts.report(connection, host, report(limits=limits))
        scheduler.rebook(made.guest)
        assert dict(placement.usages(host))[OVERHEAD] == expected
        at_rest(database, placement)
    with pytest.raises(InvalidRequest):
        scheduler.rebook(add_guest(database, pinned(1)))


def test_a_provider_follows_its_host(database: Database, scheduler: Scheduler, placement: Placement) -> None:
    (host,) = _hosts(database, scheduler, "c01")
    made = _create(database, scheduler, pinned(2, emulator=EmulatorPolicy.SHARE))
    with database.write() as connection:
        hosts.report(connection, host, dataclasses.replace(report(shared="", overhead=False), disk_gib=None))
    assert scheduler.heal().synced == 1
    offered = dict(placement.inventories(host)[1])
    assert set(offered) == {PCPU, "MEMORY_MB", "DISK_GB", OVERHEAD}
    assert (offered[PCPU].total, offered[OVERHEAD].total, offered["DISK_GB"].total) == (16, 24, 1)
    assert placement.traits(host)[1] == {"HW_CPU_HYPERTHREADING"}
    assert scheduler.heal().synced == 0
    scheduler.release(made.guest)
    assert scheduler.heal().synced == 1
    assert set(dict(placement.inventories(host)[1])) == {PCPU, "MEMORY_MB"}


def test_a_host_without_claims_is_removed_with_its_provider(database: Database, scheduler: Scheduler, placement: Placement) -> None:
    (host,) = _hosts(database, scheduler, "c01")
    made = _create(database, scheduler, pinned(2))
    with pytest.raises(Conflict):
        scheduler.remove_host(host)
    scheduler.release(made.guest)
    with database.write() as connection:
        guests.remove(connection, made.guest)
    scheduler.remove_host(host)
    assert placement.provider(host) is None
    assert _refuse(database, scheduler, pinned(1)).considered == 0


# -- healing --------------------------------------------------------------------------------------------------------------------------


def _intend(database: Database, host: str, request: GuestRequest, *, seconds: float) -> tuple[str, str]:
    """A claimer's step 0, by hand: guest and claim."""
    guest, claim = add_guest(database, request), str(uuid.uuid4())
    with database.read() as connection:
        (found,) = hosts.ledgers(connection, (host,))
    from pinfold.core.fit import fit
    from pinfold.core.fit.model import Fit

    answer = fit(request, found.state)
    assert isinstance(answer, Fit)
    with database.write() as connection:
        claims.intend(connection, claim_id=claim, guest=guest, host=host, amounts=((PCPU, 2),), fit=answer, seconds=seconds)
    return guest, claim


def test_an_expired_claim_is_abandoned_and_emptied(database: Database, scheduler: Scheduler, placement: Placement) -> None:
    (host,) = _hosts(database, scheduler, "c01")
    guest, claim = _intend(database, host, pinned(2), seconds=-1)
    placement.allocate(guest, host, ((PCPU, 2),), generation=None)
    healed = scheduler.heal()
    assert (healed.abandoned, healed.emptied) == (1, 1)
    at_rest(database, placement)
    with database.read() as connection:
        assert claims.get(connection, claim) is None


def test_a_claim_within_its_deadline_is_left_alone(database: Database, scheduler: Scheduler, placement: Placement) -> None:
    (host,) = _hosts(database, scheduler, "c01")
    guest, claim = _intend(database, host, pinned(2), seconds=60)
    placement.allocate(guest, host, ((PCPU, 2),), generation=None)
    healed = scheduler.heal()
    assert (healed.abandoned, healed.emptied) == (0, 0)
    assert placement.allocation(guest) is not None
    with database.read() as connection:
        found = claims.get(connection, claim)
    assert found is not None
    assert found.state is ClaimState.INTENDED


def test_a_late_put_of_an_abandoned_claim_is_emptied(database: Database, placement: Placement) -> None:
    patient = Scheduler(database, placement, dataclasses.replace(EAGER, late_seconds=3600))
    (host,) = _hosts(database, patient, "c01")
    guest, claim = _intend(database, host, pinned(2), seconds=-1)
    assert patient.heal().abandoned == 1
    placement.allocate(guest, host, ((PCPU, 2),), generation=None)
    assert patient.heal().emptied == 1
    with database.write() as connection:
        assert claims.get(connection, claim) is not None
        claims.forget(connection, claim)
    placement.allocate(guest, host, ((PCPU, 2),), generation=None)
    assert patient.heal().emptied == 1
    at_rest(database, placement)


def test_a_late_put_never_harms_the_guests_next_claim(database: Database, scheduler: Scheduler, placement: Placement) -> None:
    (host,) = _hosts(database, scheduler, "c01")
    guest, _ = _intend(database, host, pinned(2), seconds=-1)
    scheduler.heal()
    placement.allocate(guest, host, ((PCPU, 2),), generation=None)
    made = scheduler.create(wanted(guest, pinned(3)))
    assert isinstance(made, Claimed)
    with pytest.raises(Conflict):
        placement.allocate(guest, host, ((PCPU, 2),), generation=None)
    scheduler.heal()
    at_rest(database, placement)


def test_a_claimer_whose_claim_was_abandoned_gets_nothing(database: Database, scheduler: Scheduler, placement: Placement) -> None:
    """The healer comes between the claimer's PUT and its transaction: Placement answers, and at that moment the deadline is over."""
    (host,) = _hosts(database, scheduler, "c01")
    guest = add_guest(database, pinned(2))
    healer = Scheduler(database, placement, dataclasses.replace(EAGER, late_seconds=3600))

    class Slow(Placement):
        def allocate(self, *arguments: object, **named: object) -> None:
            super().allocate(*arguments, **named)  # type: ignore[arg-type]
            with database.write() as connection:
                connection.execute(sa.update(claim_table).values(deadline=0.0))
            healer.heal()

    slow = Scheduler(database, Slow(placement._http), EAGER)
    with pytest.raises(Conflict):
        slow.create(wanted(guest, pinned(2)))
    with database.read() as connection:
        assert claims.live(connection, guest) is None
        assert claims.owners(connection, host) == {}
    at_rest(database, placement)
    outcome = slow.preview(wanted(guest, pinned(2)))
    assert outcome.candidates


def test_a_release_that_stopped_half_way_is_finished(database: Database, scheduler: Scheduler, placement: Placement) -> None:
    (host,) = _hosts(database, scheduler, "c01")
    made = _create(database, scheduler, pinned(2))
    with database.write() as connection:
        hosts.bump(connection, host, ledger=True)
        claims.unpin(connection, made.claim)
    assert placement.allocation(made.guest) is not None
    assert scheduler.heal().released == 1
    at_rest(database, placement)


def test_an_allocation_that_was_lost_or_changed_is_restored(database: Database, scheduler: Scheduler, placement: Placement) -> None:
    first, second = _hosts(database, scheduler, "c01", "c02")
    made = _create(database, scheduler, pinned(2), hosts=frozenset({first}))
    found = placement.allocation(made.guest)
    assert found is not None
    placement.empty(found)
    assert scheduler.heal().restored == 1
    at_rest(database, placement)
    found = placement.allocation(made.guest)
    assert found is not None
    placement.allocate(made.guest, second, ((PCPU, 1),), generation=found.generation)
    assert scheduler.heal().restored == 1
    at_rest(database, placement)


def test_what_cannot_be_restored_is_told(database: Database, scheduler: Scheduler, placement: Placement) -> None:
    (host,) = _hosts(database, scheduler, "c01")
    made = _create(database, scheduler, pinned(2))
    found = placement.allocation(made.guest)
    assert found is not None
    placement.empty(found)
    _foreign_allocation(placement, host, 14)
    (problem,) = scheduler.heal().problems
    assert "runs without its allocation" in problem


def _foreign_allocation(placement: Placement, host: str, count: int) -> str:
    consumer = str(uuid.uuid4())
    body = {
        "allocations": {host: {"resources": {PCPU: count}}},
        "project_id": "nova",
        "user_id": "nova",
        "consumer_generation": None,
        "consumer_type": "INSTANCE",
    }
    answer = placement._http.put(f"/allocations/{consumer}", json=body, headers={"OpenStack-API-Version": "placement 1.39"})
    assert answer.status_code == 204
    return consumer


def test_consumers_of_others_are_never_touched(database: Database, scheduler: Scheduler, placement: Placement) -> None:
    (host,) = _hosts(database, scheduler, "c01")
    consumer = _foreign_allocation(placement, host, 3)
    scheduler.heal()
    assert placement.allocation(consumer) is not None
    assert dict(placement.usages(host))[PCPU] == 3


def test_inventory_that_was_changed_by_hand_is_put_right(database: Database, scheduler: Scheduler, placement: Placement) -> None:
    (host,) = _hosts(database, scheduler, "c01")
    generation, offered = placement.inventories(host)
    placement.put_inventories(host, generation, offered[:1])
    assert scheduler.heal().synced == 1
    assert placement.inventories(host)[1] == offered


def test_a_host_without_its_provider_is_refused_until_it_is_healed(database: Database, scheduler: Scheduler) -> None:
    add_host(database, "c01")
    refused = _refuse(database, scheduler, pinned(2))
    assert refused.refusals[0].no_fit.reasons[0].code is ReasonCode.PLACEMENT
    assert scheduler.heal().synced == 1
    _create(database, scheduler, pinned(2))


def test_a_provider_of_the_hosts_name_with_another_id_is_told(database: Database, scheduler: Scheduler, placement: Placement) -> None:
    placement.create_provider(str(uuid.uuid4()), "c01")
    add_host(database, "c01")
    (problem,) = scheduler.heal().problems
    assert problem == "host c01: Placement has a resource provider named c01 with another id"


def test_scheduling_that_stopped_half_way_is_told(database: Database, placement: Placement) -> None:
    scheduler = Scheduler(database, placement, dataclasses.replace(EAGER, claim_seconds=0))
    guest = add_guest(database, pinned(2))
    assert scheduler.heal().interrupted == (guest,)


def test_a_guest_whose_claim_is_only_intended_can_be_released(database: Database, scheduler: Scheduler, placement: Placement) -> None:
    (host,) = _hosts(database, scheduler, "c01")
    guest, _ = _intend(database, host, pinned(2), seconds=60)
    placement.allocate(guest, host, ((PCPU, 2),), generation=None)
    scheduler.release(guest)
    at_rest(database, placement)


# -- Placement away, slow or broken -----------------------------------------------------------------------------------------------------


class _Faulty(httpx.BaseTransport):
    """Stands before the real Placement, and fails the next mutating calls: before they reach it, or after."""

    def __init__(self, real: httpx.BaseTransport) -> None:
        self.real = real
        self.before: list[httpx.Response | Exception] = []
        self.after: list[httpx.Response | Exception] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return self.real.handle_request(request)
        if self.before:
            return self._fail(self.before.pop(0))
        answer = self.real.handle_request(request)
        return self._fail(self.after.pop(0)) if self.after else answer

    def _fail(self, failure: httpx.Response | Exception) -> httpx.Response:
        if isinstance(failure, Exception):
            raise failure
        return failure


@pytest.fixture
def faulty(embedded: Embedded) -> _Faulty:
    return _Faulty(httpx.WSGITransport(app=embedded.app))


def _behind(faulty: _Faulty) -> Placement:
    return Placement(httpx.Client(transport=faulty, base_url="http://placement", headers={"X-Auth-Token": "admin"}))


@pytest.mark.parametrize(
    "failure",
    [httpx.ConnectError("away"), httpx.ReadTimeout("slow"), httpx.Response(500, text="oops"), httpx.Response(503, text="busy")],
    ids=["away", "slow", "500", "503"],
)
@pytest.mark.parametrize("landed", [False, True], ids=["before it landed", "after it landed"])
def test_a_placement_that_fails_during_the_claim_leaves_nothing(
    database: Database, placement: Placement, faulty: _Faulty, failure: httpx.Response | Exception, landed: bool
) -> None:
    scheduler = Scheduler(database, _behind(faulty), EAGER)
    _hosts(database, scheduler, "c01")
    guest = add_guest(database, pinned(2))
    (faulty.after if landed else faulty.before).append(failure)
    with pytest.raises(Unavailable):
        scheduler.create(wanted(guest, pinned(2)))
    scheduler.heal()
    at_rest(database, placement)
    assert isinstance(scheduler.create(wanted(guest, pinned(2))), Claimed)
    at_rest(database, placement)


def test_a_conflict_in_placement_is_tried_again(database: Database, placement: Placement, faulty: _Faulty) -> None:
    scheduler = Scheduler(database, _behind(faulty), EAGER)
    _hosts(database, scheduler, "c01")
    body = {"errors": [{"code": "placement.concurrent_update", "detail": "again"}]}
    faulty.before += [httpx.Response(409, json=body), httpx.Response(409, json=body)]
    _create(database, scheduler, pinned(2))
    at_rest(database, placement)


def test_a_placement_that_fails_during_the_release_is_made_up_for(database: Database, placement: Placement, faulty: _Faulty) -> None:
    scheduler = Scheduler(database, _behind(faulty), EAGER)
    (host,) = _hosts(database, scheduler, "c01")
    made = _create(database, scheduler, pinned(2))
    faulty.before.append(httpx.ConnectError("away"))
    with pytest.raises(Unavailable):
        scheduler.release(made.guest)
    with database.write() as connection:
        assert claims.owners(connection, host) == {}
        guests.remove(connection, made.guest)
    scheduler.heal()
    at_rest(database, placement)


def test_floating_guests_are_claimed_without_pcpus_of_their_own(database: Database, scheduler: Scheduler, placement: Placement) -> None:
    (host,) = _hosts(database, scheduler, "c01")
    for _ in range(4):
        _create(database, scheduler, floating(1))
    refused = _refuse(database, scheduler, floating(1))
    assert refused.refusals[0].sentence() == "c01: the host has room for 0 floating vCPUs, 1 needed"
    assert dict(placement.usages(host))["VCPU"] == 4
    at_rest(database, placement)

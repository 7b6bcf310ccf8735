"""The guests of a host are re-pinned through the service: claims, owners of pCPUs and Placement. Real databases, a real Placement."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from msgspec import structs
from tests.build.hosts import cpus, report
from tests.build.requests import pinned
from tests.rig.promises import at_rest
from tests.service.claiming import claim_of, create, refuse, synced_hosts
from tests.service.test_crash import killed_at

from pinfold.accounting.client import Placement
from pinfold.accounting.resources import PCPU
from pinfold.core.cpuset import CpuSet
from pinfold.core.errors import Conflict
from pinfold.core.fit.answer import Fit
from pinfold.core.host import HostState
from pinfold.core.identity import GuestId, HostId
from pinfold.core.pools import Pools
from pinfold.core.repin.progress import Phase, Progress
from pinfold.core.request.model import EmulatorPolicy, Flavor, GuestRequest
from pinfold.faultpoints import POINTS
from pinfold.service.claims.amend import TRIES, Amender
from pinfold.service.claims.repin import Repinner
from pinfold.service.fleet import Fleet
from pinfold.service.guests.reports import ClaimName
from pinfold.store import guests, host_orders, hosts
from pinfold.store.database import Database
from pinfold.store.records import ClaimRecord, Desired, Observed

pytestmark = pytest.mark.real_placement

SHARE = pinned(1, emulator=EmulatorPolicy.SHARE)
PAIR = Flavor(name="pair", vcpus=2, memory_mib=64, extra_specs=(("hw:cpu_policy", "dedicated"), ("hw:cpu_thread_policy", "isolate")))


def running(database: Database, fleet: Fleet, host: str, request: GuestRequest) -> str:
    """A guest that its agent has seen running there; its id."""
    made = create(database, fleet, request)
    assert made.host == host
    sees(fleet, host, made.guest, made.revision, claim_of(database, made.guest))
    return made.guest


def sees(fleet: Fleet, host: str, guest: str, revision: int, claim: ClaimRecord, unmoved: str = "") -> None:
    """The agent reports the guest running, with a record of that claim and revision."""
    named = ClaimName(claim=claim.id, revision=revision)
    fleet.reports.seen(HostId(host), guest, named, Observed.RUNNING, booted=1, report=None, unmoved=unmoved)


def arrives(database: Database, fleet: Fleet, guest: str) -> None:
    claim = claim_of(database, guest)
    sees(fleet, claim.host, guest, claim.revision, claim)


def shrunk(database: Database, fleet: Fleet, host: str, lost: CpuSet) -> None:
    """The agent reports a dedicated pool without these pCPUs, and the host's guests follow."""
    known = report()
    pools = Pools(shared=known.pools.shared, dedicated=known.pools.dedicated - lost, overhead=known.pools.shared)
    with database.write() as connection:
        hosts.report(connection, HostId(host), structs.replace(known, pools=pools), lease_seconds=3600)
    fleet.follower.sync_and_follow_or_later(HostId(host))


def progress(database: Database, host: str) -> Progress | None:
    with database.read() as connection:
        return hosts.get(connection, HostId(host)).repin


def revision(database: Database, host: str) -> int:
    with database.read() as connection:
        return hosts.get(connection, HostId(host)).revision


def foreign(database: Database, host: str) -> CpuSet:
    """What the ledger keeps for guests on their way."""
    with database.read() as connection:
        (found,) = hosts.ledgers(connection, (HostId(host),))
    return CpuSet.union(one.cpus for one in found.state.ledger.foreign)


@pytest.fixture
def two(database: Database, fleet: Fleet) -> tuple[str, str, str, CpuSet]:
    """A host, two guests on it whose pCPUs retire, and these pCPUs."""
    (host,) = synced_hosts(database, fleet, "c01")
    first, second = sorted(running(database, fleet, host, SHARE) for _ in range(2))
    lost = claim_of(database, first).fit.taken | claim_of(database, second).fit.taken
    shrunk(database, fleet, host, lost)
    return host, first, second, lost


Two = tuple[str, str, str, CpuSet]


def test_the_plan_says_what_would_move_and_moves_nothing(database: Database, fleet: Fleet, two: Two) -> None:
    host, first, second, lost = two
    before = revision(database, host)
    plan = fleet.repinner.plan(HostId(host), [PAIR])
    assert [step.guest for step in plan.found.steps] == [first, second] and plan.found.freed == lost
    assert plan.names == {first: "vm", second: "vm"} and plan.host.revision == before
    assert [slot.flavor for slot in plan.found.slots] == ["pair"]
    assert revision(database, host) == before and progress(database, host) is None


def test_the_claims_move_at_once_and_what_they_leave_is_free_when_the_guests_have_arrived(
    database: Database, fleet: Fleet, placement: Placement, two: Two
) -> None:
    host, first, second, lost = two
    before = claim_of(database, first)
    with database.read() as connection:
        orders = host_orders.parts(connection, HostId(host)).count
    plan = fleet.repinner.apply(HostId(host), [])
    after = claim_of(database, first)
    assert (after.id, after.held) == (before.id, before.held) and after.revision > before.revision
    assert [claim_of(database, step.guest).fit for step in plan.found.steps] == [step.after for step in plan.found.steps]
    with database.read() as connection:
        assert host_orders.parts(connection, HostId(host)).count > orders, "the agent is told"
    shrunk(database, fleet, host, CpuSet())
    assert foreign(database, host) == lost and dict(placement.inventories(host)[1])[PCPU].reserved == 2
    kept = [create(database, fleet, SHARE).fit.taken for _ in range(10)]
    assert not any(one & lost for one in kept)
    refuse(database, fleet, SHARE)
    at_rest(database, placement)
    arrives(database, fleet, first)
    assert foreign(database, host) == lost, "there is a way back until all have arrived"
    arrives(database, fleet, second)
    found = progress(database, host)
    assert found is not None and found.phase is Phase.MOVED and foreign(database, host) == CpuSet()
    assert {create(database, fleet, SHARE).fit.taken.first for _ in range(2)} == set(lost)
    at_rest(database, placement)


def test_all_go_back_if_one_cannot_be_moved(database: Database, fleet: Fleet, placement: Placement, two: Two) -> None:
    host, first, second, _ = two
    before = {guest: claim_of(database, guest) for guest in (first, second)}
    fleet.repinner.apply(HostId(host), [])
    there = {guest: claim_of(database, guest).fit.taken for guest in before}
    arrives(database, fleet, first)
    sees(fleet, host, second, before[second].revision, before[second], unmoved="pCPU 2 is not in the guest's cpuset")
    found = progress(database, host)
    assert found is not None and found.phase is Phase.TURNING_BACK
    assert found.failure == "guest vm was not moved: pCPU 2 is not in the guest's cpuset"
    assert {guest: claim_of(database, guest).fit for guest in before} == {guest: claim.fit for guest, claim in before.items()}
    assert foreign(database, host) == CpuSet.union(there.values()), "the first one is still there"
    at_rest(database, placement)
    arrives(database, fleet, second)
    arrives(database, fleet, first)
    found = progress(database, host)
    assert found is not None and found.phase is Phase.UNDONE and foreign(database, host) == CpuSet()
    assert found.failure.startswith("guest vm was not moved")
    at_rest(database, placement)
    assert fleet.repinner.apply(HostId(host), []).found.steps, "and it can be tried again"


def test_a_failure_that_is_told_again_after_all_have_turned_back_changes_nothing(database: Database, fleet: Fleet, two: Two) -> None:
    host, first, second, _ = two
    known = claim_of(database, second)
    fleet.repinner.apply(HostId(host), [])
    arrives(database, fleet, first)
    sees(fleet, host, second, known.revision, known, unmoved="no")
    for guest in (first, second):
        arrives(database, fleet, guest)
    over = progress(database, host)
    sees(fleet, host, second, known.revision, known, unmoved="no")
    assert progress(database, host) == over


def test_the_healer_turns_back_where_a_service_died(
    database: Database, fleet: Fleet, placement: Placement, two: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, first, second, _ = two
    before = {guest: claim_of(database, guest) for guest in (first, second)}
    fleet.repinner.apply(HostId(host), [])
    with monkeypatch.context() as patch:
        patch.setattr(fleet.repinner, "tend", lambda _: None)
        sees(fleet, host, second, before[second].revision, before[second], unmoved="no")
    assert claim_of(database, second).fit != before[second].fit
    fleet.healer.heal()
    assert {guest: claim_of(database, guest).fit for guest in before} == {guest: claim.fit for guest, claim in before.items()}
    at_rest(database, placement)


def test_a_guest_that_is_deleted_on_its_way_holds_nobody_up(database: Database, fleet: Fleet, placement: Placement, two: Two) -> None:
    host, first, second, _ = two
    fleet.repinner.apply(HostId(host), [])
    arrives(database, fleet, first)
    with database.write() as connection:
        guests.want(connection, GuestId(second), Desired.ABSENT, task="deleting")
    claim = claim_of(database, second)
    fleet.reports.absent(HostId(host), second, ClaimName(claim=claim.id, revision=claim.revision))
    fleet.healer.heal()
    found = progress(database, host)
    assert found is not None and found.phase is Phase.MOVED and foreign(database, host) == CpuSet()
    at_rest(database, placement)


def test_a_plan_is_refused_that_is_of_another_revision_or_while_another_is_under_way_or_the_host_is_away(
    database: Database, fleet: Fleet, two: Two
) -> None:
    host = two[0]
    shown = fleet.repinner.plan(HostId(host), []).host.revision
    create(database, fleet, SHARE)
    with pytest.raises(Conflict, match=f"host c01 is at revision {shown + 1} by now, not {shown}; look at the plan anew"):
        fleet.repinner.apply(HostId(host), [], revision=shown)
    with database.write() as connection:
        hosts.expire(connection, HostId(host))
    with pytest.raises(Conflict, match="host c01 is down: nobody could move its guests"):
        fleet.repinner.apply(HostId(host), [])
    with database.write() as connection:
        hosts.heartbeat(connection, HostId(host), 3600)
    fleet.repinner.apply(HostId(host), [], revision=shown + 1)
    with pytest.raises(Conflict, match="guests of host c01 are on their way by an earlier plan"):
        fleet.repinner.apply(HostId(host), [])


def test_guests_that_do_not_run_or_have_a_task_stay_and_the_plan_says_why(database: Database, fleet: Fleet, two: Two) -> None:
    host, first, second, _ = two
    with database.write() as connection:
        guests.want(connection, GuestId(first), Desired.STOPPED, task="powering-off")
    plan = fleet.repinner.plan(HostId(host), [])
    assert [step.guest for step in plan.found.steps] == [second]
    (stay,) = plan.stays
    assert stay.id == first and stay.why == (
        f"its task powering-off is under way; a new place would free them: `pinfold server stop {first} --wait`, "
        f"`pinfold server start {first} --wait`"
    )


class _Crowded(Amender):
    """Somebody else changes the host before each of the first changes."""

    def __init__(self, database: Database, placement: Placement, fleet: Fleet, times: int) -> None:
        super().__init__(database, placement, fleet.scheduler)
        self.left = times

    def amend_all(
        self, host: HostState, changes: list[tuple[ClaimRecord, Fit]], then: Callable[[sa.Connection, int], None], *, moved: bool
    ) -> None:  # type: ignore[override]
        if self.left:
            self.left -= 1
            with self._database.write() as connection:
                hosts.bump(connection, changes[0][0].host, ledger=True)
        super().amend_all(host, changes, then, moved=moved)


def test_a_host_that_others_change_is_planned_anew_and_given_up_in_the_end(
    database: Database, fleet: Fleet, placement: Placement, two: Two
) -> None:
    host, first, _, lost = two
    before = claim_of(database, first)
    hopeless = Repinner(database, fleet.scheduler, _Crowded(database, placement, fleet, TRIES), fleet.providers)
    with pytest.raises(Conflict, match=f"changed {TRIES} times while its guests were to be moved"):
        hopeless.apply(HostId(host), [])
    assert claim_of(database, first) == before and progress(database, host) is None
    Repinner(database, fleet.scheduler, _Crowded(database, placement, fleet, TRIES - 1), fleet.providers).apply(HostId(host), [])
    assert claim_of(database, first).fit.taken.isdisjoint(lost)
    at_rest(database, placement)


def test_where_no_move_helps_nothing_is_written(database: Database, fleet: Fleet, placement: Placement) -> None:
    (host,) = synced_hosts(database, fleet, "c01")
    running(database, fleet, host, SHARE)
    before = revision(database, host)
    assert fleet.repinner.apply(HostId(host), []).found.steps == ()
    assert revision(database, host) == before and progress(database, host) is None
    assert cpus("0-1").isdisjoint(foreign(database, host))


def test_pools_that_change_under_way_are_followed_and_the_way_back_stays_open(
    database: Database, fleet: Fleet, placement: Placement, two: Two
) -> None:
    host, first, second, lost = two
    before = {guest: claim_of(database, guest) for guest in (first, second)}
    fleet.repinner.apply(HostId(host), [])
    known = report()
    pools = Pools(shared=cpus("0"), dedicated=known.pools.dedicated - lost, overhead=cpus("0"))
    with database.write() as connection:
        hosts.report(connection, HostId(host), structs.replace(known, pools=pools), lease_seconds=3600)
    fleet.follower.sync_and_follow_or_later(HostId(host))
    assert claim_of(database, first).fit.emulator == cpus("0") and foreign(database, host) == lost
    sees(fleet, host, second, before[second].revision, before[second], unmoved="no")
    fleet.healer.heal()
    for guest in (first, second):
        after = claim_of(database, guest)
        assert (after.fit.taken, after.fit.emulator) == (before[guest].fit.taken, cpus("0"))
        arrives(database, fleet, guest)
    found = progress(database, host)
    assert found is not None and found.phase is Phase.UNDONE
    at_rest(database, placement)


@pytest.mark.parametrize("point", [point for point in POINTS if point.startswith("replace.")])
def test_a_service_killed_anywhere_moves_all_claims_or_none(
    database: Database, fleet: Fleet, placement: Placement, two: Two, tmp_path: Path, point: str
) -> None:
    host, first, second, lost = two
    before = [claim_of(database, guest) for guest in (first, second)]
    killed_at(point, tmp_path, database, "repin", host)
    fleet.healer.heal()
    at_rest(database, placement)
    after = [claim_of(database, guest) for guest in (first, second)]
    if point != "replace.held":
        assert after == before and progress(database, host) is None
        fleet.repinner.apply(HostId(host), [])
    for guest in (first, second):
        assert claim_of(database, guest).fit.taken.isdisjoint(lost)
        arrives(database, fleet, guest)
    found = progress(database, host)
    assert found is not None and found.phase is Phase.MOVED
    at_rest(database, placement)

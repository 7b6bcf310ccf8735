"""A domain that runs on a host is adopted and released through the service. Real databases, a real Placement."""

from __future__ import annotations

import threading
import uuid
from pathlib import Path

import pytest
import sqlalchemy as sa
from msgspec import structs
from tests.build.fits import fits
from tests.build.hosts import as_state, report
from tests.build.requests import pinned
from tests.build.rows import add_guest
from tests.build.rows import wanted as search
from tests.rig.promises import at_rest, placement_covers_the_ledger
from tests.service.claiming import change, claim_of, create, refuse, synced_hosts
from tests.service.test_crash import killed_at

from pinfold.accounting.client import Placement
from pinfold.accounting.resources import PCPU
from pinfold.core.adoption import Takeover, WantedAdoption
from pinfold.core.cpuset import CpuSet
from pinfold.core.encoding import encode
from pinfold.core.errors import Conflict, PinfoldError
from pinfold.core.host import Foreign
from pinfold.core.identity import GuestId, HostId
from pinfold.core.request.model import EmulatorPolicy
from pinfold.faultpoints import POINTS
from pinfold.service.claims.outcome import Claimed
from pinfold.service.fleet import Fleet
from pinfold.service.guests.reports import ClaimName
from pinfold.store import claims, guests, host_orders, tombstones
from pinfold.store.database import Database
from pinfold.store.records import PROTOCOL_FACT, ClaimRecord, Desired, GuestRecord, HostReport, Observed, Pause, Requester
from pinfold.store.schema import guest as guest_table

pytestmark = pytest.mark.real_placement

BY = Requester(request="req-1", account="alice", project="p")
REQUEST = structs.replace(pinned(1, emulator=EmulatorPolicy.SHARE), disk_gib=0)
PCPU_3, PCPU_4 = CpuSet.of(3), CpuSet.of(4)


def reporting(*strangers: Foreign) -> HostReport:
    return structs.replace(report(), foreign=strangers, facts=((PROTOCOL_FACT, "3"),))


WEB = Foreign(name="web", cpus=PCPU_3)


@pytest.fixture
def host(database: Database, fleet: Fleet) -> HostId:
    """A host on which a stranger's guest `web` has pCPU 3."""
    (made,) = synced_hosts(database, fleet, "c01")
    change(database, fleet, made, reporting(WEB))
    return HostId(made)


def wanted(pcpu: CpuSet = PCPU_3, *, guest: str = "", active: bool = True, paused: bool = False) -> WantedAdoption:
    """The plan for a guest that has that pCPU."""
    known = as_state(report())
    others = Foreign(name="others", cpus=known.pools.dedicated - pcpu)
    place = fits(REQUEST, structs.replace(known, ledger=structs.replace(known.ledger, foreign=(others,))))
    assert place.taken == pcpu
    return WantedAdoption(guest=GuestId(guest or str(uuid.uuid4())), name="web", fit=place, request=REQUEST, active=active, paused=paused)


def record(database: Database, guest: str) -> GuestRecord:
    with database.read() as connection:
        return guests.get(connection, GuestId(guest))


def named(claim: ClaimRecord) -> ClaimName:
    return ClaimName(claim=claim.id, revision=claim.revision)


def taken_over(database: Database, fleet: Fleet, host: HostId, wanted: WantedAdoption) -> None:
    """The agent takes the domain over, and reports it with its record, and the host without a stranger."""
    fleet.reports.seen(host, wanted.guest, named(claim_of(database, wanted.guest)), Observed.RUNNING, booted=1, report=None)
    change(database, fleet, host, reporting())


def test_a_domain_becomes_a_server_whose_agent_is_to_take_it_over(
    database: Database, fleet: Fleet, placement: Placement, host: HostId
) -> None:
    web = wanted()
    with database.read() as connection:
        orders = host_orders.parts(connection, host).count
    fleet.adopter.adopt(host, web, BY)
    claim, guest = claim_of(database, web.guest), record(database, web.guest)
    assert (claim.host, claim.fit) == (host, web.fit)
    assert (guest.name, guest.host, guest.takeover, guest.desired, guest.booted) == ("web", host, Takeover.ADOPT, Desired.RUNNING, 1)
    assert (guest.flavor.name, guest.flavor.vcpus, guest.owner) == ("adopted", 1, "alice")
    with database.read() as connection:
        assert host_orders.parts(connection, host).count > orders, "the agent is told"
        assert set(claims.owners(connection, host)) == {3}
    assert dict(dict(placement.provider_allocations(host))[web.guest])[PCPU] == 1
    taken_over(database, fleet, host, web)
    guest = record(database, web.guest)
    assert (guest.task, guest.observed, guest.takeover) == ("", Observed.RUNNING, Takeover.ADOPTED)
    at_rest(database, placement)


def test_a_full_host_has_room_for_what_it_has_already(database: Database, fleet: Fleet, placement: Placement, host: HostId) -> None:
    while isinstance(fleet.claimer.create(search(add_guest(database, REQUEST), REQUEST)), Claimed):
        pass
    web = wanted()
    fleet.adopter.adopt(host, web, BY)
    assert dict(placement.inventories(host)[1])[PCPU].reserved == 0
    refuse(database, fleet, REQUEST)
    taken_over(database, fleet, host, web)
    at_rest(database, placement)


@pytest.mark.parametrize(
    ("active", "paused", "desired", "pause"),
    [(True, True, Desired.RUNNING, Pause.IN_MEMORY), (False, False, Desired.STOPPED, Pause.NONE)],
    ids=["a paused one stays paused", "a stopped one stays stopped"],
)
def test_the_service_wants_the_state_that_the_domain_has(
    database: Database, fleet: Fleet, host: HostId, active: bool, paused: bool, desired: Desired, pause: Pause
) -> None:
    web = wanted(active=active, paused=paused)
    fleet.adopter.adopt(host, web, BY)
    guest = record(database, web.guest)
    assert (guest.desired, guest.pause, guest.booted) == (desired, pause, guest.boots)


def test_what_breaks_a_rule_is_refused_and_leaves_nothing(database: Database, fleet: Fleet, placement: Placement, host: HostId) -> None:
    change(database, fleet, host, reporting(WEB, Foreign(name="db", cpus=PCPU_4)))
    for one, why in (
        (wanted(PCPU_4), "pCPU"),
        (structs.replace(wanted(), request=pinned(2)), "the fit is not the size of the request"),
    ):
        with pytest.raises(Conflict, match=why):
            fleet.adopter.adopt(host, one, BY)
        with database.read() as connection:
            assert guests.find(connection, one.guest) is None
    at_rest(database, placement)


def test_an_early_agent_and_one_that_is_away_get_no_such_order(database: Database, fleet: Fleet, host: HostId) -> None:
    change(database, fleet, host, structs.replace(reporting(WEB), facts=()))
    with pytest.raises(Conflict, match="of an earlier pinfold, which cannot adopt guests; upgrade it"):
        fleet.adopter.adopt(host, wanted(), BY)
    change(database, fleet, host, reporting(WEB))
    fleet.hosts.end_lease(host)
    with pytest.raises(Conflict, match="host c01 is down"):
        fleet.adopter.adopt(host, wanted(), BY)


def test_of_two_adoptions_at_once_one_wins(database: Database, fleet: Fleet, placement: Placement, host: HostId) -> None:
    web, failures = wanted(), []

    def adopt() -> None:
        try:
            fleet.adopter.adopt(host, web, BY)
        except PinfoldError as error:
            failures.append(error)

    threads = [threading.Thread(target=adopt) for _ in range(2)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(failures) == 1 and isinstance(failures[0], Conflict)
    assert claim_of(database, web.guest).fit == web.fit and record(database, web.guest).host == host
    taken_over(database, fleet, host, web)
    at_rest(database, placement)


def test_a_guest_that_was_created_on_its_pcpu_meanwhile_keeps_it(
    database: Database, fleet: Fleet, placement: Placement, host: HostId, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The agent has not seen yet that somebody has pinned the domain there."""
    change(database, fleet, host, reporting())
    sync, rivals = fleet.providers.sync, []

    def synced(one: HostId) -> bool:
        monkeypatch.setattr(fleet.providers, "sync", sync)
        change(database, fleet, one, reporting(Foreign(name="others", cpus=report().pools.dedicated - PCPU_3)))
        rivals.append(create(database, fleet, REQUEST))
        return sync(one)

    monkeypatch.setattr(fleet.providers, "sync", synced)
    web = wanted()
    with pytest.raises(Conflict):
        fleet.adopter.adopt(host, web, BY)
    assert rivals[0].fit.taken == PCPU_3
    with database.read() as connection:
        assert guests.find(connection, web.guest) is None
    at_rest(database, placement)


def test_a_domain_that_its_agent_could_not_take_over_can_be_adopted_again(
    database: Database, fleet: Fleet, placement: Placement, host: HostId
) -> None:
    web = wanted()
    fleet.adopter.adopt(host, web, BY)
    fleet.reports.absent(host, web.guest, named(claim_of(database, web.guest)), "guest web has ended since the plan was made")
    guest = record(database, web.guest)
    assert guest.host is None and guest.fault is not None and guest.task == ""
    assert guest.fault.message == "The guest was not adopted: guest web has ended since the plan was made"
    with database.read() as connection:
        assert tombstones.of_host(connection, host) == (), "nothing is to be removed"
        assert claims.owners(connection, host) == {}
    assert dict(placement.inventories(host)[1])[PCPU].reserved == 1
    fleet.adopter.adopt(host, web, BY)
    taken_over(database, fleet, host, web)
    at_rest(database, placement)


def test_a_released_domain_is_a_strangers_again(database: Database, fleet: Fleet, placement: Placement, host: HostId) -> None:
    web = wanted()
    fleet.adopter.adopt(host, web, BY)
    with pytest.raises(Conflict, match="while it is in task_state adopting"):
        fleet.guests.release(web.guest)
    taken_over(database, fleet, host, web)
    assert fleet.guests.release(web.guest).takeover is Takeover.RELEASE
    change(database, fleet, host, reporting(WEB))
    assert claim_of(database, web.guest).fit == web.fit, "its agent has yet to confirm that the record is gone"
    fleet.reports.absent(host, web.guest, named(claim_of(database, web.guest)))
    with database.read() as connection:
        assert claims.live(connection, web.guest) is None and tombstones.of_host(connection, host) == ()
    assert record(database, web.guest).deleted is not None
    assert dict(placement.inventories(host)[1])[PCPU].reserved == 1
    at_rest(database, placement)
    fleet.adopter.adopt(host, web, BY)
    assert record(database, web.guest).deleted is None


def test_a_release_is_one_without_its_task_too(database: Database, fleet: Fleet, placement: Placement, host: HostId) -> None:
    """Administrators cleared the task under earlier versions. The domain may end only if its user deletes the server."""
    web = wanted()
    fleet.adopter.adopt(host, web, BY)
    taken_over(database, fleet, host, web)
    fleet.guests.release(web.guest)
    with database.write() as connection:
        connection.execute(sa.update(guest_table).where(guest_table.c.id == web.guest).values(task=""))
    assert record(database, web.guest).takeover is Takeover.RELEASE
    fleet.guests.delete(web.guest)
    assert record(database, web.guest).takeover is Takeover.ADOPTED


def test_no_reset_ends_an_adoption_or_a_release(database: Database, fleet: Fleet, placement: Placement, host: HostId) -> None:
    web = wanted()
    fleet.adopter.adopt(host, web, BY)
    with pytest.raises(Conflict, match="while it is in task_state adopting"):
        fleet.edits.reset(web.guest, error=False)
    fleet.edits.reset(web.guest, error=True)
    taken_over(database, fleet, host, web)
    fleet.edits.reset(web.guest, error=False)
    fleet.guests.release(web.guest)
    fleet.edits.reset(web.guest, error=True)
    with pytest.raises(Conflict, match="while it is in task_state releasing"):
        fleet.edits.reset(web.guest, error=False)
    assert record(database, web.guest).takeover is Takeover.RELEASE
    change(database, fleet, host, reporting(WEB))
    fleet.reports.absent(host, web.guest, named(claim_of(database, web.guest)))
    with database.read() as connection:
        assert tombstones.of_host(connection, host) == ()
    at_rest(database, placement)


def test_a_reset_leaves_the_deletion_of_an_adopted_server_a_deletion(database: Database, fleet: Fleet, host: HostId) -> None:
    web = wanted()
    fleet.adopter.adopt(host, web, BY)
    taken_over(database, fleet, host, web)
    fleet.guests.delete(web.guest)
    fleet.edits.reset(web.guest, error=False)
    assert (record(database, web.guest).task, record(database, web.guest).takeover) == ("deleting", Takeover.ADOPTED)


def test_a_server_that_pinfold_made_is_not_released(database: Database, fleet: Fleet, host: HostId) -> None:
    made = create(database, fleet, REQUEST)
    fleet.reports.seen(host, made.guest, named(claim_of(database, made.guest)), Observed.RUNNING, booted=1, report=None)
    with pytest.raises(Conflict, match="only an adopted guest can be released"):
        fleet.guests.release(made.guest)


def test_a_fenced_host_keeps_its_adopted_guests(database: Database, fleet: Fleet, placement: Placement, host: HostId) -> None:
    """They can run nowhere else, and their agent could not make their domains anew."""
    web = wanted()
    fleet.adopter.adopt(host, web, BY)
    taken_over(database, fleet, host, web)
    fleet.hosts.end_lease(host)
    assert fleet.hosts.fence(host) == ()
    assert claim_of(database, web.guest).fit == web.fit and record(database, web.guest).host == host
    with database.read() as connection:
        assert tombstones.of_host(connection, host) == ()
    at_rest(database, placement)


@pytest.mark.parametrize("point", [point for point in POINTS if point.startswith("claim.")])
def test_a_service_that_is_killed_leaves_a_server_or_an_error_and_never_half_a_claim(
    database: Database, fleet: Fleet, placement: Placement, host: HostId, tmp_path: Path, point: str
) -> None:
    web = wanted()
    killed_at(point, tmp_path, database, "adopt", host, encode(web))
    placement_covers_the_ledger(database, placement)
    with database.write() as connection:
        connection.execute(sa.text("UPDATE claim SET updated = updated - 10000, deadline = deadline - 10000 WHERE state = 'intended'"))
        connection.execute(sa.text("UPDATE guest SET updated = updated - 10000"))
    fleet.healer.heal(all_hosts=True)
    guest = record(database, web.guest)
    if point == "claim.held":
        assert claim_of(database, web.guest).fit == web.fit and guest.takeover is Takeover.ADOPT
        return
    at_rest(database, placement)
    assert guest.fault is not None and guest.host is None
    assert dict(placement.inventories(host)[1])[PCPU].reserved == 1
    fleet.adopter.adopt(host, web, BY)
    assert claim_of(database, web.guest).fit == web.fit

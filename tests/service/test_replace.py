"""A stopped guest whose host's pools have moved starts in another place there: claim, owners and allocation move together or not at all."""

from __future__ import annotations

import contextlib
import threading
import time
from pathlib import Path

import pytest
from msgspec import structs
from tests.build.hosts import report
from tests.build.requests import pinned
from tests.build.rows import add_guest, wanted
from tests.rig.promises import at_rest
from tests.service.claiming import EAGER, HealedBetween, change, claim_of, create, synced_hosts
from tests.service.test_crash import killed_at

from pinfold.accounting.client import Placement
from pinfold.accounting.resources import OVERHEAD, PCPU
from pinfold.core.cpuset import CpuSet
from pinfold.core.errors import Conflict
from pinfold.core.host import OverheadRates
from pinfold.core.request.model import EmulatorPolicy, GuestRequest
from pinfold.faultpoints import POINTS
from pinfold.service.claims.outcome import Claimed
from pinfold.service.fleet import Fleet, assemble
from pinfold.store import guests, hosts
from pinfold.store.database import Database
from pinfold.store.records import ClaimRecord, Desired, GuestRecord, Move, Observed

pytestmark = pytest.mark.real_placement

SHARE = pinned(2, emulator=EmulatorPolicy.SHARE)
BEFORE, AFTER = report(), report(shared="0-7")
"""All of the first host's pCPUs but 0-1 are dedicated, then 8-15 alone."""


def _stopped(database: Database, fleet: Fleet, request: GuestRequest = SHARE) -> Claimed:
    """A guest that ran, and was stopped by its user."""
    made = create(database, fleet, request)
    with database.write() as connection:
        guests.want(connection, made.guest, Desired.STOPPED, task="")
        guests.observe(connection, made.guest, Observed.STOPPED, host=made.host, booted=1)
    return made


def _now(database: Database, guest: str) -> tuple[ClaimRecord, GuestRecord]:
    claim = claim_of(database, guest)
    with database.read() as connection:
        return claim, guests.get(connection, guest)


def test_a_stopped_guest_outside_of_the_pools_starts_in_another_place_and_says_so(
    database: Database, fleet: Fleet, placement: Placement
) -> None:
    (host,) = synced_hosts(database, fleet, "c01")
    made = _stopped(database, fleet)
    assert made.fit.taken <= CpuSet.parse("2-7")
    change(database, fleet, host, AFTER)
    assert dict(placement.usages(host))[PCPU] == 2
    fleet.guests.start(made.guest)
    claim, guest = _now(database, made.guest)
    assert claim.id == made.claim and claim.revision > made.revision
    assert claim.fit.taken <= CpuSet.parse("8-15") and claim.fit.emulator == CpuSet.parse("0-7")
    assert (guest.desired, guest.task, guest.boots) == (Desired.RUNNING, "powering-on", 2)
    move = guest.moved
    assert move == Move(
        host="c01",
        revision=claim.revision,
        before=f"vCPUs on {made.fit.taken}, emulator threads on 0-1",
        after=f"vCPUs on {claim.fit.taken}, emulator threads on 0-7",
        because=(
            f"its pins lie on {made.fit.taken}, outside the pool of today (8-15)",
            "its overhead threads lie on 0-1, only a part of the pool of today (0-7)",
        ),
    )
    with database.read() as connection:
        ((_, held),) = guests.orders(connection, host)
        assert (held.revision, held.fit) == (claim.revision, claim.fit)
    at_rest(database, placement)


def test_a_place_that_holds_is_left_and_so_is_that_of_a_guest_that_runs(database: Database, fleet: Fleet, placement: Placement) -> None:
    (host,) = synced_hosts(database, fleet, "c01")
    made, running = _stopped(database, fleet), create(database, fleet, SHARE)
    fleet.guests.start(made.guest)
    claim, guest = _now(database, made.guest)
    assert (claim.revision, claim.fit, guest.moved) == (made.revision, made.fit, None)
    with database.write() as connection:
        guests.observe(connection, running.guest, Observed.RUNNING, host=host, booted=1)
    change(database, fleet, host, AFTER)
    fleet.guests.reboot(running.guest, hard=True)
    assert _now(database, running.guest)[0].fit == running.fit
    at_rest(database, placement)


def test_where_the_host_has_no_other_place_the_start_is_refused_with_the_reasons_of_a_fit_and_nothing_changes(
    database: Database, fleet: Fleet, placement: Placement
) -> None:
    (host,) = synced_hosts(database, fleet, "c01")
    made = _stopped(database, fleet)
    change(database, fleet, host, report(shared="0-14"))
    before = _now(database, made.guest)
    with pytest.raises(Conflict, match=r"its pins lie on .*, outside the pool of today \(15\).*cell 1 has 1 dedicated pCPUs?, 2 needed"):
        fleet.guests.start(made.guest)
    assert _now(database, made.guest) == before
    at_rest(database, placement)


def test_a_host_that_takes_no_new_guests_places_its_own_again_but_one_that_is_silent_does_not(
    database: Database, fleet: Fleet, placement: Placement
) -> None:
    (host,) = synced_hosts(database, fleet, "c01")
    made, other = _stopped(database, fleet), _stopped(database, fleet)
    change(database, fleet, host, AFTER)
    with database.write() as connection:
        hosts.disable(connection, host, "maintenance")
    fleet.guests.start(made.guest)
    assert _now(database, made.guest)[0].fit.taken <= CpuSet.parse("8-15")
    with database.write() as connection:
        hosts.expire(connection, host)
    fleet.guests.start(other.guest)
    claim, guest = _now(database, other.guest)
    assert (claim.fit, guest.task) == (other.fit, "powering-on"), "what its pools are today is not known"
    at_rest(database, placement)


def test_what_it_books_follows_the_options_of_today(database: Database, fleet: Fleet, placement: Placement) -> None:
    (host,) = synced_hosts(database, fleet, "c01")
    made = _stopped(database, fleet)
    for rate, shared in ((200, "0-7"), (5, "8-15")):
        limits = structs.replace(AFTER.limits, rates=OverheadRates(guest=rate))
        change(database, fleet, host, structs.replace(report(shared=shared), limits=limits))
        fleet.guests.start(made.guest)
        assert dict(placement.usages(host))[OVERHEAD] == rate + 4
        at_rest(database, placement)
        with database.write() as connection:
            guests.want(connection, made.guest, Desired.STOPPED, task="")


def test_a_healer_that_comes_between_does_not_leave_placement_behind(database: Database, placement: Placement) -> None:
    healer = assemble(database, placement, EAGER)
    healer.healer.start()
    (host,) = synced_hosts(database, healer, "c01")
    made = _stopped(database, healer)
    change(database, healer, host, structs.replace(AFTER, limits=structs.replace(AFTER.limits, rates=OverheadRates(guest=200))))
    watched = HealedBetween(placement, healer)
    assemble(database, watched, EAGER).guests.start(made.guest)
    assert watched.restored == [1]
    at_rest(database, placement)


def test_of_many_who_start_a_guest_at_once_one_does_and_creates_on_the_same_host_take_no_pcpu_of_its(
    database: Database, fleet: Fleet, placement: Placement
) -> None:
    (host,) = synced_hosts(database, fleet, "c01")
    stopped = [_stopped(database, fleet) for _ in range(2)]
    change(database, fleet, host, AFTER)
    gate, outcomes = threading.Barrier(8), []

    def start(guest: str) -> None:
        own = assemble(database, placement, EAGER)
        gate.wait()
        with contextlib.suppress(Conflict):
            own.guests.start(guest)
            outcomes.append(guest)

    def make() -> None:
        own, guest = assemble(database, placement, EAGER), add_guest(database, pinned(1))
        gate.wait()
        assert isinstance(own.claimer.create(wanted(guest, pinned(1))), Claimed)

    threads = [threading.Thread(target=start, args=(one.guest,)) for one in stopped for _ in range(2)]
    threads += [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == sorted(one.guest for one in stopped)
    taken = [_now(database, one.guest)[0].fit.taken for one in stopped]
    assert all(cpus <= CpuSet.parse("8-15") for cpus in taken) and taken[0].isdisjoint(taken[1])
    at_rest(database, placement)


def test_a_guest_that_is_deleted_meanwhile_is_not_moved(database: Database, placement: Placement) -> None:
    fleet = assemble(database, placement, EAGER)
    fleet.healer.start()
    (host,) = synced_hosts(database, fleet, "c01")
    made = _stopped(database, fleet)
    limits = structs.replace(AFTER.limits, rates=OverheadRates(guest=200))
    change(database, fleet, host, structs.replace(AFTER, limits=limits))

    class Meanwhile(Placement):
        def allocate(self, *arguments: object, **named: object) -> None:
            super().allocate(*arguments, **named)  # type: ignore[arg-type]
            with database.write() as connection:
                if guests.get(connection, made.guest).desired is not Desired.ABSENT:
                    guests.want(connection, made.guest, Desired.ABSENT, task="deleting")

    with pytest.raises(Conflict):
        assemble(database, Meanwhile(placement._http), EAGER).guests.start(made.guest)
    claim, guest = _now(database, made.guest)
    assert (claim.fit, claim.revision, guest.moved) == (made.fit, made.revision, None)
    at_rest(database, placement)


@pytest.mark.parametrize("point", [point for point in POINTS if point.startswith("replace.")])
def test_a_service_killed_anywhere_leaves_the_whole_move_or_nothing_of_it(
    database: Database, placement: Placement, tmp_path: Path, point: str
) -> None:
    fleet = assemble(database, placement, EAGER)
    (host,) = synced_hosts(database, fleet, "c01")
    made = _stopped(database, fleet)
    limits = structs.replace(AFTER.limits, rates=OverheadRates(guest=200))
    change(database, fleet, host, structs.replace(AFTER, limits=limits))
    killed_at(point, tmp_path, database, "start", made.guest)
    time.sleep(0.15)
    fleet.healer.heal()
    at_rest(database, placement)
    claim, guest = _now(database, made.guest)
    if point == "replace.held":
        assert claim.fit.taken <= CpuSet.parse("8-15") and guest.task == "powering-on" and guest.moved is not None
    else:
        assert (claim.fit, claim.revision, guest.desired) == (made.fit, made.revision, Desired.STOPPED)
        fleet.guests.start(made.guest)
        assert _now(database, made.guest)[0].fit.taken <= CpuSet.parse("8-15")
    at_rest(database, placement)

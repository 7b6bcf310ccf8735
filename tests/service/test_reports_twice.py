"""An agent's report that arrives twice, at two replicas at once, and one that a crash cut short: on real databases and a real Placement."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from tests.build.requests import pinned
from tests.build.rows import add_guest
from tests.rig.promises import at_rest
from tests.service.claiming import EAGER, create, synced_hosts

from pinfold.accounting.client import Placement
from pinfold.core.errors import RolledBack
from pinfold.scheduler.scheduler import Scheduler
from pinfold.service.claims.outcome import Claimed
from pinfold.service.claims.release import Releaser
from pinfold.service.fleet import assemble
from pinfold.service.guests.reports import ClaimName, Reports
from pinfold.service.hosts import Hosts
from pinfold.store import claims, guests, hosts, tombstones
from pinfold.store.database import Database
from pinfold.store.records import ClaimState, Observed

pytestmark = pytest.mark.real_placement


class Late(Releaser):
    """A replica that is overtaken: `first` runs after it has looked and before it releases."""

    first: list[object]

    def release(self, guest: str, **how: object) -> None:
        while self.first:
            self.first.pop()()  # type: ignore[operator]
        super().release(guest, **how)  # type: ignore[arg-type]


def _named(made: Claimed) -> ClaimName:
    return ClaimName(claim=made.claim, revision=made.revision)


def _held(database: Database, guest: str) -> tuple[str, str | None]:
    """The host of the guest's held claim, and the guest's own host."""
    with database.read() as connection:
        claim, found = claims.live(connection, guest), guests.get(connection, guest)
    assert claim is not None
    assert claim.state is ClaimState.HELD
    return claim.host, found.host


def test_a_failed_start_that_is_told_twice_at_once_releases_the_failed_claim_alone(database: Database, placement: Placement) -> None:
    quick, late = assemble(database, placement, EAGER), Late(database, placement, Scheduler(database, placement, EAGER))
    quick.healer.start()
    first, second = synced_hosts(database, quick, "c01", "c02")
    made = create(database, quick, pinned(2), hosts=frozenset({first}))
    late.first = [lambda: quick.reports.absent(first, made.guest, _named(made), "no KVM")]
    Reports(database, late, quick.guests, quick.repinner, quick.providers, quick.interfaces).absent(
        first, made.guest, _named(made), "no KVM"
    )
    assert _held(database, made.guest) == (second, second)
    with database.read() as connection:
        assert tombstones.of_host(connection, second) == ()
    at_rest(database, placement)


def test_a_fence_does_not_release_what_went_elsewhere_meanwhile(database: Database, placement: Placement) -> None:
    quick, late = assemble(database, placement, EAGER), Late(database, placement, Scheduler(database, placement, EAGER))
    quick.healer.start()
    first, second = synced_hosts(database, quick, "c01", "c02")
    made = create(database, quick, pinned(2), hosts=frozenset({first}))
    late.first = [lambda: quick.reports.absent(first, made.guest, _named(made), "no KVM")]
    with database.write() as connection:
        hosts.expire(connection, first)
    overtaken = Hosts(
        database,
        placement,
        quick.scheduler.index,
        follower=quick.follower,
        releaser=late,
        lifecycle=quick.guests,
        presence=quick.presence,
    )
    assert overtaken.fence(first) == ()
    assert _held(database, made.guest) == (second, second)
    at_rest(database, placement)


@pytest.mark.parametrize("moment", ["release.begin", "release.unpinned", "release.emptied"])
def test_one_fence_ends_though_somebody_else_releases_the_same_guests(
    database: Database, placement: Placement, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    fleet, other = assemble(database, placement, EAGER), assemble(database, placement, EAGER)
    fleet.healer.start()
    (host,) = synced_hosts(database, fleet, "c01")
    there = {create(database, fleet, pinned(2), hosts=frozenset({host})).guest for _ in range(2)}
    left = set(there)

    def quicker(point: str) -> None:
        while point == moment and left:
            other.releaser.release(left.pop(), bury=True)

    monkeypatch.setattr("pinfold.service.claims.release.fault_point", quicker)
    with database.write() as connection:
        hosts.expire(connection, host)
    lost = fleet.hosts.fence(host)
    assert (left, set(lost)) == (set(), there)
    with database.read() as connection:
        assert all(guests.get(connection, guest).fault is not None for guest in lost)
        assert claims.of_guests(connection, lost) == {}
    at_rest(database, placement)


@pytest.mark.parametrize("displaced", [False, True], ids=["before it left its host", "before it was placed again"])
def test_a_failed_start_whose_report_was_cut_short_is_placed_elsewhere(database: Database, placement: Placement, displaced: bool) -> None:
    fleet = assemble(database, placement, EAGER)
    fleet.healer.start()
    first, second = synced_hosts(database, fleet, "c01", "c02")
    made = create(database, fleet, pinned(2), hosts=frozenset({first}))
    fleet.releaser.release(made.guest, bury=True)
    if displaced:
        with database.write() as connection:
            guests.displace(connection, made.guest, host=first, task="scheduling")
            hosts.disable(connection, first)
        impatient = assemble(database, placement, EAGER.__class__(refresh_seconds=0, claim_seconds=0))
        impatient.healer.tend()
    else:
        fleet.reports.absent(first, made.guest, _named(made), "no KVM")
    assert _held(database, made.guest) == (second, second)
    at_rest(database, placement)


@pytest.mark.real_postgresql
@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_a_report_that_the_database_rolls_back_is_not_taken_as_stored(database: Database, placement: Placement) -> None:
    """Such a report answers the agent with an error, so that it sends it again, and is then stored."""
    fleet = assemble(database, placement, EAGER)
    fleet.healer.start()
    (host,) = synced_hosts(database, fleet, "c01")
    made = create(database, fleet, pinned(2), hosts=frozenset({host}))
    with database.write() as connection:
        guests.place(connection, made.guest, host)

    def report() -> Observed:
        fleet.reports.seen(host, made.guest, _named(made), Observed.RUNNING, booted=1, report=None)
        return fleet.guests.get(made.guest).observed

    with rolling_back(database, "guest"), pytest.raises(RolledBack, match="in favour of another"):
        report()
    assert fleet.guests.get(made.guest).observed is Observed.UNSEEN
    assert report() is Observed.RUNNING


@pytest.mark.real_postgresql
@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_a_guest_off_its_host_whose_change_was_rolled_back_gets_its_fault_all_the_same(database: Database, placement: Placement) -> None:
    fleet = assemble(database, placement, EAGER)
    guest = add_guest(database, pinned(2))
    with rolling_back(database, "guest", times=3):
        fleet.guests.fail(fleet.guests.get(guest), 500, "No host was found.")
    fault = fleet.guests.get(guest).fault
    assert fault is not None
    assert fault.message == "No host was found."


@contextmanager
def rolling_back(database: Database, table: str, times: int = 1 << 30) -> Iterator[None]:
    """While the block runs, PostgreSQL rolls back the next changes of that table, as it does with the victim of a deadlock."""
    # A sequence is counted outside of transactions, so the count survives the rollback.
    body = f"BEGIN IF nextval('lost') <= {times} THEN RAISE EXCEPTION 'deadlock detected' USING ERRCODE = '40P01'; END IF; RETURN NEW; END"
    with database.write() as connection:
        connection.exec_driver_sql("CREATE SEQUENCE lost")
        connection.exec_driver_sql(f"CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS $$ {body} $$")
        connection.exec_driver_sql(f"CREATE TRIGGER lose BEFORE UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION lose()")
    try:
        yield
    finally:
        with database.write() as connection:
            connection.exec_driver_sql("DROP FUNCTION lose CASCADE")
            connection.exec_driver_sql("DROP SEQUENCE lost")

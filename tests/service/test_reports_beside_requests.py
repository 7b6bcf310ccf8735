"""A report of a guest arrives at one API process while another one stores what a user asks of that guest. Real databases."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa
from tests.build.requests import pinned
from tests.service.claiming import claim_of, create, synced_hosts
from tests.service.test_adopt import BY, host, named, record, taken_over, wanted

from pinfold.core.adoption import Takeover
from pinfold.core.identity import GuestId, HostId
from pinfold.service.fleet import Fleet
from pinfold.service.guests.lifecycle import REBOOTING_HARD
from pinfold.store import guests
from pinfold.store.database import Database
from pinfold.store.records import REBUILDING, RELEASING, Desired, Observed, Rebuild

__all__ = ["host"]

pytestmark = pytest.mark.real_placement
REQUEST = pinned(1)


def _stop(connection: sa.Connection, guest: GuestId) -> None:
    guests.want(connection, guest, Desired.STOPPED, task="powering-off")


def _reboot(connection: sa.Connection, guest: GuestId) -> None:
    guests.want(connection, guest, Desired.RUNNING, task=REBOOTING_HARD, reboot=True)


def _rebuild(connection: sa.Connection, guest: GuestId) -> None:
    guests.rebuild(connection, guests.get(connection, guest), Rebuild(image="other", request=REQUEST), Desired.RUNNING)


def _release(connection: sa.Connection, guest: GuestId) -> None:
    guests.want(connection, guest, Desired.ABSENT, task=RELEASING)


@contextmanager
def meanwhile(database: Database, report: Callable[[], None]) -> Iterator[sa.Connection]:
    """A transaction, and the report that arrives in another process before it is committed: it waits to write."""
    thread = threading.Thread(target=report)
    waits = threading.Event()

    def note(*arguments: Any) -> None:
        if threading.current_thread() is thread and arguments[2] == "BEGIN IMMEDIATE":
            waits.set()

    sa.event.listen(database.engine, "before_cursor_execute", note)
    try:
        with database.write() as connection:
            yield connection
            thread.start()
            deadline = time.monotonic() + 30
            while not (_waiting(database) if database.postgresql else waits.is_set()):
                assert thread.is_alive() and time.monotonic() < deadline, "the report does not wait for the guest's row"
                time.sleep(0.01)
        thread.join()
    finally:
        sa.event.remove(database.engine, "before_cursor_execute", note)


def _waiting(database: Database) -> bool:
    """Whether a connection waits for a lock of another one of PostgreSQL."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    with database.read() as connection:
        return bool(connection.execute(sa.text(query)).scalar_one())


@pytest.mark.parametrize(
    ("ask", "task"),
    [(_stop, "powering-off"), (_reboot, REBOOTING_HARD), (_rebuild, REBUILDING)],
    ids=["a stop", "a reboot", "a rebuild"],
)
def test_a_report_does_not_end_the_task_of_a_request_that_it_has_not_heard_of(
    database: Database, fleet: Fleet, ask: Callable[[sa.Connection, GuestId], None], task: str
) -> None:
    (host_id,) = synced_hosts(database, fleet, "c01")
    made = create(database, fleet, REQUEST)

    def report(boot: int = 1) -> None:
        fleet.reports.seen(HostId(host_id), made.guest, named(claim_of(database, made.guest)), Observed.RUNNING, booted=boot, report=None)

    report()
    with meanwhile(database, report) as connection:
        ask(connection, made.guest)
    after = record(database, made.guest)
    assert (after.task, after.booted, after.rebuild) == (task, 1, 2 if task == REBUILDING else 0)
    report(after.boots)
    after = record(database, made.guest)
    assert (after.task, after.rebuild) == ("powering-off" if after.desired is Desired.STOPPED else "", 0)


@pytest.mark.parametrize("failure", ["", "its QEMU has died"], ids=["it runs", "it is gone"])
def test_a_report_does_not_turn_a_release_into_the_end_of_the_domain(database: Database, fleet: Fleet, host: HostId, failure: str) -> None:
    web = wanted()
    fleet.adopter.adopt(host, web, BY)
    taken_over(database, fleet, host, web)
    claim = named(claim_of(database, web.guest))

    def report() -> None:
        if failure:
            fleet.reports.absent(host, web.guest, claim, failure)
        else:
            fleet.reports.seen(host, web.guest, claim, Observed.RUNNING, booted=1, report=None)

    with meanwhile(database, report) as connection:
        _release(connection, web.guest)
    after = record(database, web.guest)
    assert (after.task, after.takeover, after.fault) == (RELEASING, Takeover.RELEASE, None)

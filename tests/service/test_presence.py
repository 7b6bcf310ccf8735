"""Agents that wait for orders, and their signs of life: one thread reads and writes for all."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from tests.build.rows import add_host
from tests.real.patience import until

from pinfold.core.drift.written import FindingsReport
from pinfold.core.errors import NotFound
from pinfold.core.identity import HostId
from pinfold.service import presence as presences
from pinfold.service.presence import Presence, Sign, Wait
from pinfold.store import findings, hosts
from pinfold.store.database import Database

GENEROUS = 30.0


@pytest.fixture
def presence(database: Database) -> Iterator[Presence]:
    made = Presence(database)
    yield made
    made.end()


def test_a_waiting_agent_is_woken_when_its_orders_change(database: Database, presence: Presence) -> None:
    first, second = (HostId(add_host(database, name)) for name in ("c1", "c2"))
    woken = {host: threading.Event() for host in (first, second)}
    for host, event in woken.items():
        presence.watch(host, presence.read(host).orders, event.set)
    with database.write() as connection:
        hosts.bump(connection, first, ledger=False)
    assert woken[first].wait(GENEROUS)
    assert not woken[second].is_set()


def test_orders_are_found_when_the_notification_of_them_was_lost(database: Database, presence: Presence) -> None:
    host, woken = HostId(add_host(database, "c1")), threading.Event()
    presence.watch(host, presence.read(host).orders, woken.set)
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE host SET orders = orders + 1")
    assert woken.wait(GENEROUS)


def test_an_agent_that_waits_for_what_is_there_already_is_woken_at_once(database: Database, presence: Presence) -> None:
    host, woken = HostId(add_host(database, "c1")), threading.Event()
    presence.watch(host, presence.read(host).orders - 1, woken.set)
    assert woken.is_set()


def test_a_replaced_token_is_known_no_longer(database: Database, presence: Presence) -> None:
    host = HostId(add_host(database, "c1"))
    assert presence.standing(host) is None
    assert presence.read(host).token_hash == ""
    until(lambda: presence.standing(host) is not None or not presence.read(host), "the host is known", seconds=GENEROUS)
    with database.write() as connection:
        hosts.replace_token(connection, host, "new")
    presence.forget(host)
    known = presence.standing(host)
    assert known is None or known.token_hash == "new"
    assert presence.read(host).token_hash == "new"
    with database.write() as connection:
        hosts.remove(connection, host)
    with pytest.raises(NotFound):
        presence.read(host)


def test_a_replaced_token_is_known_no_longer_even_if_no_notification_came(database: Database, presence: Presence) -> None:
    host = HostId(add_host(database, "c1"))
    presence.read(host)
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE host SET token_hash = 'new'")

    def is_new() -> bool:
        known = presence.standing(host)
        return known is not None and known.token_hash == "new"

    until(is_new, "the new token is known", seconds=GENEROUS)


@pytest.fixture
def seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    """All rows are read once, after a second; what is known is trusted for a second."""
    monkeypatch.setattr(presences, "_REST", 1e9)
    monkeypatch.setattr(presences, "_LONGEST_LOOK", 3600.0)
    monkeypatch.setattr(presences, "_LONGEST_UNHEARD", 3600.0)
    monkeypatch.setattr(presences, "_ECHO_SECONDS", 0.2)
    monkeypatch.setattr(presences, "TRUSTED_SECONDS", 1.0)


@pytest.mark.usefixtures("seldom")
def test_what_is_known_holds_without_a_read_while_notifications_are_heard(database: Database, presence: Presence) -> None:
    host = HostId(add_host(database, "c1"))
    presence.read(host)
    # As soon as PostgreSQL's notifications are listened to, all may have changed before, and the host is read once more.
    until(lambda: presence._heard > float("-inf"), "an echo has come back", seconds=GENEROUS)
    known = presence.read(host)
    time.sleep(2.5)
    until(lambda: presence.standing(host) is known, "it is known although it was read long ago", seconds=GENEROUS)
    with database.write() as connection:
        hosts.replace_token(connection, host, "new")
    until(lambda: presence.standing(host) is None, "a notified change ends that at once", seconds=GENEROUS)
    assert presence.read(host).token_hash == "new"


@pytest.mark.usefixtures("seldom")
def test_all_rows_are_read_while_notifications_are_not_heard(
    database: Database, presence: Presence, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, woken = HostId(add_host(database, "c1")), threading.Event()
    presence.watch(host, presence.read(host).orders, woken.set)
    monkeypatch.setattr(presences, "_LONGEST_UNHEARD", 1.0)
    monkeypatch.setattr(database.wakeups, "send", lambda _: None)
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE host SET orders = orders + 1")
    assert woken.wait(GENEROUS)


def test_an_audit_is_noted_once_in_a_while(database: Database, presence: Presence) -> None:
    host = HostId(add_host(database, "c1", lease_seconds=60))
    with database.write() as connection:
        hosts.report_digest(connection, host)
        findings.keep(connection, host, FindingsReport())
        connection.exec_driver_sql("UPDATE host SET heard = heard - 30, audited = audited - 30")
    noted = []
    for _ in range(2):
        since = presence.sign(host, 60.0, 0.1)
        until(lambda since=since: presence.renewed(host, since) is not None, "the lease is renewed", seconds=GENEROUS)  # type: ignore[misc]
        noted.append(presence.audited(host, since))
    assert noted == [True, False]


def test_a_sign_of_life_renews_the_lease_and_its_digest_is_told(database: Database, presence: Presence) -> None:
    host = HostId(add_host(database, "c1", lease_seconds=60))
    with database.write() as connection:
        digest = hosts.report_digest(connection, host)
        connection.exec_driver_sql("UPDATE host SET heard = heard - 30, lease_until = lease_until - 30")
    since = presence.sign(host, 60.0)
    until(lambda: presence.renewed(host, since) is not None, "the lease is renewed", seconds=GENEROUS)
    assert presence.renewed(host, since) == digest
    assert presence.renewed(host, time.monotonic()) is None
    with database.read() as connection:
        assert hosts.get(connection, host).lease_until - database.now() > 35


def test_a_sign_of_life_of_a_host_that_is_down_renews_nothing(database: Database, presence: Presence) -> None:
    down, host = HostId(add_host(database, "c1", lease_seconds=-1)), HostId(add_host(database, "c2", lease_seconds=60))
    with database.write() as connection:
        hosts.report_digest(connection, host)
        connection.exec_driver_sql("UPDATE host SET heard = heard - 1")
    since = presence.sign(down, 60.0)
    later = presence.sign(host, 60.0)
    until(lambda: presence.renewed(host, later) is not None, "the other lease is renewed", seconds=GENEROUS)
    assert presence.renewed(down, since) is None
    with database.read() as connection:
        assert not hosts.get(connection, down).up


def test_signs_of_life_are_written_before_the_end(database: Database) -> None:
    presence, host = Presence(database), HostId(add_host(database, "c1", lease_seconds=60))
    with database.write() as connection:
        hosts.report_digest(connection, host)
        connection.exec_driver_sql("UPDATE host SET heard = heard - 30, lease_until = lease_until - 30")
    since = presence.sign(host, 3600.0)
    presence.end()
    assert presence.renewed(host, since)


def test_the_oldest_of_too_many_polls_of_one_agent_is_answered(database: Database, presence: Presence) -> None:
    host = HostId(add_host(database, "c1"))
    orders, woken = presence.read(host).orders, [threading.Event() for _ in range(6)]
    for event in woken:
        presence.watch(host, orders, event.set)
        if woken[0].is_set():
            break
    assert [event.is_set() for event in woken] == [True, False, False, False, False, False]


def test_the_end_wakes_all_who_wait_and_nobody_waits_after_it(database: Database, presence: Presence) -> None:
    host, woken, late = HostId(add_host(database, "c1")), threading.Event(), threading.Event()
    orders = presence.read(host).orders
    presence.watch(host, orders, woken.set)
    presence.end()
    assert woken.is_set()
    presence.watch(host, orders, late.set)
    assert late.is_set()


def test_a_poll_waits_only_by_the_right_token_and_while_there_is_nothing_to_hear_of(database: Database, presence: Presence) -> None:
    host, woken, renewed = HostId(add_host(database, "c1", lease_seconds=60)), threading.Event(), threading.Event()
    with database.write() as connection:
        hosts.report_digest(connection, host)
        hosts.replace_token(connection, host, "digest")
        connection.exec_driver_sql("UPDATE host SET heard = heard - 30, lease_until = lease_until - 30")
    waiting = Wait(presence.read(host).orders, woken.set, float("inf"), renewed.set)

    def begins(digest: str) -> bool:
        return presence.wait(host, digest, Sign(time.monotonic(), 60.0, None), waiting, early=True) is not None

    assert not begins("another")
    until(lambda: begins("digest") or not presence.read(host), "the host is known, and waits", seconds=GENEROUS)
    assert renewed.wait(GENEROUS)
    with database.write() as connection:
        hosts.bump(connection, host, ledger=False)
    assert woken.wait(GENEROUS)
    presence.leave(host, waiting)
    assert presence.read(host).orders != waiting.after
    assert not begins("digest")

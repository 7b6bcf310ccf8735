"""Leases that polls renew, many in one statement; and what waiting agents are to hear of."""

from __future__ import annotations

import pytest
from tests.build.rows import add_host

from pinfold.core.drift.written import FindingsReport
from pinfold.core.identity import HostId
from pinfold.store import findings, hosts, presence
from pinfold.store.database import Database


def renewed(database: Database, seconds: float, **signs: float) -> set[str]:
    """The hosts whose lease is renewed."""
    with database.write() as connection:
        return set(presence.renew(connection, {HostId(host): age for host, age in signs.items()}, seconds))


def lease(database: Database, host: str) -> tuple[float, float]:
    """For how many seconds from now the host counts as up, and how long ago its lease began."""
    now = database.now()
    with database.read() as connection:
        row = connection.exec_driver_sql(f"SELECT lease_until, heard FROM host WHERE id = '{host}'").one()
    return row[0] - now, now - row[1]


def test_each_lease_runs_from_its_own_sign_of_life(database: Database) -> None:
    ids = [HostId(add_host(database, f"c{number}", lease_seconds=5)) for number in range(4)]
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE host SET heard = heard - 100, lease_until = lease_until + 1")
        found = presence.renew(connection, {host: float(number) for number, host in enumerate(ids[:3])}, 60.0)
    assert set(found) == set(ids[:3])
    for number, host in enumerate(ids[:3]):
        left, age = lease(database, host)
        assert 50 - number < left <= 60 - number
        assert number <= age < number + 10
    assert lease(database, ids[3])[0] < 10


def test_only_a_heartbeat_brings_back_a_host_whose_lease_has_run_out_or_that_is_fenced(database: Database) -> None:
    host = HostId(add_host(database, "c1", lease_seconds=60))
    with database.write() as connection:
        hosts.expire(connection, host)
    assert renewed(database, 60.0, **{host: 0.0}) == set()
    with database.write() as connection:
        hosts.fence(connection, host)
    assert renewed(database, 60.0, **{host: 0.0}) == set()
    with database.read() as connection:
        found = hosts.get(connection, host)
    assert (found.up, found.fenced) == (False, True)
    with database.write() as connection:
        hosts.heartbeat(connection, host, 60.0)
        connection.exec_driver_sql("UPDATE host SET heard = heard - 1")
    assert renewed(database, 60.0, **{host: 0.0}) == {host}


def test_a_sign_of_life_does_not_shorten_the_lease_of_a_later_one(database: Database) -> None:
    host = HostId(add_host(database, "c1", lease_seconds=60))
    assert renewed(database, 60.0, **{host: 30.0}) == set()
    assert lease(database, host)[0] > 40


def test_a_renewal_names_the_digest_of_the_report(database: Database) -> None:
    host = HostId(add_host(database, "c1", lease_seconds=60))
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE host SET heard = heard - 1")
        assert presence.renew(connection, {host: 0.5}, 60.0) == {host: ""}  # nothing has computed it yet
        digest = hosts.report_digest(connection, host)
        assert presence.renew(connection, {host: 0.0}, 60.0) == {host: digest}


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_a_renewal_does_not_wait_for_a_host_that_is_being_changed(database: Database) -> None:
    busy, free = (HostId(add_host(database, name, lease_seconds=60)) for name in ("c1", "c2"))
    with database.write() as other:
        hosts.bump(other, busy, ledger=True)
        assert renewed(database, 60.0, **{busy: 0.0, free: 0.0}) == {free}
    assert renewed(database, 60.0, **{busy: 0.0}) == {busy}


def test_standings_tell_the_digest_of_the_token_and_the_count_of_orders(database: Database) -> None:
    first, second = (HostId(add_host(database, name)) for name in ("c1", "c2"))
    with database.write() as connection:
        hosts.replace_token(connection, first, "digest")
        hosts.bump(connection, second, ledger=False)
    with database.read() as connection:
        found = presence.standings(connection, (first, second, HostId("00000000-0000-0000-0000-000000000000")))
        assert presence.standings(connection, ()) == {}
    assert {host: (one.token_hash, one.orders) for host, one in found.items()} == {first: ("digest", 1), second: ("", 2)}


def test_hosts_that_are_gone_or_have_another_standing_are_told_from_those_that_are_as_they_are_known(database: Database) -> None:
    same, token, orders, gone = (HostId(add_host(database, name)) for name in ("c1", "c2", "c3", "c4"))
    with database.read() as connection:
        known = presence.standings(connection, (same, token, orders, gone))
        assert presence.changes(connection, known) == frozenset()
        assert presence.changes(connection, {}) == frozenset()
    with database.write() as connection:
        hosts.replace_token(connection, token, "new")
        hosts.bump(connection, orders, ledger=False)
        hosts.remove(connection, gone)
    with database.read() as connection:
        assert presence.changes(connection, known) == {token, orders, gone}


def test_an_audit_that_found_what_is_stored_makes_the_report_of_it_newer_and_never_older(database: Database) -> None:
    old, new, none = (HostId(add_host(database, name)) for name in ("c1", "c2", "c3"))
    with database.write() as connection:
        for host in (old, new):
            findings.keep(connection, host, FindingsReport())
        connection.exec_driver_sql(f"UPDATE host SET audited = audited - 250 WHERE id = '{old}'")
        noted = presence.note_audits(connection, dict.fromkeys((old, new, none), 100.0))
    assert noted == {old}
    now = database.now()
    with database.read() as connection:
        times = {host: findings.reported(connection, host) for host in (old, new, none)}
    assert times[none] is None
    assert 99 < now - (times[old] or 0.0) < 200
    assert now - (times[new] or 0.0) < 99

"""The index at the start: nobody is answered from one that was never filled."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterable

import pytest
import sqlalchemy as sa
from tests.build.hosts import report
from tests.build.rows import add_host

from pinfold.core.identity import HostId
from pinfold.scheduler.index import Entry, Index
from pinfold.scheduler.refresh import _ALL_SECONDS, _DOWN_SECONDS, _OVERLAP, Freshness
from pinfold.store import hosts, presence
from pinfold.store.database import Database, EpochNow
from pinfold.store.records import HostLedger, HostMark
from pinfold.store.schema import host as host_table

LONG_SECONDS = 3600.0
GENEROUS = 30.0


def test_a_look_waits_for_the_first_one_that_another_thread_makes(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    add_host(database, "c1")
    index = Index()
    fresh = Freshness(database, index, LONG_SECONDS)
    reads, may = threading.Event(), threading.Event()
    read, marks, looks = hosts.ledgers, hosts.marks, []

    def slow(connection: object, ids: Iterable[HostId] | None = None) -> tuple[HostLedger, ...]:
        reads.set()
        assert may.wait(GENEROUS)
        return read(connection, ids)  # type: ignore[arg-type]

    def counted(connection: sa.Connection) -> tuple[HostMark, ...]:
        looks.append(1)
        return marks(connection)

    monkeypatch.setattr(hosts, "ledgers", slow)
    monkeypatch.setattr(hosts, "marks", counted)
    seen: list[int] = []
    first = threading.Thread(target=fresh.now)
    first.start()
    assert reads.wait(GENEROUS)
    second = threading.Thread(target=lambda: (fresh.look(), seen.append(len(index))))
    second.start()
    second.join(0.2)
    assert second.is_alive()
    assert not seen
    may.set()
    for thread in (first, second):
        thread.join(GENEROUS)
    assert seen == [1]
    assert len(looks) == 1, "what the first one read is there for the others"


def test_a_look_leaves_out_what_was_known_lately_and_no_host_is_older_than_two_looks_are_apart(database: Database) -> None:
    """At each decision the index has every host as it was at most `SECONDS` ago, whatever was known between."""
    seconds, now, dice = 10.0, [100.0], random.Random(7)
    index = Index()
    fresh = Freshness(database, index, seconds, clock=lambda: now[0])
    names = [HostId(add_host(database, name)) for name in ("c1", "c2", "c3")]
    made = {host: [(now[0], 1)] for host in names}
    left_out = 0
    for _ in range(150):
        now[0] += dice.choice((0.5, 1.0, 2.0, 4.0))
        host = dice.choice(names)
        with database.write() as connection:
            made[host].append((now[0], hosts.bump(connection, host, ledger=True)))
        if dice.random() < 0.4:
            fresh.host(host)
            fresh.known(host, made[host][-1][1])
        fresh.look()
        for each in names:
            entry = index.get(each)
            assert entry is not None
            assert entry.state.revision >= max([1, *(revision for when, revision in made[each] if when <= now[0] - seconds)])
            left_out += entry.state.revision < made[each][-1][1]
    assert left_out > 0
    fresh.now()
    found = [index.get(each) for each in names]
    assert [one.state.revision for one in found if one is not None] == [made[each][-1][1] for each in names]


def test_other_threads_say_what_they_know_during_a_look(database: Database) -> None:
    names = [HostId(add_host(database, f"c{number:02}")) for number in range(40)]
    now, index = [100.0], Index()
    fresh = Freshness(database, index, 10.0, clock=lambda: now[0])
    fresh.look()

    class Meddling(Index):
        """Whenever the look asks for a host, another create says that it knows one."""

        def get(self, host: HostId) -> Entry | None:
            fresh.known(names[len(fresh._known) % len(names)], 1)
            return index.get(host)

    fresh.known(names[0], 1)
    fresh._index = Meddling()
    assert fresh._recent().keys() == {names[0]}
    assert fresh._known.keys() == {names[0], names[1]}


def _aged(database: Database, *names: HostId) -> None:
    """As if the marks of all hosts, or of these, had last changed long ago."""
    with database.write() as connection:
        connection.execute(host_table.update().where(host_table.c.id.in_(names) if names else sa.true()).values(marked=1.0))


def _since(database: Database) -> set[HostId]:
    with database.read() as connection:
        return {mark.id for mark in hosts.marks_since(connection, database.now() - GENEROUS)}


def test_each_change_of_a_mark_is_found_by_its_time_and_the_renewal_of_a_lease_is_none(database: Database) -> None:
    host, other = HostId(add_host(database, "c1")), HostId(add_host(database, "c2"))
    assert _since(database) == {host, other}, "a new host"
    changes: dict[str, Callable[[sa.Connection], object]] = {
        "ledger": lambda connection: hosts.bump(connection, host, ledger=True),
        "claim": lambda connection: hosts.advance_newest(connection, host),
        "disabled": lambda connection: hosts.disable(connection, host, "a fan"),
        "enabled": lambda connection: hosts.enable(connection, host),
        "report": lambda connection: hosts.report(connection, host, report(shared="0-3"), lease_seconds=LONG_SECONDS),
        "goodbye": lambda connection: hosts.expire(connection, host),
        "fenced": lambda connection: hosts.fence(connection, host),
        "up again": lambda connection: hosts.heartbeat(connection, host, LONG_SECONDS),
    }
    for what, change in changes.items():
        _aged(database)
        with database.write() as connection:
            change(connection)
        assert _since(database) == {host}, what
    _aged(database)
    with database.write() as connection:
        hosts.heartbeat(connection, host, LONG_SECONDS)
        hosts.report(connection, host, report(shared="0-3"), lease_seconds=LONG_SECONDS)
        hosts.bump(connection, host, ledger=False)
        presence.renew(connection, {host: 0.0}, LONG_SECONDS)
    assert _since(database) == set()


def test_a_look_reads_the_marks_of_changed_hosts_and_sees_what_came_and_what_it_had_left_out(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, index, seen = [100.0], Index(), list[set[HostId]]()
    names = [HostId(add_host(database, f"c{number}")) for number in range(6)]
    _aged(database, *names[:5])
    since = hosts.marks_since

    def told(connection: sa.Connection, after: float, *, down: bool = False) -> tuple[HostMark, ...]:
        found = since(connection, after, down=down)
        seen.append({mark.id for mark in found})
        return found

    monkeypatch.setattr(hosts, "marks_since", told)
    fresh = Freshness(database, index, 1.0, clock=lambda: now[0])
    fresh.look()
    assert (seen, len(index)) == ([], 6), "the first look is at all"

    def look() -> set[HostId]:
        now[0] += 1.0
        fresh.look()
        return seen.pop()

    with database.write() as connection:
        hosts.bump(connection, names[1], ledger=True)
        hosts.disable(connection, names[2])
    new = HostId(add_host(database, "new"))
    assert look() == {names[1], names[2], names[5], new}, "the newest mark that was known comes again"
    assert [entry.state.revision for one in names[:3] if (entry := index.get(one))] == [1, 2, 1]
    assert [entry.disabled for one in (*names[:3], new) if (entry := index.get(one))] == [False, False, True, False]
    _aged(database, names[1], names[2], names[5])
    assert look() == {new}
    with database.write() as connection:
        made = hosts.bump(connection, names[3], ledger=True)
        hosts.bump(connection, names[3], ledger=True)
    now[0] += 1.0
    fresh.known(names[3], 1)
    fresh.look()
    assert names[3] in seen.pop()
    left_out = index.get(names[3])
    assert left_out is not None
    assert left_out.state.revision < made + 1, "it is left out"
    now[0] += 1.0
    fresh.look()
    found = index.get(names[3])
    assert found is not None
    assert found.state.revision == made + 1, "the next look finds it again, whatever came meanwhile"


def test_a_change_that_is_stored_late_is_found_and_one_that_is_stored_very_late_by_the_look_at_all(database: Database) -> None:
    now, index = [100.0], Index()
    first, late, later = (HostId(add_host(database, name)) for name in ("c1", "c2", "c3"))
    _aged(database)
    fresh = Freshness(database, index, 0.5, clock=lambda: now[0])
    fresh.look()
    with database.write() as connection:
        hosts.bump(connection, first, ledger=True)
    now[0] += 0.5
    fresh.look()
    for host, ago in ((late, _OVERLAP - 2), (later, _OVERLAP + 2)):
        with database.write() as connection:
            hosts.bump(connection, host, ledger=True)
            connection.execute(host_table.update().where(host_table.c.id == host).values(marked=EpochNow() - ago))
    now[0] += 0.5
    fresh.look()
    assert [entry.state.revision for host in (first, late, later) if (entry := index.get(host))] == [2, 2, 1]
    now[0] += _ALL_SECONDS
    fresh.look()
    assert [entry.state.revision for host in (first, late, later) if (entry := index.get(host))] == [2, 2, 2]


def test_a_lease_that_ends_by_itself_is_seen_after_some_seconds_or_once_such_a_host_was_met(database: Database) -> None:
    now, index = [100.0], Index()
    names = [HostId(add_host(database, f"c{number}")) for number in range(4)]
    _aged(database, *names[:3])
    fresh = Freshness(database, index, 0.5, clock=lambda: now[0])
    fresh.look()

    def end(*ended: HostId) -> None:
        with database.write() as connection:
            connection.execute(host_table.update().where(host_table.c.id.in_(ended)).values(heard=1.0, lease_until=2.0))

    def up() -> list[bool]:
        now[0] += 0.5
        fresh.look()
        return [entry.up for name in names if (entry := index.get(name))]

    end(names[0])
    assert up() == [True, True, True, True]
    now[0] += _DOWN_SECONDS
    assert up() == [False, True, True, True]
    end(names[1], names[2])
    assert up() == [False, True, True, True]
    assert fresh.host(names[1]) is not None
    assert up() == [False, False, False, True]

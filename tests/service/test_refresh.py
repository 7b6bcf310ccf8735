"""The index at the start: nobody is answered from one that was never filled."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterable

import pytest
import sqlalchemy as sa
from tests.build.rows import add_host

from pinfold.core.identity import HostId
from pinfold.scheduler.index import Entry, Index
from pinfold.scheduler.refresh import Freshness
from pinfold.store import hosts
from pinfold.store.database import Database
from pinfold.store.records import HostLedger, HostMark

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

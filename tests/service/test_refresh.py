"""The index at the start: nobody is answered from one that was never filled."""

from __future__ import annotations

import threading
from collections.abc import Iterable

import pytest
import sqlalchemy as sa
from tests.build.rows import add_host

from pinfold.core.identity import HostId
from pinfold.scheduler.index import Index
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

"""Which parts a host's orders have, on real databases: each is there as soon as it has something to read, and only then."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from msgspec import structs
from tests.build.requests import pinned
from tests.build.rows import add_guest, add_host

from pinfold.core.errors import InvalidRequest
from pinfold.core.guest_questions import About
from pinfold.core.identity import ClaimId, GuestId, HostId
from pinfold.store import guest_questions, history, host_orders, repairs, tombstones
from pinfold.store.database import Database
from pinfold.store.records import Tombstone

READERS: dict[str, Callable[[sa.Connection, HostId], Any]] = {
    "tombstones": tombstones.of_host,
    "question": history.question,
    "guest_questions": guest_questions.waiting,
    "repairs": repairs.questions,
}


def test_each_part_is_named_as_soon_as_its_reader_finds_something(database: Database) -> None:
    c1, c2 = HostId(add_host(database, "c1")), HostId(add_host(database, "c2"))
    guest = GuestId(add_guest(database, pinned(1)))
    stone = Tombstone(guest=guest, revision=2, claim=ClaimId(str(uuid.UUID(int=1))))
    changes: dict[str, Callable[[sa.Connection], object]] = {
        "tombstones": lambda connection: tombstones.bury(connection, c1, stone),
        "question": lambda connection: history.ask(connection, c1, 60),
        "guest_questions": lambda connection: guest_questions.ask(connection, c1, guest, About.CONSOLE_LOG),
        "repairs": lambda connection: repairs.ask(connection, guest, c1),
    }
    assert changes.keys() == READERS.keys()
    there: set[str] = set()
    for part, change in changes.items():
        with database.write() as connection:
            change(connection)
        there.add(part)
        assert named(database, c1) == found(database, c1) == there
        assert named(database, c2) == found(database, c2) == set()
    with database.read() as connection:
        parts = host_orders.parts(connection, c1)
    assert (parts.count, parts.pools, parts.claims) == (4, None, False)


def test_a_host_that_does_not_exist_has_no_orders(database: Database) -> None:
    with database.read() as connection, pytest.raises(InvalidRequest, match="no such host"):
        host_orders.parts(connection, HostId("none"))


def named(database: Database, host: HostId) -> set[str]:
    with database.read() as connection:
        parts = structs.asdict(host_orders.parts(connection, host))
    return {part for part in READERS if parts[part]}


def found(database: Database, host: HostId) -> set[str]:
    with database.read() as connection:
        return {part for part, read in READERS.items() if read(connection, host)}

"""The stored values when the database's clock jumps. The test moves every stored time the other way, which looks the same to a reader."""

from __future__ import annotations

import uuid

import pytest
import sqlalchemy as sa
from tests.build.requests import pinned
from tests.build.rows import add_guest, add_host

from pinfold.core.errors import Conflict
from pinfold.core.fit.answer import Fit
from pinfold.core.fit.engine import fit
from pinfold.store import claims, guests, hosts, shapes, tombstones
from pinfold.store.claim_rows import IntendedClaim
from pinfold.store.database import Database
from pinfold.store.records import ClaimState, Tombstone
from pinfold.store.schema import metadata

TERM, HOUR, YEAR = 600.0, 3600.0, 365 * 86400.0
"""A lease or a claim's term is so long that no slow commit uses up the half of it, and much shorter than the jumps that end it."""


def jump(database: Database, seconds: float) -> None:
    """Set the clock forward, or back."""
    with database.write() as connection:
        for table in metadata.tables.values():
            moved = {column.name: column - seconds for column in table.c if isinstance(column.type, sa.Double)}
            if moved:
                connection.execute(table.update().values(moved))


def is_up(database: Database, host: str) -> bool:
    with database.read() as connection:
        assert [mark.up for mark in hosts.marks(connection)] == [hosts.get(connection, host).up]
        return hosts.get(connection, host).up


def intend(database: Database, host: str, *, seconds: float) -> str:
    guest, claim = add_guest(database, pinned(2)), str(uuid.uuid4())
    with database.write() as connection:
        (found,) = hosts.ledgers(connection, (host,))
        answer = fit(pinned(2), found.state)
        assert isinstance(answer, Fit)
        intended = IntendedClaim(id=claim, guest=guest, host=host, amounts=(), fit=answer)
        claims.intend(connection, intended, seconds=seconds)
    return claim


@pytest.mark.parametrize("seconds", [HOUR, -HOUR, YEAR, -YEAR])
def test_a_host_is_down_after_a_jump_until_it_speaks_again(database: Database, seconds: float) -> None:
    host = add_host(database, "c01", lease_seconds=TERM)
    jump(database, seconds)
    assert not is_up(database, host)
    with database.write() as connection:
        hosts.heartbeat(connection, host, TERM)
    assert is_up(database, host)


@pytest.mark.parametrize("seconds", [-TERM / 2, TERM / 2])
def test_a_clock_that_is_put_right_by_less_than_a_lease_keeps_hosts_up(database: Database, seconds: float) -> None:
    host = add_host(database, "c01", lease_seconds=TERM)
    jump(database, seconds)
    assert is_up(database, host)


def test_a_host_that_died_before_the_clock_was_put_back_stays_down_when_the_clock_gets_there(database: Database) -> None:
    host, other = add_host(database, "c01", lease_seconds=TERM), add_host(database, "c02", lease_seconds=TERM)
    jump(database, -HOUR)
    with database.write() as connection:
        hosts.heartbeat(connection, other, TERM)
        assert hosts.end_leases_to_come(connection) == 1
        assert hosts.end_leases_to_come(connection) == 0
    jump(database, HOUR)
    with database.read() as connection:
        assert not hosts.get(connection, host).up


def test_an_agents_goodbye_holds_when_the_clock_is_put_back(database: Database) -> None:
    host = add_host(database, "c01", lease_seconds=TERM)
    with database.write() as connection:
        hosts.expire(connection, host)
    for _ in range(3):
        assert not is_up(database, host)
        jump(database, -TERM / 3)


@pytest.mark.parametrize(("seconds", "late"), [(HOUR, True), (-HOUR, True), (TERM / 2, False), (-TERM / 2, False)])
def test_an_intended_claim_lasts_as_long_as_its_term_and_not_as_long_as_a_jump(database: Database, seconds: float, late: bool) -> None:
    host = add_host(database, "c01")
    claim = intend(database, host, seconds=TERM)
    jump(database, seconds)
    with database.write() as connection:
        assert [found.id for found in claims.expired(connection)] == ([claim] if late else [])
        if late:
            claims.abandon(connection, claim, expired=True)
        else:
            with pytest.raises(Conflict):
                claims.abandon(connection, claim, expired=True)


@pytest.mark.parametrize("seconds", [HOUR, -HOUR])
def test_what_is_half_given_up_is_found_after_a_jump(database: Database, seconds: float) -> None:
    host = add_host(database, "c01")
    claim = intend(database, host, seconds=TERM)
    with database.write() as connection:
        claims.abandon(connection, claim, expired=False)
        assert claims.age(connection, claim) < TERM
    jump(database, seconds)
    with database.read() as connection:
        assert [found.state for found in claims.unfinished(connection)] == [ClaimState.ABANDONED]
        assert claims.age(connection, claim) == pytest.approx(HOUR, abs=TERM)


@pytest.mark.parametrize("seconds", [HOUR, -HOUR])
def test_a_guest_whose_scheduler_died_is_found_after_a_jump(database: Database, seconds: float) -> None:
    guest = add_guest(database, pinned(1))
    with database.read() as connection:
        assert guests.interrupted(connection, TERM) == ()
    jump(database, seconds)
    with database.read() as connection:
        assert [found.id for found in guests.interrupted(connection, TERM)] == [guest]


def test_a_clock_that_is_a_year_ahead_lets_no_host_forget_its_newest_tombstones(database: Database) -> None:
    host, old, new = add_host(database, "c01"), str(uuid.uuid4()), str(uuid.uuid4())
    with database.write() as connection:
        tombstones.bury(connection, host, Tombstone(guest=old, revision=1))
        for _ in range(3):
            hosts.bump(connection, host, ledger=True)
        tombstones.bury(connection, host, Tombstone(guest=new, revision=1))
        hosts.bump(connection, host, ledger=True)
    jump(database, YEAR)
    with database.write() as connection:
        tombstones.forget_old(connection, older_than_seconds=30 * 86400.0, changes=2)
        assert [stone.guest for stone in tombstones.of_host(connection, host)] == [new]


@pytest.mark.parametrize("seconds", [HOUR, -HOUR])
def test_guests_are_counted_for_the_common_shapes_again_after_a_jump(database: Database, seconds: float) -> None:
    add_guest(database, pinned(1))

    def counted() -> int:
        found = shapes.renew(
            database, seconds=TERM, count=lambda connection: shapes.counted(connection, 10), same=lambda _known, _found: False
        )
        assert found is not None
        return found.version

    assert (counted(), counted()) == (1, 1)
    jump(database, seconds)
    assert (counted(), counted()) == (2, 2)

"""Connections that are kept from one statement to the next. PostgreSQL, which alone has them."""

from __future__ import annotations

import time

import pytest
import sqlalchemy as sa

from pinfold.core.errors import Unavailable
from pinfold.store.database import Database
from pinfold.store.ready_connections import MOST_KEPT, TRUSTED_SECONDS

pytestmark = pytest.mark.parametrize("database", [pytest.param("postgresql", marks=pytest.mark.real_postgresql)], indirect=True)

SESSION = sa.select(sa.func.pg_backend_pid())


def session(database: Database) -> int:
    with database.read_once() as connection:
        return int(connection.execute(SESSION).scalar_one())


def test_statements_one_after_another_use_one_connection_and_begin_nothing(database: Database) -> None:
    begun: list[object] = []
    first = session(database)
    sa.event.listen(database.engine, "begin", begun.append)
    sa.event.listen(database.engine, "checkout", lambda *_: begun.append("from the pool"))
    assert [session(database) for _ in range(3)] == [first] * 3
    assert begun == []
    assert len(database._ready) == 1


def test_each_thread_has_its_own_and_few_are_kept(database: Database) -> None:
    taken = [database._ready.take() for _ in range(MOST_KEPT + 2)]
    assert len({connection.execute(SESSION).scalar_one() for connection in taken}) == MOST_KEPT + 2
    for connection in taken:
        database._ready.keep(connection)
    assert len(database._ready) == MOST_KEPT


def test_a_small_pool_is_left_to_transactions(database: Database) -> None:
    small = Database(database.engine.url.render_as_string(hide_password=False), pool_size=1)
    session(small)
    assert len(small._ready) == 0
    small.close()


def test_one_that_was_not_used_lately_is_checked_before_it_is_used_again(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    first = session(database)
    with database.write() as connection:
        connection.execute(sa.select(sa.func.pg_terminate_backend(first)))
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + TRUSTED_SECONDS + 0.1)
    assert session(database) != first


def test_one_whose_statement_failed_is_not_kept(database: Database) -> None:
    first = session(database)
    with database.write() as connection:
        connection.execute(sa.select(sa.func.pg_terminate_backend(first)))
    with pytest.raises(Unavailable):
        session(database)
    assert len(database._ready) == 0
    assert session(database) != first


def test_where_one_was_lost_the_others_are_not_used_again(database: Database) -> None:
    taken = [database._ready.take() for _ in range(3)]
    sessions = [connection.execute(SESSION).scalar_one() for connection in taken]
    for connection in taken:
        database._ready.keep(connection)
    with database.write() as connection:
        for one in sessions:
            connection.execute(sa.select(sa.func.pg_terminate_backend(one)))
    with pytest.raises(Unavailable):
        session(database)
    assert session(database) not in sessions


def test_after_a_statement_that_is_refused_the_connection_goes_back(database: Database) -> None:
    first = session(database)
    with pytest.raises(sa.exc.ProgrammingError), database.write_once() as connection:
        connection.execute(sa.text("SELECT nothing FROM nowhere"))
    assert len(database._ready) == 0
    assert session(database) == first


def test_what_a_connection_does_in_a_transaction_later_is_rolled_back_with_it(database: Database) -> None:
    """It was set to commit each statement; the pool sets it back."""
    session(database)
    database._ready.close()

    def write() -> None:
        with database.write() as connection:
            connection.execute(sa.text("CREATE TABLE left_over (id int)"))
            raise KeyError

    with pytest.raises(KeyError):
        write()
    with database.read() as connection:
        assert not sa.inspect(connection).has_table("left_over")

"""Questions to agents and their answers, on real databases, between two processes' connections."""

from __future__ import annotations

import threading

import pytest
from tests.build.rows import add_host

from pinfold.core.errors import InvalidRequest
from pinfold.core.history import HistoryQuestion
from pinfold.core.identity import HostId
from pinfold.store import history, host_orders
from pinfold.store.database import Database


def ask(database: Database, host: HostId, seconds: int = 60) -> int:
    with database.write() as connection:
        return history.ask(connection, host, seconds)


def pending(database: Database, host: HostId) -> HistoryQuestion | None:
    with database.read() as connection:
        return history.question(connection, host)


def answer(database: Database, host: HostId, number: int, text: str) -> None:
    with database.write() as connection:
        history.answer(connection, host, number, text)


def answered(database: Database, host: HostId, number: int) -> str | None:
    with database.read() as connection:
        return history.answered(connection, host, number)


def test_one_process_asks_and_another_keeps_the_answer(database: Database) -> None:
    host = add_host(database, "c1")
    other = Database(database.engine.url.render_as_string(hide_password=False))
    number = ask(database, host)
    assert pending(other, host) == HistoryQuestion(number=number, seconds=60)
    assert answered(database, host, number) is None
    if database.postgresql:
        told = threading.Event()
        unsubscribe = database.wakeups.subscribe(lambda topic: told.set() if topic == history.topic(host) else None)
        answer(other, host, number, "text")
        while not told.wait(1.0):  # the listener may begin after the first answer
            with other.write() as connection:
                history.answer(connection, host, number, "text")
        unsubscribe()
    else:
        answer(other, host, number, "text")
    assert answered(database, host, number) == "text"
    assert pending(database, host) is None
    other.close()


def test_a_question_that_is_as_good_is_asked_once_and_a_longer_one_anew(database: Database) -> None:
    host = add_host(database, "c1")
    with database.read() as connection:
        before = host_orders.parts(connection, host).count
    first = ask(database, host, 600)
    assert ask(database, host, 60) == ask(database, host, 600) == first
    assert ask(database, host, 3600) == first + 1
    with database.read() as connection:
        assert host_orders.parts(connection, host).count == before + 2
    assert pending(database, host) == HistoryQuestion(number=first + 1, seconds=3600)


def test_an_answer_to_a_later_question_is_one_to_an_earlier_one_and_no_answer_takes_its_place(database: Database) -> None:
    host = add_host(database, "c1")
    first, second = ask(database, host, 60), ask(database, host, 600)
    answer(database, host, second, "later")
    answer(database, host, first, "earlier")
    answer(database, host, second + 5, "to what nobody asked")
    assert answered(database, host, first) == answered(database, host, second) == "later"


def test_a_host_that_is_gone_cannot_be_asked(database: Database) -> None:
    with pytest.raises(InvalidRequest, match="no such host"):
        ask(database, HostId("00000000-0000-4000-8000-000000000000"))

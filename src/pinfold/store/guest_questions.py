"""Store questions to agents about single guests, and the answers, until whoever asked has read them.

Each question has a row. Any API process asks, and the agent's answer may reach another one. A console log may hold secrets, so what is
forgotten leaves no trace in a SQLite file.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from pinfold.core.encoding import decoder, encode
from pinfold.core.errors import InvalidRequest, Unavailable
from pinfold.core.guest_questions import About, GuestAnswer, GuestQuestion
from pinfold.core.identity import GuestId, HostId
from pinfold.store.database import EpochNow, deleting_secrets, in_term, secret_json, tell
from pinfold.store.schema import guest_question, host

VALID_SECONDS: Final = 30.0
"""For how long an agent is asked. A question that is older was left by an API process that ended, and is deleted with the next one."""
MOST_WAITING: Final = 8
"""The most questions about the guests of one host at a time."""

_read: Final = decoder(GuestAnswer)
_VALID: Final = in_term(guest_question.c.asked, guest_question.c.asked + VALID_SECONDS)
_WAITS: Final = sa.and_(guest_question.c.answer.is_(None), _VALID)
PENDING: Final = sa.exists().where(guest_question.c.host == host.c.id, _WAITS)
"""In a statement over hosts: whether the host's agent has questions to answer."""


def topic(host_id: HostId) -> str:
    """The topic of the notification that an answer of that host's agent is stored."""
    return f"answer:{host_id}"


def ask(connection: sa.Connection, host_id: HostId, guest: GuestId, about: About, *, lines: int = 0, url: str = "") -> int:
    """Ask a host's agent about a guest. Returns the number of the question.

    Raises `InvalidRequest` when there is no such host, `Unavailable` when too many questions wait for its agent.
    """
    # This locks the host's row first, so that questions about one host take turns.
    done = connection.execute(host.update().where(host.c.id == host_id).values(orders=host.c.orders + 1))
    if done.rowcount != 1:
        raise InvalidRequest(f"host {host_id}: no such host")
    of_host = guest_question.c.host == host_id
    with deleting_secrets(connection):
        connection.execute(guest_question.delete().where(of_host, ~_VALID))
    waiting = connection.execute(sa.select(sa.func.count()).where(of_host)).scalar_one()
    if waiting >= MOST_WAITING:
        raise Unavailable(f"{waiting} questions wait for the agent of the server's host, and no more may: try again in a moment")
    values = {"host": host_id, "guest": guest, "about": about.value, "lines": lines, "url": url, "asked": EpochNow()}
    number = connection.execute(guest_question.insert().values(**values).returning(guest_question.c.number)).scalar_one()
    tell(connection, f"host:{host_id}")
    return int(number)


def waiting(connection: sa.Connection, host_id: HostId) -> tuple[GuestQuestion, ...]:
    """The questions that a host's agent has to answer, oldest first."""
    chosen = sa.select(guest_question).where(guest_question.c.host == host_id, _WAITS)
    rows = connection.execute(chosen.order_by(guest_question.c.number))
    return tuple(
        GuestQuestion(number=row.number, guest=GuestId(row.guest), about=About(row.about), lines=row.lines, url=row.url) for row in rows
    )


def answer(connection: sa.Connection, host_id: HostId, given: GuestAnswer) -> None:
    """Keep an agent's answer to a question about its own host. One that has an answer already, or that is forgotten, stays as it is."""
    chosen = sa.and_(guest_question.c.host == host_id, guest_question.c.number == given.number, guest_question.c.answer.is_(None))
    if connection.execute(guest_question.update().where(chosen).values(answer=secret_json(connection, encode(given)))).rowcount:
        tell(connection, topic(host_id))


def answered(connection: sa.Connection, number: int) -> GuestAnswer | None:
    """The answer to that question, None if there is none yet."""
    text = connection.execute(sa.select(guest_question.c.answer).where(guest_question.c.number == number)).scalar_one_or_none()
    return None if text is None else _read(text, f"the answer to question {number}")


def forget(connection: sa.Connection, number: int) -> None:
    """Delete a question and its answer."""
    with deleting_secrets(connection):
        connection.execute(guest_question.delete().where(guest_question.c.number == number))

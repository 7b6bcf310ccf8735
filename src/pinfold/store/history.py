"""Store questions to agents about the last hour of their hosts, and the answers: any API process asks, and any other hears the agent.

A host has one row, with its last question and its last answer.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import sqlalchemy as sa

from pinfold.core.errors import InvalidRequest
from pinfold.core.history import HistoryQuestion
from pinfold.core.identity import HostId
from pinfold.store.database import EpochNow, in_term, tell
from pinfold.store.schema import host, host_history

VALID_SECONDS: Final = 30.0
"""For how long an agent is asked. Nobody waits for an answer that long."""
FRESH_SECONDS: Final = 5.0
"""Questions within this time get one answer."""

_PENDING: Final = sa.and_(
    host_history.c.answered < host_history.c.number, in_term(host_history.c.asked, host_history.c.asked + VALID_SECONDS)
)
PENDING: Final = sa.exists().where(host_history.c.host == host.c.id, _PENDING)
"""In a statement over hosts: whether the host's agent has a question to answer."""


def topic(host_id: HostId) -> str:
    """The topic of the notification that an answer is stored."""
    return f"history:{host_id}"


def ask(connection: sa.Connection, host_id: HostId, seconds: int) -> int:
    """Ask a host's agent for its samples. Returns the number of the question, an earlier one if that is as good and was asked just now.

    Raises `InvalidRequest` when there is no such host.
    """
    # This locks the host's row first, so that two questions about one host take turns.
    done = connection.execute(host.update().where(host.c.id == host_id).values(orders=host.c.orders))
    if done.rowcount != 1:
        raise InvalidRequest(f"host {host_id}: no such host")
    fresh = in_term(host_history.c.asked, host_history.c.asked + FRESH_SECONDS).label("fresh")
    chosen = sa.select(host_history.c.number, host_history.c.seconds, fresh).where(host_history.c.host == host_id)
    known = connection.execute(chosen).first()
    if known is not None and known.fresh and known.seconds >= seconds:
        return int(known.number)
    number = 1 if known is None else int(known.number) + 1
    values = {"number": number, "seconds": seconds, "asked": EpochNow()}
    if known is None:
        connection.execute(host_history.insert().values(host=host_id, answered=0, answer="", **values))
    else:
        connection.execute(host_history.update().where(host_history.c.host == host_id).values(**values))
    connection.execute(host.update().where(host.c.id == host_id).values(orders=host.c.orders + 1))
    tell(connection, f"host:{host_id}")
    return number


def question(connection: sa.Connection, host_id: HostId) -> HistoryQuestion | None:
    """The question that a host's agent has to answer, None for none."""
    chosen = sa.select(host_history.c.number, host_history.c.seconds).where(host_history.c.host == host_id, _PENDING)
    row = connection.execute(chosen).first()
    return None if row is None else HistoryQuestion(number=row.number, seconds=row.seconds)


def answer(connection: sa.Connection, host_id: HostId, number: int, text: str) -> None:
    """Keep an agent's answer, unless a later question has one, or nobody asked."""
    chosen = sa.and_(host_history.c.host == host_id, host_history.c.answered < number, host_history.c.number >= number)
    connection.execute(host_history.update().where(chosen).values(answered=number, answer=text))
    tell(connection, topic(host_id))


def answered(connection: sa.Connection, host_id: HostId, number: int) -> str | None:
    """The answer to that question or a later one, None if there is none yet."""
    chosen = sa.select(host_history.c.answer).where(host_history.c.host == host_id, host_history.c.answered >= number)
    found: str | None = connection.execute(chosen).scalar_one_or_none()
    return found


def due(connection: sa.Connection, hosts: Iterable[HostId], seconds: int, every_seconds: float) -> tuple[HostId, ...]:
    """Those of the hosts whose agents were not asked for the last `seconds` within `every_seconds`."""
    wanted = tuple(hosts)
    recent = sa.and_(host_history.c.seconds >= seconds, in_term(host_history.c.asked, host_history.c.asked + every_seconds))
    asked = set(connection.execute(sa.select(host_history.c.host).where(host_history.c.host.in_(wanted), recent)).scalars())
    return tuple(one for one in wanted if one not in asked)


def answers(connection: sa.Connection, hosts: Iterable[HostId], seconds: int) -> dict[HostId, int]:
    """The number of the last question to each of these hosts, if it went back so far, is answered, and was asked within a minute."""
    valid = sa.and_(
        host_history.c.answered == host_history.c.number,
        host_history.c.seconds >= seconds,
        in_term(host_history.c.asked, host_history.c.asked + 2 * VALID_SECONDS),
    )
    rows = connection.execute(sa.select(host_history.c.host, host_history.c.number).where(host_history.c.host.in_(tuple(hosts)), valid))
    return {HostId(row[0]): int(row[1]) for row in rows}


def forget(connection: sa.Connection, host_id: HostId) -> None:
    """Delete a host's question and answer."""
    connection.execute(host_history.delete().where(host_history.c.host == host_id))

"""Store what operators ask agents to repair, and the answers: any API process asks, and any other hears the agent.

A guest has one row, with its last question and its last answer.
"""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa
from msgspec import Struct

from pinfold.core.errors import InvalidRequest
from pinfold.core.identity import GuestId, HostId
from pinfold.core.repair_question import RepairAnswer, RepairQuestion, RepairResult
from pinfold.store.database import EpochNow, in_term, tell
from pinfold.store.schema import guest_repair, host

VALID_SECONDS: Final = 30.0
"""For how long an agent is asked. A repair is not to begin long after it was asked for."""
SHOWN_SECONDS: Final = 3600.0
"""For how long an answer is shown."""

_OPEN: Final = guest_repair.c.answered < guest_repair.c.number
_PENDING: Final = sa.and_(_OPEN, in_term(guest_repair.c.asked, guest_repair.c.asked + VALID_SECONDS))
PENDING: Final = sa.exists().where(guest_repair.c.host == host.c.id, _PENDING)
"""In a statement over hosts: whether the host's agent has anything to repair."""


class RepairRecord(Struct, frozen=True, kw_only=True):
    """The last repair that was asked of a guest's agent, and when. `result` is None without an answer; `waits`: there may still be one."""

    guest: GuestId
    number: int
    asked: float
    waits: bool
    result: RepairResult | None = None
    sentence: str = ""


def ask(connection: sa.Connection, guest_id: GuestId, host_id: HostId) -> int:
    """Ask a host's agent to repair a guest. Returns the number of the question; one that waits for its answer is not asked again.

    Raises `InvalidRequest` when there is no such host.
    """
    # This locks the host's row first, so that two questions about one guest take turns.
    done = connection.execute(host.update().where(host.c.id == host_id).values(orders=host.c.orders + 1))
    if done.rowcount != 1:
        raise InvalidRequest(f"host {host_id}: no such host")
    chosen = sa.select(guest_repair.c.number, sa.and_(_PENDING, guest_repair.c.host == host_id).label("pending"))
    known = connection.execute(chosen.where(guest_repair.c.guest == guest_id)).first()
    if known is not None and known.pending:
        return int(known.number)
    number = 1 if known is None else int(known.number) + 1
    values = {"host": host_id, "number": number, "asked": EpochNow()}
    if known is None:
        connection.execute(guest_repair.insert().values(guest=guest_id, answered=0, result="", sentence="", **values))
    else:
        connection.execute(guest_repair.update().where(guest_repair.c.guest == guest_id).values(**values))
    tell(connection, f"host:{host_id}")
    return number


def questions(connection: sa.Connection, host_id: HostId) -> tuple[RepairQuestion, ...]:
    """What a host's agent is to repair, by guest."""
    chosen = sa.select(guest_repair.c.guest, guest_repair.c.number).where(guest_repair.c.host == host_id, _PENDING)
    rows = connection.execute(chosen.order_by(guest_repair.c.guest))
    return tuple(RepairQuestion(guest=GuestId(row.guest), number=row.number) for row in rows)


def answer(connection: sa.Connection, host_id: HostId, guest_id: GuestId, told: RepairAnswer) -> None:
    """Keep an agent's answer, unless a later question has one, or nobody asked this host's agent."""
    mine = sa.and_(guest_repair.c.guest == guest_id, guest_repair.c.host == host_id)
    chosen = sa.and_(mine, guest_repair.c.answered < told.number, guest_repair.c.number >= told.number)
    values = {"answered": told.number, "result": told.result.value, "sentence": told.sentence}
    connection.execute(guest_repair.update().where(chosen).values(**values))


def of_guest(connection: sa.Connection, guest_id: GuestId) -> RepairRecord | None:
    """The last repair of a guest, None for none of late."""
    return next(iter(_records(connection, guest_repair.c.guest == guest_id)), None)


def of_host(connection: sa.Connection, host_id: HostId) -> tuple[RepairRecord, ...]:
    """The last repairs of a host's guests of late, by guest."""
    return _records(connection, guest_repair.c.host == host_id)


def forget(connection: sa.Connection, host_id: HostId) -> None:
    """Delete the questions to a host's agent."""
    connection.execute(guest_repair.delete().where(guest_repair.c.host == host_id))


def _records(connection: sa.Connection, condition: sa.ColumnElement[bool]) -> tuple[RepairRecord, ...]:
    late = in_term(guest_repair.c.asked, guest_repair.c.asked + SHOWN_SECONDS)
    chosen = sa.select(guest_repair, _PENDING.label("pending")).where(condition, late).order_by(guest_repair.c.guest)
    return tuple(_record(row) for row in connection.execute(chosen).mappings())


def _record(row: sa.RowMapping) -> RepairRecord:
    told: dict[str, Any] = {"result": RepairResult(row["result"]), "sentence": row["sentence"]} if row["answered"] == row["number"] else {}
    return RepairRecord(guest=GuestId(row["guest"]), number=row["number"], asked=row["asked"], waits=bool(row["pending"]), **told)

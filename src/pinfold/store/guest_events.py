"""Store what was asked of guests, by whom, and what came of it. An event that nobody has ended is under way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import sqlalchemy as sa

from pinfold.core.identity import GuestId
from pinfold.store.database import EpochNow
from pinfold.store.records import EventRecord, Requester
from pinfold.store.schema import guest, guest_event, host, port

MOST_FAILURE: Final = 1000
"""The most characters of a failure that are kept."""
MOST_KEPT: Final = 200
"""How many events of one guest are kept, the newest ones."""

# Built once: every create stores an event.
_THERE: Final = sa.select(host.c.name).join(guest, guest.c.host == host.c.id).where(guest.c.id == sa.bindparam("of")).scalar_subquery()
AT_FIRST: Final[Mapping[str, Any]] = {"host": "", "failure": "", "began": EpochNow()}
"""The columns of a new event that are the same for each guest without a host."""
_BEGIN: Final = guest_event.insert().values({**AT_FIRST, "host": sa.func.coalesce(_THERE, "")}).returning(guest_event.c.number)
_BEGIN_ALL: Final = guest_event.insert().values(AT_FIRST)


def begin(connection: sa.Connection, guest_id: GuestId, action: str, by: Requester) -> int:
    """Keep that an action was asked of a guest, at this moment, on the host that it is on. Returns the event's number."""
    return int(connection.execute(_BEGIN, {**columns(guest_id, action, by), "of": guest_id}).scalar_one())


def begin_all(connection: sa.Connection, asked: Iterable[tuple[GuestId, Requester]], action: str) -> None:
    """Keep that an action was asked of each of several guests without a host, at this moment, in one statement."""
    rows = [columns(guest_id, action, by) for guest_id, by in asked]
    if rows:
        connection.execute(_BEGIN_ALL, rows)


def columns(guest_id: GuestId, action: str, by: Requester) -> dict[str, Any]:
    """The columns of a new event that depend on it."""
    return {"guest": guest_id, "request": by.request, "action": action, "account": by.account, "project": by.project}


def end(connection: sa.Connection, guest_id: GuestId, failure: str = "") -> None:
    """End the events of a guest that are under way, except those of its ports; `failure` says why they failed, '' if they did not. Forget
    the oldest of too many.
    """
    of_ports = sa.select(port.c.event).where(port.c.guest == guest_id, port.c.event.is_not(None))
    under_way = (guest_event.c.guest == guest_id, guest_event.c.ended.is_(None), guest_event.c.number.not_in(of_ports))
    connection.execute(guest_event.update().where(*under_way).values(ended=EpochNow(), failure=failure[:MOST_FAILURE]))
    numbers = sa.select(guest_event.c.number).where(guest_event.c.guest == guest_id).order_by(guest_event.c.number.desc())
    oldest = numbers.offset(MOST_KEPT).limit(1).scalar_subquery()
    connection.execute(guest_event.delete().where(guest_event.c.guest == guest_id, guest_event.c.number <= oldest))


def finish(connection: sa.Connection, number: int, failure: str = "") -> None:
    """End one event, as `end`. One that has ended, or that is forgotten, stays as it is."""
    chosen = (guest_event.c.number == number, guest_event.c.ended.is_(None))
    connection.execute(guest_event.update().where(*chosen).values(ended=EpochNow(), failure=failure[:MOST_FAILURE]))


def forget(connection: sa.Connection, number: int) -> None:
    """Forget an event: what was asked was refused."""
    connection.execute(guest_event.delete().where(guest_event.c.number == number))


def find(connection: sa.Connection, number: int) -> EventRecord | None:
    """The event of that number, or None."""
    row = connection.execute(sa.select(guest_event).where(guest_event.c.number == number)).mappings().first()
    return None if row is None else EventRecord(**row)


def of_guest(connection: sa.Connection, guest_id: GuestId) -> tuple[EventRecord, ...]:
    """The events of a guest, newest first."""
    chosen = sa.select(guest_event).where(guest_event.c.guest == guest_id).order_by(guest_event.c.number.desc())
    return tuple(EventRecord(**row) for row in connection.execute(chosen).mappings())

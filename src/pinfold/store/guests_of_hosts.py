"""What listings of hosts show of their guests, read for many hosts in one statement. `guests` reads guests themselves."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import sqlalchemy as sa
from msgspec import Struct

from pinfold.core.identity import GuestId, HostId
from pinfold.store.records import Observed
from pinfold.store.schema import guest


class Activity(Struct, frozen=True, kw_only=True):
    """How many guests of a host its agent last saw running, and on how many something is under way."""

    running: int = 0
    busy: int = 0


IDLE: Final = Activity()
"""The activity of a host without guests."""
_PLACED: Final = sa.and_(guest.c.host.is_not(None), guest.c.deleted.is_(None))
_COUNTS: Final = (
    sa.select(
        guest.c.host,
        sa.func.sum(sa.case((guest.c.observed == Observed.RUNNING.value, 1), else_=0)),
        sa.func.sum(sa.case((guest.c.task != "", 1), else_=0)),
    )
    .where(_PLACED)
    .group_by(guest.c.host)
)


def activity(connection: sa.Connection, hosts: Iterable[HostId] | None = None) -> dict[HostId, Activity]:
    """The activity of each of those hosts (all of them for None) that has guests."""
    query = _COUNTS if hosts is None else _COUNTS.where(guest.c.host.in_(sorted(set(hosts))))
    return {host: Activity(running=int(running), busy=int(busy)) for host, running, busy in connection.execute(query)}


def ids(connection: sa.Connection, hosts: Iterable[HostId]) -> dict[HostId, tuple[GuestId, ...]]:
    """The guests on each of those hosts that has some, newest first."""
    query = sa.select(guest.c.host, guest.c.id).where(_PLACED, guest.c.host.in_(sorted(set(hosts))))
    found: dict[HostId, list[GuestId]] = {}
    for host, guest_id in connection.execute(query.order_by(guest.c.created.desc(), guest.c.id.desc())):
        found.setdefault(host, []).append(guest_id)
    return {host: tuple(there) for host, there in found.items()}

"""Store tombstones: notes of a host about guests that are gone from it, so that an order that comes late does not start them."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from pinfold.core.identity import ClaimId, HostId
from pinfold.store.database import EpochNow
from pinfold.store.records import Tombstone
from pinfold.store.schema import host, tombstone

ANY: Final = sa.exists().where(tombstone.c.host == host.c.id)
"""In a statement over hosts: whether the host has any."""


def bury(connection: sa.Connection, host_id: HostId, stone: Tombstone) -> None:
    """Store a tombstone of that host."""
    key = {"host": host_id, "guest": stone.guest, "claim": stone.claim or ""}
    known = sa.and_(*(tombstone.c[name] == value for name, value in key.items()))
    now = sa.select(host.c.revision).where(host.c.id == host_id).scalar_subquery()
    values = {"revision": stone.revision, "buried": now, "created": EpochNow()}
    changed = connection.execute(tombstone.update().where(known).values(**values))
    if not changed.rowcount:
        connection.execute(tombstone.insert().values(**key, **values))


def of_host(connection: sa.Connection, host_id: HostId) -> tuple[Tombstone, ...]:
    """The tombstones of the host, ordered by guest id and claim id."""
    order = (tombstone.c.guest, tombstone.c.claim)
    rows = connection.execute(sa.select(tombstone).where(tombstone.c.host == host_id).order_by(*order)).mappings()
    return tuple(Tombstone(guest=row["guest"], revision=row["revision"], claim=ClaimId(row["claim"]) or None) for row in rows)


def forget(connection: sa.Connection, host_id: HostId) -> None:
    """Delete the tombstones of a host that is removed."""
    connection.execute(tombstone.delete().where(tombstone.c.host == host_id))


def forget_old(connection: sa.Connection, *, older_than_seconds: float, changes: int) -> None:
    """Delete tombstones that are older than that and that so many changes of their host's ledger have followed.

    The clock alone does not decide: a jump ahead would let a host that was away return with guests that nobody knows. While a host is away
    its ledger changes only by releases, so the newest `changes` tombstones are all that it can need.
    """
    newest = sa.select(host.c.revision).where(host.c.id == tombstone.c.host).scalar_subquery()
    old = tombstone.c.created < EpochNow() - older_than_seconds
    connection.execute(tombstone.delete().where(old, tombstone.c.buried < newest - changes))

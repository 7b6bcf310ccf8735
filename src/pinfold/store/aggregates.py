"""Store aggregates: named sets of hosts with metadata. `service.providers` copies them to Placement."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import sqlalchemy as sa

from pinfold.core.encoding import decoder, encode
from pinfold.core.errors import Conflict, InvalidRequest
from pinfold.core.identity import HostId
from pinfold.store.database import EpochNow, tell
from pinfold.store.records import AggregateRecord, Pairs
from pinfold.store.schema import aggregate, aggregate_host

_read_pairs = decoder(Pairs)


def hold(connection: sa.Connection) -> None:
    """Lock all aggregates until this transaction ends, because rules such as "one zone a host" span them all.

    SQLite has only one writer anyway; on PostgreSQL readers are not blocked.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text(f"LOCK TABLE {aggregate.name} IN SHARE ROW EXCLUSIVE MODE"))


def create(connection: sa.Connection, *, uuid: str, name: str, metadata: Pairs = ()) -> AggregateRecord:
    """Store a new aggregate without hosts. Raises `Conflict` when the name or the uuid exists."""
    taken = connection.execute(sa.select(aggregate.c.id).where(sa.or_(aggregate.c.name == name, aggregate.c.uuid == uuid))).first()
    if taken is not None:
        raise Conflict(f"aggregate {name!r} exists already")
    values = {"uuid": uuid, "name": name, "properties": encode(metadata), "created": EpochNow(), "updated": EpochNow()}
    try:
        aggregate_id = connection.execute(aggregate.insert().values(values).returning(aggregate.c.id)).scalar_one()
    except sa.exc.IntegrityError as error:
        raise Conflict(f"aggregate {name!r} exists already") from error
    return get(connection, int(aggregate_id))


def get(connection: sa.Connection, aggregate_id: int) -> AggregateRecord:
    """One aggregate. Raises `InvalidRequest` when there is none."""
    found = _select(connection, aggregate.c.id == aggregate_id)
    if not found:
        raise InvalidRequest(f"aggregate {aggregate_id}: no such aggregate")
    return found[0]


def find(connection: sa.Connection, aggregate_id: int) -> AggregateRecord | None:
    """One aggregate, or None."""
    found = _select(connection, aggregate.c.id == aggregate_id)
    return found[0] if found else None


def all(connection: sa.Connection) -> tuple[AggregateRecord, ...]:  # noqa: A001
    """Every aggregate, ordered by id."""
    return _select(connection, sa.true())


def edit(connection: sa.Connection, aggregate_id: int, *, name: str | None = None, metadata: Pairs | None = None) -> AggregateRecord:
    """Change the name, or replace the whole metadata; None leaves it unchanged. Raises `Conflict` when the name is taken."""
    values: dict[str, Any] = {"updated": EpochNow()}
    if name is not None:
        if (
            connection.execute(sa.select(aggregate.c.id).where(aggregate.c.name == name, aggregate.c.id != aggregate_id)).first()
            is not None
        ):
            raise Conflict(f"aggregate {name!r} exists already")
        values["name"] = name
    if metadata is not None:
        values["properties"] = encode(metadata)
    connection.execute(aggregate.update().where(aggregate.c.id == aggregate_id).values(values))
    return get(connection, aggregate_id)


def remove(connection: sa.Connection, aggregate_id: int) -> None:
    """Delete an aggregate without hosts. Raises `Conflict` when it has hosts, `InvalidRequest` when it is unknown."""
    if get(connection, aggregate_id).hosts:
        raise Conflict(f"aggregate {aggregate_id} is not empty")
    connection.execute(aggregate.delete().where(aggregate.c.id == aggregate_id))


def add_host(connection: sa.Connection, aggregate_id: int, host: HostId) -> AggregateRecord:
    """Add a host (by id). Raises `Conflict` when it is a member already, `InvalidRequest` when host or aggregate is unknown."""
    if host in get(connection, aggregate_id).hosts:
        raise Conflict(f"aggregate {aggregate_id} has the host {host} already")
    try:
        connection.execute(aggregate_host.insert().values(aggregate=aggregate_id, host=host))
    except sa.exc.IntegrityError as error:
        raise InvalidRequest(f"host {host}: no such host") from error
    return _touch(connection, aggregate_id, host)


def remove_host(connection: sa.Connection, aggregate_id: int, host: HostId) -> AggregateRecord:
    """Remove a host. Raises `InvalidRequest` when it is not a member."""
    member = sa.and_(aggregate_host.c.aggregate == aggregate_id, aggregate_host.c.host == host)
    if connection.execute(aggregate_host.delete().where(member)).rowcount != 1:
        raise InvalidRequest(f"aggregate {aggregate_id} does not have the host {host}")
    return _touch(connection, aggregate_id, host)


def _touch(connection: sa.Connection, aggregate_id: int, host: HostId) -> AggregateRecord:
    connection.execute(aggregate.update().where(aggregate.c.id == aggregate_id).values(updated=EpochNow()))
    tell(connection, f"aggregate:{host}")
    return get(connection, aggregate_id)


def _select(connection: sa.Connection, condition: Any) -> tuple[AggregateRecord, ...]:
    rows = list(connection.execute(sa.select(aggregate).where(condition).order_by(aggregate.c.id)).mappings())
    members: dict[int, list[HostId]] = defaultdict(list)
    for row in connection.execute(sa.select(aggregate_host).where(aggregate_host.c.aggregate.in_([row["id"] for row in rows]))):
        members[row[0]].append(row[1])
    return tuple(
        AggregateRecord(
            id=row["id"],
            uuid=row["uuid"],
            name=row["name"],
            hosts=tuple(sorted(members[row["id"]])),
            metadata=_read_pairs(row["properties"], f"aggregate {row['id']}"),
            created=row["created"],
            updated=row["updated"],
        )
        for row in rows
    )

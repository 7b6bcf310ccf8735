"""Hosts without guests, with Placement's rows copied from those of a host that is there: to register 10,000 of them takes many minutes."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any, Final

import sqlalchemy as sa

from pinfold.core.identity import HostId
from pinfold.store import hosts
from pinfold.store.database import Database

_LEASE_SECONDS: Final = 86400


def add(database_url: str, placement_url: str, count: int) -> None:
    """Add so many hosts like the first one, up for a day, to both databases."""
    added = [(HostId(str(uuid.uuid4())), f"copy-{number:05}") for number in range(count)]
    database = Database(database_url)
    try:
        with database.write() as connection:
            pattern = hosts.all(connection)[0]
            for host, name in added:
                hosts.register(connection, host_id=host, name=name, report=pattern.report, token_hash="", lease_seconds=_LEASE_SECONDS)
    finally:
        database.close()
    _add_providers(placement_url, pattern.id, added)


def _add_providers(url: str, pattern: HostId, added: Sequence[tuple[HostId, str]]) -> None:
    engine = sa.create_engine(url, poolclass=sa.pool.NullPool)
    tables = sa.MetaData()
    tables.reflect(engine, only=["resource_providers", "inventories", "resource_provider_traits"])
    provider = tables.tables["resource_providers"]
    with engine.begin() as connection:
        first = _rows(connection, provider, provider.c.uuid == pattern)[0]
        alike = {**first, "root_provider_id": None}
        del alike["id"]
        connection.execute(provider.insert(), [{**alike, "uuid": host, "name": name} for host, name in added])
        connection.execute(provider.update().where(provider.c.root_provider_id.is_(None)).values(root_provider_id=provider.c.id))
        copies = connection.execute(sa.select(provider.c.id).where(provider.c.name.like("copy-%"))).scalars().all()
        for name in ("inventories", "resource_provider_traits"):
            table = tables.tables[name]
            rows = _rows(connection, table, table.c.resource_provider_id == first["id"])
            for row in rows:
                row.pop("id", None)
            connection.execute(table.insert(), [{**row, "resource_provider_id": copy} for copy in copies for row in rows])


def _rows(connection: sa.Connection, table: sa.Table, condition: sa.ColumnElement[bool]) -> list[dict[str, Any]]:
    return [dict(row) for row in connection.execute(table.select().where(condition)).mappings()]

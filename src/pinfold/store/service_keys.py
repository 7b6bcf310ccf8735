"""Keys that all processes of the service share. Each is made at its first use and stays until its row is deleted."""

from __future__ import annotations

import secrets

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from pinfold.store.schema import service_key


def shared_key(connection: sa.Connection, name: str) -> bytes:
    """The key of that name: 32 random bytes. Of several processes that make it at once, one wins, and all return the same."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    made = dialect.insert(service_key).values(name=name, value=secrets.token_hex(32))
    connection.execute(made.on_conflict_do_nothing(index_elements=["name"]))
    return bytes.fromhex(connection.execute(sa.select(service_key.c.value).where(service_key.c.name == name)).scalar_one())

"""Store key pairs: the public keys of accounts. Private keys are never stored."""

from __future__ import annotations

import sqlalchemy as sa

from pinfold.core.errors import Conflict
from pinfold.store.database import EpochNow
from pinfold.store.records import KeyPairRecord
from pinfold.store.schema import key_pair


def create(connection: sa.Connection, *, account: str, name: str, public_key: str, fingerprint: str) -> KeyPairRecord:
    """Store a key pair. Raises `Conflict` when the account has one of that name."""
    values = {"account": account, "name": name, "public_key": public_key, "fingerprint": fingerprint, "created": EpochNow()}
    try:
        row = connection.execute(key_pair.insert().values(values).returning(key_pair)).mappings().one()
    except sa.exc.IntegrityError as error:
        raise Conflict(f"Key pair '{name}' already exists.") from error
    return KeyPairRecord(**row)


def of_account(connection: sa.Connection, account: str) -> tuple[KeyPairRecord, ...]:
    """The key pairs of an account, ordered by name."""
    rows = connection.execute(sa.select(key_pair).where(key_pair.c.account == account)).mappings()
    return tuple(sorted((KeyPairRecord(**row) for row in rows), key=lambda record: record.name))


def find(connection: sa.Connection, account: str, name: str) -> KeyPairRecord | None:
    """The key pair of that name, or None."""
    chosen = sa.select(key_pair).where(key_pair.c.account == account, key_pair.c.name == name)
    row = connection.execute(chosen).mappings().first()
    return None if row is None else KeyPairRecord(**row)


def remove(connection: sa.Connection, account: str, name: str) -> bool:
    """Delete a key pair; servers keep their copy of the key. Returns whether it existed."""
    return connection.execute(key_pair.delete().where(key_pair.c.account == account, key_pair.c.name == name)).rowcount == 1

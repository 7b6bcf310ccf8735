"""Store what guests are given on their config drives, until the drives are made.

A configuration that is forgotten is overwritten in a SQLite file.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import sqlalchemy as sa

from pinfold.core.config_drive import GuestConfig
from pinfold.core.encoding import decoder, encode
from pinfold.core.identity import GuestId
from pinfold.store.database import deleting_secrets, secret_json
from pinfold.store.schema import guest_config

_read: Final = decoder(GuestConfig)
_KEEP_ALL: Final = guest_config.insert()


def keep(connection: sa.Connection, guest_id: GuestId, config: GuestConfig) -> None:
    """Store the configuration of a new guest, or of one without any."""
    keep_all(connection, ((guest_id, config),))


def keep_all(connection: sa.Connection, configs: Iterable[tuple[GuestId, GuestConfig]]) -> None:
    """Store the configuration of each of several guests without any, in one statement."""
    rows = [{"guest": guest_id, "value": secret_json(connection, encode(config))} for guest_id, config in configs]
    if rows:
        connection.execute(_KEEP_ALL, rows)


def find(connection: sa.Connection, guest_id: GuestId) -> GuestConfig | None:
    """The configuration of a guest whose drive is still to be made; None if it has none, or if its drive is made."""
    text = connection.execute(sa.select(guest_config.c.value).where(guest_config.c.guest == guest_id)).scalar_one_or_none()
    return None if text is None else _read(text, f"the configuration of guest {guest_id}")


def forget(connection: sa.Connection, guest_id: GuestId) -> None:
    """Delete a guest's configuration, if it is kept."""
    with deleting_secrets(connection):
        connection.execute(guest_config.delete().where(guest_config.c.guest == guest_id))

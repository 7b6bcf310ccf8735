"""Store the tokens that open servers' consoles: only their digests, for ten minutes, each for one server."""

from __future__ import annotations

import hashlib
from typing import Final

import sqlalchemy as sa
from msgspec import Struct

from pinfold.core.identity import GuestId
from pinfold.store.database import EpochNow, in_term
from pinfold.store.schema import console_token, guest

VALID_SECONDS: Final = 600.0
MOST_OF_A_GUEST: Final = 16
"""The most valid tokens of one guest. A new one replaces the oldest."""

_VALID: Final = in_term(console_token.c.made, console_token.c.made + VALID_SECONDS)


class ConsoleToken(Struct, frozen=True, kw_only=True):
    """What a valid token opens: the console of a guest, for the account that asked for the token."""

    guest: GuestId
    account: str


def digest_of(token: str) -> str:
    """The stored digest of a token. A token has 256 random bits, so one round of SHA-256 is enough."""
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def keep(connection: sa.Connection, digest: str, guest_id: GuestId, account: str) -> None:
    """Store a new token, valid from now on. Tokens of all guests that have expired are deleted."""
    # This locks the guest's row, so that tokens of one guest are made one after another.
    connection.execute(guest.update().where(guest.c.id == guest_id).values(id=guest_id))
    connection.execute(console_token.delete().where(~_VALID))
    of_guest = console_token.c.guest == guest_id
    oldest_first = sa.select(console_token.c.digest).where(of_guest).order_by(console_token.c.made.desc(), console_token.c.digest)
    surplus = connection.execute(oldest_first.offset(MOST_OF_A_GUEST - 1)).scalars().all()
    if surplus:
        connection.execute(console_token.delete().where(console_token.c.digest.in_(surplus)))
    connection.execute(console_token.insert().values(digest=digest, guest=guest_id, account=account, made=EpochNow()))


def find(connection: sa.Connection, digest: str) -> ConsoleToken | None:
    """What the token with that digest opens; None for one that is unknown or has expired, or whose server is deleted."""
    chosen = sa.select(console_token.c.guest, console_token.c.account).where(console_token.c.digest == digest, _VALID)
    row = connection.execute(chosen).one_or_none()
    return None if row is None else ConsoleToken(guest=GuestId(row.guest), account=row.account)


def forget(connection: sa.Connection, guest_id: GuestId) -> None:
    """Delete the tokens of a guest."""
    connection.execute(console_token.delete().where(console_token.c.guest == guest_id))

"""`Consoles`: the tokens that open servers' consoles."""

from __future__ import annotations

import secrets

from pinfold.core.identity import GuestId
from pinfold.store import console_tokens, guests
from pinfold.store.console_tokens import ConsoleToken
from pinfold.store.database import Database
from pinfold.store.records import GuestRecord


class Consoles:
    """Tokens of consoles. Safe to share between threads; any number of processes may use one on the same database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def token(self, guest: GuestId, account: str) -> str:
        """A new token for a guest's console, valid for ten minutes. It is told once; the store has its digest."""
        made = secrets.token_urlsafe(32)
        with self._database.write() as connection:
            console_tokens.keep(connection, console_tokens.digest_of(made), guest, account)
        return made

    def opened(self, token: str) -> tuple[ConsoleToken, GuestRecord] | None:
        """What a token opens, with the guest; None for a token that is unknown or has expired, or whose guest is deleted."""
        with self._database.read() as connection:
            known = console_tokens.find(connection, console_tokens.digest_of(token))
            found = None if known is None else guests.find(connection, known.guest)
        return None if known is None or found is None or found.deleted is not None else (known, found)

"""`Quotas`: show and change how much each project may have. `guests.lifecycle` refuses what would exceed it."""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa
from msgspec.structs import replace

from pinfold.core.errors import InvalidRequest, LimitReached
from pinfold.core.quota import NOVA_NAMES, Amount, Quota, refusal
from pinfold.store import quotas
from pinfold.store.database import Database


class Quotas:
    """The quotas of projects. Safe to share between threads."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, project: str) -> tuple[Quota, Amount]:
        """The quota of a project, and what it has."""
        with self._database.read() as connection:
            return quotas.find(connection, project), quotas.used(connection, project)

    def change(self, project: str, limits: Mapping[str, int], *, force: bool) -> Quota:
        """Change some limits of a project. Raises `InvalidRequest` for a limit below what it has, unless forced."""
        with self._database.write() as connection:
            changed = replace(quotas.hold(connection, project), **limits)
            has = quotas.used(connection, project)
            for name, limit in limits.items():
                if not force and 0 <= limit < getattr(has, name):
                    least = f"greater than or equal to already used and reserved {getattr(has, name)}"
                    raise InvalidRequest(f"Quota limit {limit} for {NOVA_NAMES[name]} must be {least}.", key=NOVA_NAMES[name])
            quotas.keep(connection, project, changed)
        return changed

    def reset(self, project: str) -> None:
        """Remove the limits of a project."""
        with self._database.write() as connection:
            quotas.forget(connection, project)


def refuse_excess(connection: sa.Connection, project: str, more: Amount) -> None:
    """Raise `LimitReached` if a project would have too much with more, in the transaction that stores it."""
    limits = quotas.hold(connection, project)
    if limits != Quota() and (sentence := refusal(limits, quotas.used(connection, project), more)):
        raise LimitReached(sentence)

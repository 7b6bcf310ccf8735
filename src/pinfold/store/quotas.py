"""Store the quotas of projects, and count what a project has. A project without a row has no limits."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from pinfold.core.encoding import decoder
from pinfold.core.quota import RESOURCES, Amount, Quota, amount_of
from pinfold.core.request.model import GuestRequest
from pinfold.store.schema import guest, quota

_read_request = decoder(GuestRequest)
_FIND: Final = sa.select(*(quota.c[name] for name in RESOURCES)).where(quota.c.project == sa.bindparam("of"))
_HOLD: Final = _FIND.with_for_update()
_COUNT: Final = (
    sa.select(guest.c.request, sa.func.count())
    .where(guest.c.project == sa.bindparam("of"), guest.c.deleted.is_(None))
    .group_by(guest.c.request)
)


def find(connection: sa.Connection, project: str) -> Quota:
    """The quota of a project."""
    row = connection.execute(_FIND, {"of": project}).mappings().first()
    return Quota() if row is None else Quota(**row)


def hold(connection: sa.Connection, project: str) -> Quota:
    """The quota of a project, locked until this transaction ends: who counts by it takes turns. Without a quota nothing is locked."""
    row = connection.execute(_HOLD, {"of": project}).mappings().first()
    return Quota() if row is None else Quota(**row)


def keep(connection: sa.Connection, project: str, limits: Quota) -> None:
    """Set the quota of a project."""
    values = {name: getattr(limits, name) for name in RESOURCES}
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    query = dialect.insert(quota).values(project=project, **values)
    connection.execute(query.on_conflict_do_update(index_elements=["project"], set_=values))


def forget(connection: sa.Connection, project: str) -> None:
    """Remove the limits of a project."""
    connection.execute(quota.delete().where(quota.c.project == project))


def used(connection: sa.Connection, project: str) -> Amount:
    """What the guests of a project are together, those without a host and those in error among them."""
    found = Amount()
    for text, number in connection.execute(_COUNT, {"of": project}):
        found = found.plus(amount_of(_read_request(text, f"a guest of project {project}")), number)
    return found

"""Store the fleet's common shapes by version. `scheduler.common_shapes` says when they are counted anew and what they mean."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import sqlalchemy as sa
from msgspec import Struct

from pinfold.core.bounds import Count
from pinfold.core.encoding import decoder, encode
from pinfold.core.errors import Conflict
from pinfold.core.request.model import GuestRequest
from pinfold.store.database import Database, EpochNow
from pinfold.store.schema import common_shapes, guest
from pinfold.store.unreadable import read_or

_KEPT: Final = 1000
"""How many versions are kept, so that one can see later by what a claim was decided."""
_AGE: Final = sa.func.abs(EpochNow() - common_shapes.c.checked)  # a time in the future (the clock was set back) is old too
_LATEST: Final = sa.select(common_shapes, _AGE.label("age")).order_by(common_shapes.c.version.desc()).limit(1)
_VERSION: Final = sa.select(common_shapes.c.version, _AGE.label("age")).order_by(common_shapes.c.version.desc()).limit(1)


class CommonShape(Struct, frozen=True, kw_only=True):
    """A request and how many guests of the service have it."""

    request: GuestRequest
    often: Count


class StoredShapes(Struct, frozen=True, kw_only=True):
    """One version of the common shapes. `age` is in seconds since the guests were last counted."""

    version: int
    shapes: tuple[CommonShape, ...]
    age: float


_read_shapes = decoder(tuple[CommonShape, ...])
_read_request = decoder(GuestRequest)


def renew(
    database: Database,
    *,
    seconds: float,
    count: Callable[[sa.Connection], tuple[CommonShape, ...]],
    same: Callable[[StoredShapes, tuple[CommonShape, ...]], bool],
) -> StoredShapes | None:
    """`count` anew, unless a process did within `seconds`; store a new version unless the newest is the `same`. Returns the newest."""
    try:
        with database.write() as connection:
            known = latest(connection)
            if known is not None and known.age < seconds:
                return known
            found = count(connection)
            if known is not None and same(known, found):
                confirm(connection, known.version)
            else:
                put(connection, 1 if known is None else known.version + 1, found)
            return latest(connection)
    except Conflict:  # another process was faster
        with database.read() as connection:
            return latest(connection)


def newest(connection: sa.Connection) -> tuple[int, float] | None:
    """The newest version, and how many seconds ago the guests were last counted; None if they never were."""
    row = connection.execute(_VERSION).first()
    return None if row is None else (int(row[0]), float(row[1]))


def latest(connection: sa.Connection) -> StoredShapes | None:
    """The newest version; None if the guests were never counted."""
    row = connection.execute(_LATEST).mappings().first()
    if row is None:
        return None
    return StoredShapes(version=row["version"], shapes=read_or(_read_shapes, row["value"], "common_shapes.value", ()), age=row["age"])


def counted(connection: sa.Connection, most: int) -> tuple[CommonShape, ...]:
    """The requests that most guests of today have, at most `most`, the most frequent first."""
    often = sa.func.count().label("often")
    query = sa.select(guest.c.request, often).where(guest.c.deleted.is_(None)).group_by(guest.c.request)
    rows = connection.execute(query.order_by(often.desc(), guest.c.request).limit(most))
    read = ((read_or(_read_request, text, "guest.request", None), number) for text, number in rows)
    return tuple(CommonShape(request=request, often=number) for request, number in read if request is not None)


def put(connection: sa.Connection, version: int, shapes: tuple[CommonShape, ...]) -> None:
    """Store a new version. Raises `Conflict` if it exists, because another process was faster."""
    try:
        connection.execute(common_shapes.insert().values(version=version, checked=EpochNow(), value=encode(shapes)))
    except sa.exc.IntegrityError as error:
        raise Conflict(f"version {version} of the common shapes exists already") from error
    connection.execute(common_shapes.delete().where(common_shapes.c.version <= version - _KEPT))


def confirm(connection: sa.Connection, version: int) -> None:
    """Store that the guests were counted now and the version still holds."""
    connection.execute(common_shapes.update().where(common_shapes.c.version == version).values(checked=EpochNow()))

"""Store variants of images: their names and properties, and the name of the operator's image whose file each has."""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa
from msgspec import Struct

from pinfold.core.encoding import decoder, encode
from pinfold.store.database import EpochNow
from pinfold.store.records import Pairs
from pinfold.store.schema import image_variant

_read_properties = decoder(Pairs)
_LOCK: Final = 0x696D6776
"""The first half of the key of PostgreSQL's advisory locks for the variants of a project; the second is a hash of the project."""


class ImageVariant(Struct, frozen=True, kw_only=True):
    """A variant of an image. `base` is the name of the operator's image whose file it has, '' while it waits for its file."""

    id: str
    project: str
    name: str
    base: str = ""
    public: bool = False
    protected: bool = False
    disk_format: str = "raw"
    min_disk_gib: int = 0
    min_ram_mib: int = 0
    properties: Pairs = ()
    created: float = 0.0
    updated: float = 0.0


def count(connection: sa.Connection, project: str) -> int:
    """How many variants a project has. Until the writing transaction ends, no other one counts those of the project."""
    if connection.dialect.name == "postgresql":  # a writing transaction of SQLite is alone
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK, sa.func.hashtext(project))))
    chosen = sa.select(sa.func.count()).select_from(image_variant).where(image_variant.c.project == project)
    return int(connection.execute(chosen).scalar_one())


def create(connection: sa.Connection, new: ImageVariant) -> ImageVariant:
    """Store a variant, and return it with the time of the database."""
    values = {**_values(new), "id": new.id, "project": new.project, "base": "", "created": EpochNow(), "updated": EpochNow()}
    return _record(connection.execute(image_variant.insert().values(values).returning(image_variant)).mappings().one())


def visible(connection: sa.Connection, project: str | None) -> tuple[ImageVariant, ...]:
    """The public variants and those of a project, or all for None, ordered by name and id."""
    chosen = sa.select(image_variant)
    if project is not None:
        chosen = chosen.where(sa.or_(image_variant.c.public, image_variant.c.project == project))
    found = (_record(row) for row in connection.execute(chosen).mappings())
    return tuple(sorted(found, key=lambda variant: (variant.name, variant.id)))


def find(connection: sa.Connection, variant_id: str, *, hold: bool = False) -> ImageVariant | None:
    """The variant of that id, or None; with `hold` no other transaction changes it until this one ends."""
    chosen = sa.select(image_variant).where(image_variant.c.id == variant_id)
    row = connection.execute(chosen.with_for_update() if hold else chosen).mappings().first()
    return None if row is None else _record(row)


def change(connection: sa.Connection, changed: ImageVariant) -> ImageVariant:
    """Store what a variant is now, apart from its project and its file. It must exist."""
    return _updated(connection, changed.id, _values(changed))


def set_base(connection: sa.Connection, variant_id: str, base: str) -> ImageVariant:
    """Store whose file a variant has. It must exist."""
    return _updated(connection, variant_id, {"base": base})


def remove(connection: sa.Connection, variant_id: str) -> None:
    """Delete a variant, if it exists."""
    connection.execute(image_variant.delete().where(image_variant.c.id == variant_id))


def _updated(connection: sa.Connection, variant_id: str, values: dict[str, Any]) -> ImageVariant:
    query = image_variant.update().where(image_variant.c.id == variant_id).values({**values, "updated": EpochNow()})
    return _record(connection.execute(query.returning(image_variant)).mappings().one())


def _values(variant: ImageVariant) -> dict[str, Any]:
    names = ("name", "public", "protected", "disk_format", "min_disk_gib", "min_ram_mib")
    return {**{name: getattr(variant, name) for name in names}, "properties": encode(variant.properties)}


def _record(row: sa.RowMapping) -> ImageVariant:
    return ImageVariant(**{**row, "properties": _read_properties(row["properties"], f"image {row['id']}")})

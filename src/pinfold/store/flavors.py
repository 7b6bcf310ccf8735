"""Store flavors with their extra specs. `core.request` defines what an extra spec means."""

from __future__ import annotations

from collections import defaultdict
from functools import lru_cache
from typing import Any, Final

import sqlalchemy as sa
from msgspec import json
from msgspec.structs import replace
from sqlalchemy.dialects.postgresql import JSONB

from pinfold.core.encoding import decoder, encode
from pinfold.core.errors import Conflict
from pinfold.core.request.model import Flavor
from pinfold.store.database import EpochNow
from pinfold.store.records import FlavorRecord, Pairs
from pinfold.store.schema import flavor, flavor_extra_spec

_read_pairs = decoder(Pairs)

_PROJECTS: Final = "projects"
"""The detail that holds the projects to which a flavor is granted, separated by commas."""

# Built once, because every create uses them: SQLAlchemy takes longer to build an expression than SQLite to execute it.
_FIND: Final = (
    sa.select(*flavor.c, flavor_extra_spec.c.key, flavor_extra_spec.c.value)
    .select_from(flavor.outerjoin(flavor_extra_spec, flavor_extra_spec.c.flavor == flavor.c.id))
    .where(flavor.c.id == sa.bindparam("flavor_id"))
)

_COLUMNS: Final = (flavor.c.name, flavor.c.vcpus, flavor.c.memory_mib, flavor.c.disk_gib, flavor.c.public, flavor.c.details)
_SPECS: Final = (
    sa.select(sa.func.jsonb_object_agg(flavor_extra_spec.c.key, flavor_extra_spec.c.value))
    .where(flavor_extra_spec.c.flavor == flavor.c.id)
    .scalar_subquery()
)
UNCHANGED: Final = (
    sa.select(flavor.c.id)
    .where(
        flavor.c.id == sa.bindparam("seen_flavor_id", type_=sa.Text()),
        sa.func.jsonb_build_array(*_COLUMNS, sa.func.coalesce(_SPECS, sa.literal_column("'{}'::jsonb")))
        == sa.cast(sa.bindparam("seen_flavor", type_=sa.Text()), JSONB),
    )
    .exists()
)
"""Whether a flavor is as it was seen, as a part of another statement, which is bound by `seeing`. Only PostgreSQL has it."""


class FlavorChanged(Conflict):
    """The flavor of a new guest is another one by now than the guest was made of."""


def create(connection: sa.Connection, new: FlavorRecord) -> FlavorRecord:
    """Store a new flavor with its extra specs. Raises `Conflict` when the id or the name exists."""
    size = new.flavor
    taken = connection.execute(sa.select(flavor.c.id).where(sa.or_(flavor.c.id == new.id, flavor.c.name == size.name))).first()
    if taken is not None:
        raise Conflict(f"flavor {size.name!r}: the name or the id {new.id!r} exists already")
    try:
        connection.execute(
            flavor.insert().values(
                id=new.id,
                name=size.name,
                vcpus=size.vcpus,
                memory_mib=size.memory_mib,
                disk_gib=size.disk_gib,
                public=new.public,
                description=new.description,
                details=encode(new.details),
                created=EpochNow(),
            )
        )
    except sa.exc.IntegrityError as error:
        raise Conflict(f"flavor {size.name!r}: the name or the id {new.id!r} exists already") from error
    set_extra_specs(connection, new.id, size.extra_specs)
    found = find(connection, new.id)
    assert found is not None
    return found


def hold(connection: sa.Connection, flavor_id: str) -> FlavorRecord | None:
    """The flavor of that id, or None. Its extra specs are locked until this transaction ends."""
    connection.execute(sa.select(flavor.c.id).where(flavor.c.id == flavor_id).with_for_update())
    return find(connection, flavor_id)


def find(connection: sa.Connection, flavor_id: str) -> FlavorRecord | None:
    """The flavor of that id, or None, read by one statement."""
    rows = connection.execute(_FIND, {"flavor_id": flavor_id}).mappings().all()
    if not rows:
        return None
    return _record(rows[0], tuple(sorted((row["key"], row["value"]) for row in rows if row["key"] is not None)))


def seeing(seen: FlavorRecord) -> dict[str, str]:
    """What binds `UNCHANGED`."""
    return {"seen_flavor_id": seen.id, "seen_flavor": _seen_text(seen)}


@lru_cache(maxsize=256)
def _seen_text(seen: FlavorRecord) -> str:
    size = seen.flavor
    columns = (size.name, size.vcpus, size.memory_mib, size.disk_gib, seen.public, encode(seen.details))
    return json.encode((*columns, dict(size.extra_specs))).decode()


def refuse_changed(connection: sa.Connection, seen: FlavorRecord) -> None:
    """Raise `FlavorChanged` if a flavor is not as it was seen, or is gone."""
    if find(connection, seen.id) != seen:
        raise FlavorChanged(f"flavor {seen.flavor.name!r} has changed")


def named(connection: sa.Connection, name: str) -> FlavorRecord | None:
    """The flavor of that name, or None."""
    found = _select(connection, flavor.c.name == name)
    return found[0] if found else None


def all(connection: sa.Connection, *, public: bool | None = None) -> tuple[FlavorRecord, ...]:  # noqa: A001
    """Every flavor, or only the public or the private ones, ordered by id."""
    return _select(connection, sa.true() if public is None else flavor.c.public.is_(public))


def describe(connection: sa.Connection, flavor_id: str, description: str | None) -> bool:
    """Change a flavor's description. Returns whether the flavor exists."""
    return connection.execute(flavor.update().where(flavor.c.id == flavor_id).values(description=description)).rowcount == 1


def give(connection: sa.Connection, flavor_id: str, granted: tuple[str, ...]) -> FlavorRecord:
    """Grant an existing flavor to exactly these projects. Their ids contain no comma."""
    found = find(connection, flavor_id)
    assert found is not None
    details = {**dict(found.details), _PROJECTS: ",".join(granted)}
    text = encode(tuple(sorted(details.items())))
    connection.execute(flavor.update().where(flavor.c.id == flavor_id).values(details=text))
    return replace(found, details=tuple(sorted(details.items())))


def projects(row: FlavorRecord) -> tuple[str, ...]:
    """The ids of the projects to which a flavor is granted, in order."""
    return tuple(filter(None, dict(row.details).get(_PROJECTS, "").split(",")))


def remove(connection: sa.Connection, flavor_id: str) -> bool:
    """Delete a flavor; guests keep their copy of it. Returns whether it existed."""
    connection.execute(flavor_extra_spec.delete().where(flavor_extra_spec.c.flavor == flavor_id))
    return connection.execute(flavor.delete().where(flavor.c.id == flavor_id)).rowcount == 1


def set_extra_specs(connection: sa.Connection, flavor_id: str, specs: Pairs) -> None:
    """Add or replace extra specs of an existing flavor; others stay."""
    for key, value in specs:
        known = sa.and_(flavor_extra_spec.c.flavor == flavor_id, flavor_extra_spec.c.key == key)
        if connection.execute(flavor_extra_spec.update().where(known).values(value=value)).rowcount == 0:
            connection.execute(flavor_extra_spec.insert().values(flavor=flavor_id, key=key, value=value))


def remove_extra_spec(connection: sa.Connection, flavor_id: str, key: str) -> bool:
    """Remove one extra spec. Returns whether it existed."""
    known = sa.and_(flavor_extra_spec.c.flavor == flavor_id, flavor_extra_spec.c.key == key)
    return connection.execute(flavor_extra_spec.delete().where(known)).rowcount == 1


def _select(connection: sa.Connection, condition: Any) -> tuple[FlavorRecord, ...]:
    rows = list(connection.execute(sa.select(flavor).where(condition).order_by(flavor.c.id)).mappings())
    specs: dict[str, list[tuple[str, str]]] = defaultdict(list)
    query = sa.select(flavor_extra_spec).where(flavor_extra_spec.c.flavor.in_([row["id"] for row in rows]))
    for spec in connection.execute(query).mappings():
        specs[spec["flavor"]].append((spec["key"], spec["value"]))
    return tuple(_record(row, tuple(sorted(specs[row["id"]]))) for row in rows)


def _record(row: sa.RowMapping, specs: Pairs) -> FlavorRecord:
    size = Flavor(vcpus=row["vcpus"], memory_mib=row["memory_mib"], disk_gib=row["disk_gib"], extra_specs=specs, name=row["name"])
    return FlavorRecord(
        id=row["id"],
        flavor=size,
        public=bool(row["public"]),
        description=row["description"],
        details=_read_pairs(row["details"], f"flavor {row['id']}"),
        created=row["created"],
    )

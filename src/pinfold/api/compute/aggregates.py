"""Aggregates in the Compute API: named sets of hosts. Each is also an aggregate in Placement, and may define an availability zone."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Final, NotRequired

import sqlalchemy as sa
from fastapi import APIRouter, Body, Response
from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from pinfold.api.compute.headers import Version
from pinfold.api.compute.instants import micro_instant
from pinfold.api.compute.links import ROOT
from pinfold.api.compute.names import Name
from pinfold.api.compute.zones import ZONE_KEY, zones
from pinfold.api.dependencies import ApiServices, Services
from pinfold.api.errors import ApiError, not_found
from pinfold.api.microversion import Microversion
from pinfold.api.response_schema import closed, since
from pinfold.api.text_pattern import TextPattern
from pinfold.core.errors import Conflict, InvalidRequest
from pinfold.core.identity import HostId
from pinfold.store import aggregates as rows
from pinfold.store import hosts
from pinfold.store.records import AggregateRecord, HostRecord

router = APIRouter(prefix=f"{ROOT}/os-aggregates", tags=["aggregates"])


Zone = Annotated[str, Field(min_length=1, max_length=255), TextPattern(pattern=r"^[^:]+$", allowed="an availability zone has no colon")]
AggregateId = int
"""Any whole number: one that no aggregate can have is answered like an unknown one."""
_LARGEST: Final = 0x7FFFFFFF


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NewAggregate(_Closed):
    """The body of a create."""

    name: Name
    availability_zone: Zone | None = None


class CreateAggregate(_Closed):
    """The envelope of a create."""

    aggregate: NewAggregate


class AggregateChange(_Closed):
    """The changes to an aggregate."""

    name: Name | None = None
    availability_zone: Zone | None = None


class UpdateAggregate(_Closed):
    """The envelope of an update."""

    aggregate: AggregateChange


class HostName(_Closed):
    """A host, by name."""

    host: Annotated[str, Field(min_length=1, max_length=255)]


class MetadataChange(_Closed):
    """Metadata to set; null removes a key."""

    metadata: Annotated[
        dict[Annotated[str, Field(min_length=1, max_length=255)], Annotated[str, Field(max_length=255)] | None], Field(max_length=128)
    ]


class AggregateAction(_Closed):
    """One of the three actions on an aggregate."""

    add_host: HostName | None = None
    remove_host: HostName | None = None
    set_metadata: MetadataChange | None = None


@closed
class AggregateInBrief(TypedDict):
    """An aggregate in the response to its create."""

    id: int
    name: str
    availability_zone: str | None
    created_at: str
    updated_at: str | None
    deleted: bool
    deleted_at: str | None
    uuid: NotRequired[Annotated[str, since(41)]]


@closed
class AggregateInFull(AggregateInBrief):
    """The same with its hosts' names and its metadata."""

    hosts: list[str]
    metadata: dict[str, str]


@closed
class AggregateList(TypedDict):
    """Every aggregate."""

    aggregates: list[AggregateInFull]


@closed
class AggregateCreated(TypedDict):
    """A new aggregate."""

    aggregate: AggregateInBrief


@closed
class AggregateShown(TypedDict):
    """One aggregate."""

    aggregate: AggregateInFull


@router.get("")
def list_aggregates(services: Services, version: Version) -> AggregateList:
    """Every aggregate."""
    with services.database.read() as connection:
        found = rows.all(connection)
        names = _names(hosts.all(connection))
    return {"aggregates": [_full(entry, names, version) for entry in found]}


@router.post("")
def create_aggregate(body: CreateAggregate, services: Services, version: Version) -> AggregateCreated:
    """Make an aggregate without hosts; 409 when its name exists."""
    zone = body.aggregate.availability_zone
    with services.database.write() as connection:
        made = rows.create(connection, uuid=str(uuid.uuid4()), name=body.aggregate.name, metadata=((ZONE_KEY, zone),) if zone else ())
    return {"aggregate": _brief(made, version)}


@router.get("/{aggregate_id}")
def show_aggregate(aggregate_id: AggregateId, services: Services, version: Version) -> AggregateShown:
    """One aggregate."""
    return _shown(services, aggregate_id, version)


@router.put("/{aggregate_id}")
def update_aggregate(aggregate_id: AggregateId, body: UpdateAggregate, services: Services, version: Version) -> AggregateShown:
    """Change an aggregate's name or availability zone."""
    asked = body.aggregate
    with _changing(services, aggregate_id) as (connection, before):
        metadata = dict(before.metadata) | ({ZONE_KEY: asked.availability_zone} if asked.availability_zone else {})
        _one_zone(connection, before.id, before.hosts, metadata.get(ZONE_KEY))
        rows.edit(connection, aggregate_id, name=asked.name, metadata=tuple(sorted(metadata.items())))
    return _shown(services, aggregate_id, version)


@router.delete("/{aggregate_id}", status_code=200, response_class=Response)
def delete_aggregate(aggregate_id: AggregateId, services: Services) -> Response:
    """Forget an aggregate; 409 while it has hosts."""
    with _changing(services, aggregate_id) as (connection, before):
        if before.hosts:
            raise Conflict(f"Cannot delete aggregate {aggregate_id}: it is not empty")
        rows.remove(connection, aggregate_id)
    return Response(status_code=200)


@router.post("/{aggregate_id}/action")
def act(aggregate_id: AggregateId, body: Annotated[AggregateAction, Body()], services: Services, version: Version) -> AggregateShown:
    """Add a host, remove one, or set metadata: exactly one of them. While Placement is away, its aggregates follow later."""
    with services.database.read() as connection:
        _get(connection, aggregate_id)
    if len(body.model_fields_set) != 1:
        raise InvalidRequest("An aggregate action is one of add_host, remove_host and set_metadata", key="action")
    if body.set_metadata is not None:
        _set_metadata(services, aggregate_id, body.set_metadata.metadata)
    elif body.add_host is not None or body.remove_host is not None:
        _move(services, aggregate_id, body)
    else:
        raise InvalidRequest("An aggregate action takes an object", key="action")
    return _shown(services, aggregate_id, version)


@contextmanager
def _changing(services: ApiServices, aggregate_id: int) -> Iterator[tuple[sa.Connection, AggregateRecord]]:
    """A transaction in which nobody else can change an aggregate, and the aggregate as read in it. Raises 404 when there is none."""
    with services.database.write() as connection:
        rows.hold(connection)
        yield connection, _get(connection, aggregate_id)


def _set_metadata(services: ApiServices, aggregate_id: int, change: dict[str, str | None]) -> None:
    with _changing(services, aggregate_id) as (connection, before):
        merged: dict[str, str | None] = {**dict(before.metadata), **change}
        kept = tuple(sorted((key, value) for key, value in merged.items() if value is not None))
        _one_zone(connection, before.id, before.hosts, dict(kept).get(ZONE_KEY))
        rows.edit(connection, aggregate_id, metadata=kept)


def _move(services: ApiServices, aggregate_id: int, body: AggregateAction) -> None:
    name = (body.add_host or body.remove_host or HostName(host="?")).host
    with _changing(services, aggregate_id) as (connection, before):
        host = hosts.find(connection, name)
        if host is None:
            raise ApiError(404, f"Compute host {name} could not be found.")
        if body.add_host is not None:
            if host.id in before.hosts:
                raise Conflict(f"Aggregate {before.id} already has host {name}.")
            _one_zone(connection, before.id, (host.id,), dict(before.metadata).get(ZONE_KEY))
            rows.add_host(connection, before.id, host.id)
        elif host.id not in before.hosts:
            raise ApiError(404, f"Aggregate {before.id} has no host {name}.")
        else:
            rows.remove_host(connection, before.id, host.id)
    services.fleet.providers.sync_or_later(host.id)


def _one_zone(connection: sa.Connection, aggregate_id: int, members: tuple[HostId, ...], zone: str | None) -> None:
    """Raise `Conflict` when one of the hosts is in another zone by another aggregate."""
    others = zones(group for group in rows.all(connection) if group.id != aggregate_id)
    for host in members:
        if zone is not None and others.get(host, zone) != zone:
            name = hosts.get(connection, host).name
            raise Conflict(f"Host {name} is in the availability zone {others[host]} already; it cannot be in {zone} as well.")


def _brief(entry: AggregateRecord, version: Microversion) -> AggregateInBrief:
    shown: AggregateInBrief = {
        "id": entry.id,
        "name": entry.name,
        "availability_zone": dict(entry.metadata).get(ZONE_KEY),
        "created_at": micro_instant(entry.created),
        "updated_at": micro_instant(entry.updated),
        "deleted": False,
        "deleted_at": None,
    }
    if version >= Microversion(2, 41):
        shown["uuid"] = entry.uuid
    return shown


def _full(entry: AggregateRecord, names: dict[str, str], version: Microversion) -> AggregateInFull:
    return {**_brief(entry, version), "hosts": sorted(names[host] for host in entry.hosts), "metadata": dict(entry.metadata)}


def _shown(services: ApiServices, aggregate_id: int, version: Microversion) -> AggregateShown:
    with services.database.read() as connection:
        found = _get(connection, aggregate_id)
        names = _names(hosts.all(connection))
    return {"aggregate": _full(found, names, version)}


def _names(every: tuple[HostRecord, ...]) -> dict[str, str]:
    return {host.id: host.name for host in every}


def _get(connection: sa.Connection, aggregate_id: int) -> AggregateRecord:
    found = rows.find(connection, aggregate_id) if 0 < aggregate_id <= _LARGEST else None
    if found is None:
        raise not_found("Aggregate", aggregate_id)
    return found

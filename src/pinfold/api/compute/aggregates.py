"""Aggregates in the Compute API: named sets of hosts. Each is also an aggregate in Placement, and may define an availability zone."""

from __future__ import annotations

from typing import Annotated, NotRequired

from fastapi import Body, Response
from pydantic import Field
from typing_extensions import TypedDict

from pinfold.api.compute.headers import Version
from pinfold.api.compute.instants import micro_instant
from pinfold.api.compute.links import ROOT
from pinfold.api.compute.names import Name
from pinfold.api.dependencies import ApiServices, Services
from pinfold.api.microversion import Microversion
from pinfold.api.request_body import RequestBody
from pinfold.api.response_schema import closed, since
from pinfold.api.router import Router
from pinfold.api.text_pattern import TextPattern
from pinfold.core.errors import InvalidRequest
from pinfold.service.aggregates import ZONE_KEY, get
from pinfold.store import aggregates as rows
from pinfold.store import hosts
from pinfold.store.hosts import HostOutline
from pinfold.store.records import AggregateRecord

router = Router(prefix=f"{ROOT}/os-aggregates", tags=["aggregates"])


Zone = Annotated[str, Field(min_length=1, max_length=255), TextPattern(pattern=r"^[^:]+$", allowed="an availability zone has no colon")]
AggregateId = int
"""Any whole number: one that no aggregate can have is answered like an unknown one."""


class NewAggregate(RequestBody):
    """The body of a create."""

    name: Name
    availability_zone: Zone | None = None


class CreateAggregate(RequestBody):
    """The envelope of a create."""

    aggregate: NewAggregate


class AggregateChange(RequestBody):
    """The changes to an aggregate."""

    name: Name | None = None
    availability_zone: Zone | None = None


class UpdateAggregate(RequestBody):
    """The envelope of an update."""

    aggregate: AggregateChange


class HostName(RequestBody):
    """A host, by name."""

    host: Annotated[str, Field(min_length=1, max_length=255)]


class MetadataChange(RequestBody):
    """Metadata to set; null removes a key."""

    metadata: Annotated[
        dict[Annotated[str, Field(min_length=1, max_length=255)], Annotated[str, Field(max_length=255)] | None], Field(max_length=128)
    ]


class AggregateAction(RequestBody):
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
        names = _names(hosts.outlines(connection))
    return {"aggregates": [_full(entry, names, version) for entry in found]}


@router.post("")
def create_aggregate(body: CreateAggregate, services: Services, version: Version) -> AggregateCreated:
    """Make an aggregate without hosts; 409 when its name exists."""
    made = services.fleet.aggregates.create(body.aggregate.name, body.aggregate.availability_zone)
    return {"aggregate": _brief(made, version)}


@router.get("/{aggregate_id}")
def show_aggregate(aggregate_id: AggregateId, services: Services, version: Version) -> AggregateShown:
    """One aggregate."""
    return _shown(services, aggregate_id, version)


@router.put("/{aggregate_id}")
def update_aggregate(aggregate_id: AggregateId, body: UpdateAggregate, services: Services, version: Version) -> AggregateShown:
    """Change an aggregate's name or availability zone."""
    services.fleet.aggregates.edit(aggregate_id, name=body.aggregate.name, zone=body.aggregate.availability_zone)
    return _shown(services, aggregate_id, version)


@router.delete("/{aggregate_id}", status_code=200, response_class=Response)
def delete_aggregate(aggregate_id: AggregateId, services: Services) -> Response:
    """Forget an aggregate; 409 while it has hosts."""
    services.fleet.aggregates.remove(aggregate_id)
    return Response(status_code=200)


@router.post("/{aggregate_id}/action")
def act(aggregate_id: AggregateId, body: Annotated[AggregateAction, Body()], services: Services, version: Version) -> AggregateShown:
    """Add a host, remove one, or set metadata: exactly one of them. While Placement is away, its aggregates follow later."""
    with services.database.read() as connection:
        get(connection, aggregate_id)
    if len(body.model_fields_set) != 1:
        raise InvalidRequest("An aggregate action is one of add_host, remove_host and set_metadata", key="action")
    if body.set_metadata is not None:
        services.fleet.aggregates.set_metadata(aggregate_id, body.set_metadata.metadata)
    elif body.add_host is not None:
        services.fleet.aggregates.add_host(aggregate_id, body.add_host.host)
    elif body.remove_host is not None:
        services.fleet.aggregates.remove_host(aggregate_id, body.remove_host.host)
    else:
        raise InvalidRequest("An aggregate action takes an object", key="action")
    return _shown(services, aggregate_id, version)


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
        found = get(connection, aggregate_id)
        names = _names(hosts.outlines(connection))
    return {"aggregate": _full(found, names, version)}


def _names(every: tuple[HostOutline, ...]) -> dict[str, str]:
    return {host.id: host.name for host in every}

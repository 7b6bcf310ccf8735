"""One server in the Compute API: show, change, delete, and its NUMA topology."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from fastapi import Request, Response

from pinfold.api.caller import Caller, caller_of
from pinfold.api.compute.headers import Version
from pinfold.api.compute.links import ROOT
from pinfold.api.compute.servers.bodies import UpdateServer, access_addresses
from pinfold.api.compute.servers.schemas import ServerInFull, ServerShown, TopologyShown
from pinfold.api.compute.servers.view import Form, Place, full, numa_of
from pinfold.api.compute.zones import DEFAULT_ZONE
from pinfold.api.dependencies import ApiServices, Services
from pinfold.api.errors import ApiError
from pinfold.api.microversion import Microversion
from pinfold.api.router import Router
from pinfold.core.errors import Conflict, InvalidRequest, not_found
from pinfold.core.identity import GuestId
from pinfold.core.networks import Port
from pinfold.service.aggregates import zones
from pinfold.store import aggregates, claims, guests, hosts, ports
from pinfold.store.records import GuestRecord, Requester

router = Router(prefix=ROOT, tags=["servers"])

_DESCRIBED: Final = Microversion(2, 19)
_WITH_TOPOLOGY: Final = Microversion(2, 78)
_ID_LENGTH: Final = 36


@router.get("/servers/{server_id}")
def show_server(server_id: GuestId, request: Request, services: Services, version: Version) -> ServerShown:
    """One server by its id; a name is no id."""
    with services.database.read() as connection:
        guest = visible(connection, caller_of(request), server_id)
        return {"server": full(request, guest, _place(connection, guest), version, ports=_ports(connection, guest))}


@router.put("/servers/{server_id}", responses={501: {}})
def update_server(server_id: GuestId, body: UpdateServer, request: Request, services: Services, version: Version) -> ServerShown:
    """Change a server's name, description or noted addresses."""
    asked = body.server
    if asked.description is not None and version < _DESCRIBED:
        raise InvalidRequest("description is accepted from microversion 2.19 on", key="description")
    if asked.hostname is not None:
        raise ApiError(501, "hostname cannot be changed: pinfold tells guests nothing.")
    changes = access_addresses(asked)
    if asked.disk_config is not None:
        changes["disk_config"] = asked.disk_config
    server(services, request, server_id)
    guest = services.fleet.edits.edit(server_id, name=asked.name, description=asked.description, details=changes)
    return {"server": changed(services, request, guest, version)}


def changed(services: ApiServices, request: Request, guest: GuestRecord, version: Microversion) -> ServerInFull:
    """A guest as the answer to a change shows it."""
    with services.database.read() as connection:
        return full(request, guest, _place(connection, guest), version, Form.CHANGED, _ports(connection, guest))


@router.delete("/servers/{server_id}", status_code=204, response_class=Response)
def delete_server(server_id: GuestId, request: Request, services: Services) -> Response:
    """Delete a server. It is gone when its agent has confirmed that nothing of it remains."""
    unlocked(services, request, server_id)
    with services.fleet.events.asked(server_id, "delete", requester(request)):
        services.fleet.guests.delete(server_id)
    return Response(status_code=204)


@router.get("/servers/{server_id}/topology")
def show_topology(server_id: GuestId, request: Request, services: Services, version: Version) -> TopologyShown:
    """A server's NUMA topology: its cells, and for admins where they are and the pCPU of each pinned vCPU."""
    if version < _WITH_TOPOLOGY:
        raise ApiError(404, "The resource could not be found.")
    with services.database.read() as connection:
        guest = visible(connection, caller_of(request), server_id)
        return numa_of(guest, claims.live(connection, guest.id), everywhere=caller_of(request).everywhere)


def server(services: ApiServices, request: Request, server_id: GuestId) -> GuestRecord:
    """The guest of that id. Raises `NotFound` when there is none, or the caller does not see its project."""
    with services.database.read() as connection:
        return visible(connection, caller_of(request), server_id)


def requester(request: Request) -> Requester:
    """Who asks: the caller of a request, and the request's id."""
    caller = caller_of(request)
    return Requester(request=request.state.request_id, account=caller.user, project=caller.project)


def unlocked(services: ApiServices, request: Request, server_id: GuestId) -> GuestRecord:
    """The guest of that id, to be changed. Raises `NotFound` as `server`, `Conflict` when it is locked for others than admins."""
    guest = server(services, request, server_id)
    if guest.locked and not caller_of(request).admin:
        raise Conflict(f"Instance {server_id} is locked")
    return guest


def visible(connection: sa.Connection, caller: Caller, server_id: GuestId, *, deleted: bool = False) -> GuestRecord:
    """As `server`, in a transaction; with `deleted`, deleted guests too."""
    found = guests.find(connection, server_id) if len(server_id) == _ID_LENGTH else None
    if found is None or (found.deleted is not None and not deleted) or not caller.sees(found.project):
        raise not_found("Instance", server_id)
    return found


def _ports(connection: sa.Connection, guest: GuestRecord) -> tuple[Port, ...]:
    return ports.of_guest(connection, guest.id) if guest.request.nics else ()


def _place(connection: sa.Connection, guest: GuestRecord) -> Place | None:
    if guest.host is None:
        return None
    (host,) = hosts.outlines(connection, [guest.host])
    return Place(host=host, zone=zones(aggregates.all(connection)).get(host.id, DEFAULT_ZONE))

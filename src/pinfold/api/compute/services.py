"""Agents as the Compute API's services: which are up, which take new guests. Every agent appears as `nova-compute`, the name that clients
expect.
"""

from __future__ import annotations

import uuid
from typing import Annotated, Any, Final, Literal, NotRequired, TypeVar

from fastapi import Query, Response
from pydantic import BaseModel, Field, ValidationError
from typing_extensions import TypedDict

from pinfold.api.compute.headers import Version
from pinfold.api.compute.instants import micro_instant
from pinfold.api.compute.links import ROOT
from pinfold.api.compute.zones import DEFAULT_ZONE
from pinfold.api.dependencies import ApiServices, Services
from pinfold.api.errors import ApiError
from pinfold.api.microversion import Microversion
from pinfold.api.request_body import RequestBody
from pinfold.api.response_schema import closed, since
from pinfold.api.router import Router
from pinfold.core.errors import InvalidRequest, not_found
from pinfold.service.aggregates import zones
from pinfold.store import aggregates, hosts
from pinfold.store.hosts import HostOutline
from pinfold.store.records import HostRecord

router = Router(prefix=f"{ROOT}/os-services", tags=["services"])


Schema = TypeVar("Schema", bound=BaseModel)

_BINARY: Final = "nova-compute"
_BY_ID: Final = Microversion(2, 53)
_NO_FORCE: Final = "forced_down is not supported; a host is fenced with `pinfold host fence --powered-off`."


class ServiceChange(RequestBody):
    """The changes to a service from microversion 2.53 on."""

    status: Literal["enabled", "disabled"] | None = None
    disabled_reason: Annotated[str, Field(min_length=1, max_length=255)] | None = None
    forced_down: bool | None = None


class NamedService(RequestBody):
    """How a service is named before microversion 2.53."""

    host: Annotated[str, Field(min_length=1, max_length=255)]
    binary: Annotated[str, Field(min_length=1, max_length=255)]
    disabled_reason: Annotated[str, Field(min_length=1, max_length=255)] | None = None


@closed
class ServiceEntry(TypedDict):
    """An agent. `id` is a number before microversion 2.53, the host's id from then on."""

    id: int | str
    binary: str
    host: str
    zone: str
    status: Literal["enabled", "disabled"]
    state: Literal["up", "down"]
    updated_at: str | None
    disabled_reason: str | None
    forced_down: NotRequired[Annotated[bool, since(11)]]


@closed
class ServiceSwitched(TypedDict):
    """The change to an agent, in a response before microversion 2.53."""

    host: str
    binary: str
    status: Literal["enabled", "disabled"]
    disabled_reason: NotRequired[str]


@closed
class ServiceList(TypedDict):
    """The agents."""

    services: list[ServiceEntry]


@closed
class ServiceUpdated(TypedDict):
    """An agent after a change."""

    service: ServiceEntry | ServiceSwitched


@router.get("")
def list_services(
    services: Services, version: Version, host: Annotated[str | None, Query()] = None, binary: Annotated[str | None, Query()] = None
) -> ServiceList:
    """The agents, by host; `host` and `binary` narrow the listing."""
    with services.database.read() as connection:
        found = [one for one in hosts.outlines(connection) if host in (None, one.name) and binary in (None, _BINARY)]
        of_host = zones(aggregates.all(connection))
    return {"services": [_view(one, of_host.get(one.id, DEFAULT_ZONE), version) for one in found]}


@router.put("/{service_id}", responses={501: {}})
def update_service(service_id: str, body: dict[str, Any], services: Services, version: Version) -> ServiceUpdated:
    """Enable or disable an agent: a disabled one takes no new guests; those that it has stay."""
    if version < _BY_ID:
        return _update_named(service_id, body, services)
    change = _parsed(ServiceChange, body)
    host, _ = _get(services, service_id)
    if change.forced_down is not None:
        raise ApiError(501, _NO_FORCE)
    if change.status is None:
        raise InvalidRequest("status must be enabled or disabled", key="status")
    if change.disabled_reason and change.status == "enabled":
        raise InvalidRequest("Specifying disabled_reason when status is enabled is invalid", key="disabled_reason")
    _switch(services, host, enabled=change.status == "enabled", reason=change.disabled_reason or "")
    return {"service": _view(*_get(services, service_id), version)}


@router.delete("/{service_id}", status_code=204, response_class=Response)
def delete_service(service_id: str, services: Services, version: Version) -> Response:
    """Forget a host, its provider in Placement too; 409 while it has claims."""
    host, _ = _get(services, service_id, numbered=version < _BY_ID)
    services.fleet.hosts.remove(host.id)
    return Response(status_code=204)


def _update_named(action: str, body: dict[str, Any], services: ApiServices) -> ServiceUpdated:
    if action == "force-down":
        raise ApiError(501, _NO_FORCE)
    if action not in ("enable", "disable", "disable-log-reason"):
        raise ApiError(404, "Unknown action")
    named = _parsed(NamedService, body)
    if (action == "disable-log-reason") != (named.disabled_reason is not None):
        raise InvalidRequest("disabled_reason goes with disable-log-reason, and with it alone", key="disabled_reason")
    with services.database.read() as connection:
        host = hosts.find(connection, named.host)
    if host is None or named.binary != _BINARY:
        raise ApiError(404, f"Service {named.binary} on host {named.host} could not be found.")
    _switch(services, host, enabled=action == "enable", reason=named.disabled_reason or "")
    shown: ServiceSwitched = {"host": host.name, "binary": _BINARY, "status": "enabled" if action == "enable" else "disabled"}
    if named.disabled_reason:
        shown["disabled_reason"] = named.disabled_reason
    return {"service": shown}


def _switch(services: ApiServices, host: HostOutline | HostRecord, *, enabled: bool, reason: str) -> None:
    if enabled:
        services.fleet.hosts.enable(host.id)
    else:
        services.fleet.hosts.disable(host.id, reason)


def _parsed(schema: type[Schema], body: dict[str, Any]) -> Schema:
    try:
        return schema.model_validate(body)
    except ValidationError as error:
        fault = error.errors()[0]
        raise InvalidRequest(f"Invalid input for {'.'.join(map(str, fault['loc'])) or 'body'}: {fault['msg']}") from error


def _view(host: HostOutline, zone: str, version: Microversion) -> ServiceEntry:
    shown: ServiceEntry = {
        "id": host.id if version >= _BY_ID else number(host.id),
        "binary": _BINARY,
        "host": host.name,
        "zone": zone,
        "status": "disabled" if host.disabled else "enabled",
        "state": "up" if host.up else "down",
        "updated_at": micro_instant(host.updated),
        "disabled_reason": host.disabled_reason or None,
    }
    if version >= Microversion(2, 11):
        shown["forced_down"] = host.fenced
    return shown


def number(host_id: str) -> int:
    """The number by which clients before microversion 2.53 know a host: the first 52 bits of its id.

    >>> number("8c2b1d06-6a2f-5f0a-9c55-6c8ad1b5ef1e")
    2465868775072501
    """
    return uuid.UUID(host_id).int >> 76


def _get(services: ApiServices, service_id: str, *, numbered: bool = False) -> tuple[HostOutline, str]:
    """The host of a service's id, and its zone. Raises `ApiError` 404."""
    with services.database.read() as connection:
        every = hosts.outlines(connection)
        of_host = zones(aggregates.all(connection))
    found = next((host for host in every if service_id == (str(number(host.id)) if numbered else host.id)), None)
    if found is None:
        raise not_found("Service", service_id)
    return found, of_host.get(found.id, DEFAULT_ZONE)

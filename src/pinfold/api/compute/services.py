"""Agents as the Compute API's services: who is up, who takes new guests. Every agent is shown as `nova-compute`, which clients ask for."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, TypeVar

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pinfold.api.compute.headers import version_of
from pinfold.api.compute.links import ROOT
from pinfold.api.compute.server_view import micro_instant
from pinfold.api.errors import ApiError, not_found
from pinfold.api.microversion import Microversion
from pinfold.api.services import DEFAULT_ZONE, ApiServices, services_of
from pinfold.core.errors import InvalidRequest
from pinfold.store import hosts
from pinfold.store.model import HostRecord

router = APIRouter(prefix=f"{ROOT}/os-services", tags=["services"])

Services = Annotated[ApiServices, Depends(services_of)]
Version = Annotated[Microversion, Depends(version_of)]

Schema = TypeVar("Schema", bound=BaseModel)

_BINARY: Final = "nova-compute"
_BY_ID: Final = Microversion(2, 53)


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ServiceChange(_Closed):
    """What may be changed of a service from microversion 2.53 on."""

    status: Literal["enabled", "disabled"] | None = None
    disabled_reason: Annotated[str, Field(min_length=1, max_length=255)] | None = None
    forced_down: bool | None = None


class NamedService(_Closed):
    """How a service is named before microversion 2.53."""

    host: Annotated[str, Field(min_length=1, max_length=255)]
    binary: Annotated[str, Field(min_length=1, max_length=255)]
    disabled_reason: Annotated[str, Field(min_length=1, max_length=255)] | None = None


@router.get("")
def list_services(request: Request, services: Services, version: Version) -> dict[str, Any]:
    """The agents, by host; `host` and `binary` narrow the listing."""
    asked = request.query_params
    with services.database.read() as connection:
        found = [host for host in hosts.all(connection) if asked.get("host") in (None, host.name)]
    if asked.get("binary") not in (None, _BINARY):
        found = []
    return {"services": [_view(host, version) for host in found]}


@router.put("/{service_id}")
def update_service(service_id: str, body: dict[str, Any], services: Services, version: Version) -> dict[str, Any]:
    """Enable or disable an agent: a disabled one takes no new guests; those that it has stay."""
    if version < _BY_ID:
        return _update_named(service_id, body, services)
    change = _parsed(ServiceChange, body)
    host = _get(services, service_id)
    if change.forced_down is not None:
        raise ApiError(501, "forced_down is not supported; a host is fenced with `pinfold host fence --powered-off`.")
    if change.status is None:
        raise InvalidRequest("status must be enabled or disabled", key="status")
    if change.disabled_reason and change.status == "enabled":
        raise InvalidRequest("Specifying disabled_reason when status is enabled is invalid", key="disabled_reason")
    _switch(services, host, enabled=change.status == "enabled", reason=change.disabled_reason or "")
    return {"service": _view(_get(services, service_id), version)}


@router.delete("/{service_id}", status_code=204, response_class=Response)
def delete_service(service_id: str, services: Services) -> Response:
    """Forget a host, its provider in Placement too; 409 while it has claims."""
    _get(services, service_id)
    services.scheduler.remove_host(service_id)
    return Response(status_code=204)


def _update_named(action: str, body: dict[str, Any], services: ApiServices) -> dict[str, Any]:
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
    shown = {"host": host.name, "binary": _BINARY, "status": "enabled" if action == "enable" else "disabled"}
    return {"service": shown | ({"disabled_reason": named.disabled_reason} if named.disabled_reason else {})}


def _switch(services: ApiServices, host: HostRecord, *, enabled: bool, reason: str) -> None:
    with services.database.write() as connection:
        if enabled:
            hosts.enable(connection, host.id)
        else:
            hosts.disable(connection, host.id, reason)


def _parsed(schema: type[Schema], body: dict[str, Any]) -> Schema:
    try:
        return schema.model_validate(body)
    except ValidationError as error:
        fault = error.errors()[0]
        raise InvalidRequest(f"Invalid input for {'.'.join(map(str, fault['loc'])) or 'body'}: {fault['msg']}") from error


def _view(host: HostRecord, version: Microversion) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "id": host.id,
        "binary": _BINARY,
        "host": host.name,
        "zone": DEFAULT_ZONE,
        "status": "disabled" if host.disabled else "enabled",
        "state": "up" if host.up else "down",
        "updated_at": micro_instant(host.updated),
        "disabled_reason": host.disabled_reason or None,
    }
    if version >= Microversion(2, 11):
        shown["forced_down"] = host.fenced
    return shown


def _get(services: ApiServices, service_id: str) -> HostRecord:
    with services.database.read() as connection:
        found = next((host for host in hosts.all(connection) if host.id == service_id), None)
    if found is None:
        raise not_found("Service", service_id)
    return found

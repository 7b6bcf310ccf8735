"""Flavors and their extra specs in the Compute API. `core.request` defines the meaning of extra specs."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final

from fastapi import Body, Request, Response

from pinfold.api.caller import caller_of
from pinfold.api.compute.flavors.bodies import AccessChange, CreateFlavor, ExtraSpecs, Filters, FlavorQuery, UpdateFlavor, read_boolean
from pinfold.api.compute.flavors.schemas import ExtraSpecsShown, FlavorAccess, FlavorList, FlavorListInFull, FlavorShown
from pinfold.api.compute.flavors.view import access, brief, full, may_use
from pinfold.api.compute.headers import Version
from pinfold.api.compute.links import ROOT, after_marker, next_page, sized
from pinfold.api.dependencies import ApiServices, Services
from pinfold.api.errors import ApiError
from pinfold.api.microversion import Microversion
from pinfold.api.response_schema import Link
from pinfold.api.router import Router
from pinfold.core.errors import InvalidRequest, not_found
from pinfold.core.request.model import Flavor
from pinfold.service.flavors import no_extra_spec
from pinfold.store import flavors as rows
from pinfold.store.records import FlavorRecord

router = Router(prefix=ROOT, tags=["flavors"])


_SORTABLE: Final[dict[str, Callable[[FlavorRecord], Any]]] = {
    "flavorid": lambda row: row.id,
    "name": lambda row: row.flavor.name,
    "memory_mb": lambda row: (row.flavor.memory_mib, row.id),
    "root_gb": lambda row: (row.flavor.disk_gib, row.id),
    "vcpus": lambda row: (row.flavor.vcpus, row.id),
    "id": lambda row: row.id,
}


@router.get("/flavors")
def list_flavors(asked: Filters, request: Request, services: Services, version: Version) -> FlavorList:
    """The flavors, in brief."""
    found, more = _list(asked, request, services, "flavors")
    listing: FlavorList = {"flavors": [brief(request, row, version) for row in found]}
    if more:
        listing["flavors_links"] = more
    return listing


@router.get("/flavors/detail")
def list_flavors_detail(asked: Filters, request: Request, services: Services, version: Version) -> FlavorListInFull:
    """The flavors, in full."""
    found, more = _list(asked, request, services, "flavors/detail")
    listing: FlavorListInFull = {"flavors": [full(request, row, version) for row in found]}
    if more:
        listing["flavors_links"] = more
    return listing


@router.get("/flavors/{flavor_id}")
def show_flavor(flavor_id: str, request: Request, services: Services, version: Version) -> FlavorShown:
    """One flavor by its id; a name is no id."""
    return {"flavor": full(request, _usable(services, request, flavor_id), version)}


@router.post("/flavors")
def create_flavor(body: CreateFlavor, request: Request, services: Services, version: Version) -> FlavorShown:
    """Make a flavor; 409 when its name or id exists."""
    asked = body.flavor
    if asked.description is not None and version < Microversion(2, 55):
        raise InvalidRequest("description is accepted from microversion 2.55 on", key="description")
    chosen = str(uuid.uuid4()) if asked.id is None or asked.id == "auto" else str(asked.id)
    new = FlavorRecord(
        id=chosen,
        flavor=Flavor(vcpus=asked.vcpus, memory_mib=asked.ram, disk_gib=asked.disk, name=asked.name),
        public=asked.is_public,
        description=asked.description,
        details=(("ephemeral", str(asked.ephemeral)), ("rxtx_factor", str(asked.rxtx_factor)), ("swap", str(asked.swap))),
    )
    return {"flavor": full(request, services.fleet.flavors.create(new), version)}


@router.put("/flavors/{flavor_id}")
def update_flavor(flavor_id: str, body: UpdateFlavor, request: Request, services: Services, version: Version) -> FlavorShown:
    """Change a flavor's description."""
    if version < Microversion(2, 55):
        raise not_found("The resource", request.url.path)
    return {"flavor": full(request, services.fleet.flavors.describe(flavor_id, body.flavor.description), version)}


@router.delete("/flavors/{flavor_id}", status_code=202, response_class=Response)
def delete_flavor(flavor_id: str, services: Services) -> Response:
    """Forget a flavor; servers keep what they were made of."""
    services.fleet.flavors.remove(flavor_id)
    return Response(status_code=202)


@router.get("/flavors/{flavor_id}/os-flavor-access")
def list_access(flavor_id: str, services: Services) -> FlavorAccess:
    """The projects that a flavor which is not public is given to. 404 for a public one."""
    row = services.fleet.flavors.get(flavor_id)
    if row.public:
        raise ApiError(404, "Access list not available for public flavors.")
    return access(row)


@router.post("/flavors/{flavor_id}/action")
def change_access(flavor_id: str, body: AccessChange, services: Services) -> FlavorAccess:
    """Grant a flavor that is not public to a project, or take it back: one of the two."""
    if len(body.model_fields_set) != 1:
        raise InvalidRequest("A flavor action is one of addTenantAccess and removeTenantAccess", key="action")
    if body.add is not None:
        return access(services.fleet.flavors.grant(flavor_id, body.add.tenant))
    if body.remove is not None:
        return access(services.fleet.flavors.revoke(flavor_id, body.remove.tenant))
    raise InvalidRequest("A flavor action takes an object", key="action")


@router.get("/flavors/{flavor_id}/os-extra_specs")
def list_extra_specs(flavor_id: str, request: Request, services: Services) -> ExtraSpecsShown:
    """A flavor's extra specs."""
    return {"extra_specs": dict(_usable(services, request, flavor_id).flavor.extra_specs)}


@router.post("/flavors/{flavor_id}/os-extra_specs")
def create_extra_specs(flavor_id: str, body: ExtraSpecs, services: Services) -> ExtraSpecsShown:
    """Add or replace extra specs. Each must be known and its value allowed; their combination is checked when a server is created."""
    specs = {key: str(value) for key, value in body.extra_specs.items()}
    services.fleet.flavors.set_extra_specs(flavor_id, specs)
    return {"extra_specs": specs}


@router.get("/flavors/{flavor_id}/os-extra_specs/{key}")
def show_extra_spec(flavor_id: str, key: str, request: Request, services: Services) -> dict[str, str]:
    """One extra spec."""
    specs = dict(_usable(services, request, flavor_id).flavor.extra_specs)
    if key not in specs:
        raise no_extra_spec(flavor_id, key)
    return {key: specs[key]}


@router.put("/flavors/{flavor_id}/os-extra_specs/{key}")
def update_extra_spec(
    flavor_id: str, key: str, body: Annotated[dict[str, str | int | float], Body(min_length=1, max_length=1)], services: Services
) -> dict[str, str]:
    """Set one extra spec; the body names the same key."""
    if key not in body:
        raise InvalidRequest(f"The body must hold the key {key!r} of the address alone", key=key)
    specs = {key: str(body[key])}
    services.fleet.flavors.set_extra_specs(flavor_id, specs)
    return specs


@router.delete("/flavors/{flavor_id}/os-extra_specs/{key}", status_code=200, response_class=Response)
def delete_extra_spec(flavor_id: str, key: str, services: Services) -> Response:
    """Remove one extra spec."""
    services.fleet.flavors.remove_extra_spec(flavor_id, key)
    return Response(status_code=200)


def _list(asked: FlavorQuery, request: Request, services: ApiServices, noun: str) -> tuple[Sequence[FlavorRecord], list[Link]]:
    """One page of the flavors, and the link to the next. `is_public` chooses only for who sees everything, as in Nova."""
    caller = caller_of(request)
    with services.database.read() as connection:
        found = rows.all(connection, public=_public(asked.is_public) if caller.everywhere else None)
    kept = [
        row
        for row in found
        if may_use(caller, row) and row.flavor.memory_mib >= asked.least_ram and row.flavor.disk_gib >= asked.least_disk
    ]
    kept.sort(key=_SORTABLE[asked.sort_key], reverse=asked.sort_dir == "desc")
    shown = sized(after_marker(kept, [row.id for row in kept], asked.marker), asked.limit)
    return shown, next_page(request, noun, shown, asked.limit, shown[-1].id if shown else None)


def _usable(services: ApiServices, request: Request, flavor_id: str) -> FlavorRecord:
    """The flavor of that id. Raises `NotFound` when there is none that the caller may use."""
    row = services.fleet.flavors.get(flavor_id)
    if not may_use(caller_of(request), row):
        raise not_found("Flavor", flavor_id)
    return row


def _public(text: str | None) -> bool | None:
    """The kinds of flavors that `is_public` selects; None is both."""
    if (text or "").lower() == "none":
        return None
    asked = read_boolean(text or "true")
    if not isinstance(asked, bool):
        raise InvalidRequest(f"is_public is {(text or '')[:64]!r}; it must be true, false or none", key="is_public")
    return asked

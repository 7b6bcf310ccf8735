"""Flavors and their extra specs in the Compute API. `core.request` defines the meaning of extra specs."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Body, Query, Request, Response
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool

from pinfold.api.compute.flavors.view import (
    ExtraSpecsShown,
    FlavorAccess,
    FlavorList,
    FlavorListInFull,
    FlavorShown,
    access,
    brief,
    full,
    projects,
)
from pinfold.api.compute.headers import Version
from pinfold.api.compute.links import ROOT, Limit, after_marker, next_page, sized
from pinfold.api.compute.names import Name
from pinfold.api.dependencies import ApiServices, Services
from pinfold.api.errors import ApiError, not_found
from pinfold.api.microversion import Microversion
from pinfold.api.response_schema import Link
from pinfold.api.text_pattern import TextPattern
from pinfold.core.errors import InvalidRequest
from pinfold.core.request.model import Flavor
from pinfold.core.request.vet import vet_extra_spec
from pinfold.store import flavors as rows
from pinfold.store.records import FlavorRecord

router = APIRouter(prefix=ROOT, tags=["flavors"])


_SPEC_KEY: Final = re.compile(r"[a-zA-Z0-9_\-.: ]{1,255}")
_MOST_SPECS: Final = 128
_MOST_PROJECTS: Final = 128
_MAX_INT: Final = 0x7FFFFFFF
_SORTABLE: Final[dict[str, Callable[[FlavorRecord], Any]]] = {
    "flavorid": lambda row: row.id,
    "name": lambda row: row.flavor.name,
    "memory_mb": lambda row: (row.flavor.memory_mib, row.id),
    "root_gb": lambda row: (row.flavor.disk_gib, row.id),
    "vcpus": lambda row: (row.flavor.vcpus, row.id),
    "id": lambda row: row.id,
}

_TRUE: Final = frozenset({"true", "1", "on", "yes", "y", "t"})
_FALSE: Final = frozenset({"false", "0", "off", "no", "n", "f"})


def _read_boolean(value: object) -> object:
    """A boolean, or a word that Nova accepts as one; everything else unchanged, so that it is refused."""
    word = value.lower() if isinstance(value, str) else None
    return True if word in _TRUE else False if word in _FALSE else value


BooleanWord = Annotated[StrictBool, BeforeValidator(_read_boolean)]
"""What Nova accepts as a boolean: JSON's own, and words such as "True" and "no", which some clients send."""
Count = Annotated[int, Field(ge=0, le=_MAX_INT)]
Positive = Annotated[int, Field(ge=1, le=_MAX_INT)]
FlavorId = Annotated[
    str,
    Field(min_length=1, max_length=255),
    TextPattern(pattern=r"^[\w.\- ]+$", allowed="a flavor's id has letters, digits, blanks and _.- and nothing else"),
]


ProjectId = Annotated[
    str,
    Field(min_length=1, max_length=255),
    TextPattern(pattern=r"^[a-zA-Z0-9-]*$", allowed="a project's id has letters, digits and - and nothing else"),
]


class _Closed(BaseModel):
    """A body without unknown keys. OpenStack's clients send some numbers as text, so numbers are read from text too."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)


class NewFlavor(_Closed):
    """The body of a create. `id` is the user's own, or made here when it is absent or `auto`."""

    name: Name
    ram: Positive
    vcpus: Positive
    disk: Count = 0
    id: FlavorId | Annotated[int, Field(ge=0, le=_MAX_INT)] | None = None
    swap: Count = 0
    ephemeral: Count = Field(default=0, alias="OS-FLV-EXT-DATA:ephemeral")
    rxtx_factor: Annotated[float, Field(gt=0, le=3.40282e38)] = 1.0
    is_public: BooleanWord = Field(default=True, alias="os-flavor-access:is_public")
    description: Annotated[str, Field(max_length=65535)] | None = None


class CreateFlavor(_Closed):
    """The envelope of a create."""

    flavor: NewFlavor


class FlavorChange(_Closed):
    """The changes to a flavor: its description."""

    description: Annotated[str, Field(max_length=65535)] | None


class UpdateFlavor(_Closed):
    """The envelope of an update."""

    flavor: FlavorChange


class ExtraSpecs(_Closed):
    """The body that adds extra specs."""

    extra_specs: Annotated[dict[str, str | int | float], Field(min_length=1, max_length=_MOST_SPECS)]


class Tenant(_Closed):
    """A project, by its id."""

    tenant: ProjectId


class AccessChange(_Closed):
    """A flavor's action: grant access to a project, or remove it."""

    add: Tenant | None = Field(default=None, alias="addTenantAccess")
    remove: Tenant | None = Field(default=None, alias="removeTenantAccess")


class FlavorQuery(BaseModel):
    """The query parameters of a listing of flavors."""

    limit: Limit = None
    marker: str | None = None
    is_public: str | None = None
    least_ram: Annotated[int, Field(alias="minRam", ge=0)] = 0
    least_disk: Annotated[int, Field(alias="minDisk", ge=0)] = 0
    sort_key: Literal["flavorid", "id", "name", "memory_mb", "root_gb", "vcpus"] = "flavorid"
    sort_dir: Literal["asc", "desc"] = "asc"


Asked = Annotated[FlavorQuery, Query()]


@router.get("/flavors")
def list_flavors(asked: Asked, request: Request, services: Services, version: Version) -> FlavorList:
    """The flavors, in brief."""
    found, more = _list(asked, request, services, "flavors")
    listing: FlavorList = {"flavors": [brief(request, row, version) for row in found]}
    if more:
        listing["flavors_links"] = more
    return listing


@router.get("/flavors/detail")
def list_flavors_detail(asked: Asked, request: Request, services: Services, version: Version) -> FlavorListInFull:
    """The flavors, in full."""
    found, more = _list(asked, request, services, "flavors/detail")
    listing: FlavorListInFull = {"flavors": [full(request, row, version) for row in found]}
    if more:
        listing["flavors_links"] = more
    return listing


@router.get("/flavors/{flavor_id}")
def show_flavor(flavor_id: str, request: Request, services: Services, version: Version) -> FlavorShown:
    """One flavor by its id; a name is no id."""
    return {"flavor": full(request, _get(services, flavor_id), version)}


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
    with services.database.write() as connection:
        stored = rows.create(connection, new)
    return {"flavor": full(request, stored, version)}


@router.put("/flavors/{flavor_id}")
def update_flavor(flavor_id: str, body: UpdateFlavor, request: Request, services: Services, version: Version) -> FlavorShown:
    """Change a flavor's description."""
    if version < Microversion(2, 55):
        raise not_found("The resource", request.url.path)
    with services.database.write() as connection:
        if not rows.describe(connection, flavor_id, body.flavor.description):
            raise not_found("Flavor", flavor_id)
    return {"flavor": full(request, _get(services, flavor_id), version)}


@router.delete("/flavors/{flavor_id}", status_code=202, response_class=Response)
def delete_flavor(flavor_id: str, services: Services) -> Response:
    """Forget a flavor; servers keep what they were made of."""
    with services.database.write() as connection:
        if not rows.remove(connection, flavor_id):
            raise not_found("Flavor", flavor_id)
    return Response(status_code=202)


@router.get("/flavors/{flavor_id}/os-flavor-access")
def list_access(flavor_id: str, services: Services) -> FlavorAccess:
    """The projects that a flavor which is not public is given to. 404 for a public one."""
    row = _get(services, flavor_id)
    if row.public:
        raise ApiError(404, "Access list not available for public flavors.")
    return access(row)


@router.post("/flavors/{flavor_id}/action")
def change_access(flavor_id: str, body: AccessChange, services: Services) -> FlavorAccess:
    """Grant a flavor that is not public to a project, or take it back: one of the two."""
    if len(body.model_fields_set) != 1:
        raise InvalidRequest("A flavor action is one of addTenantAccess and removeTenantAccess", key="action")
    with services.database.write() as connection:
        row = rows.hold(connection, flavor_id)
        if row is None:
            raise not_found("Flavor", flavor_id)
        if row.public:
            raise ApiError(409, "Can not add access to a public flavor." if body.add else "Can not remove access of a public flavor.")
        known = set(projects(row))
        if body.add is not None:
            if body.add.tenant in known:
                raise ApiError(409, f"Flavor access already exists for flavor {flavor_id} and project {body.add.tenant} combination.")
            known.add(body.add.tenant)
        elif body.remove is not None:
            if body.remove.tenant not in known:
                raise ApiError(404, f"Flavor access not found for {flavor_id} / {body.remove.tenant} combination.")
            known.remove(body.remove.tenant)
        if len(known) > _MOST_PROJECTS:
            raise ApiError(403, f"Flavor {flavor_id}: at most {_MOST_PROJECTS} projects may be given access")
        return access(rows.give(connection, flavor_id, tuple(sorted(known))))


@router.get("/flavors/{flavor_id}/os-extra_specs")
def list_extra_specs(flavor_id: str, services: Services) -> ExtraSpecsShown:
    """A flavor's extra specs."""
    return {"extra_specs": dict(_get(services, flavor_id).flavor.extra_specs)}


@router.post("/flavors/{flavor_id}/os-extra_specs")
def create_extra_specs(flavor_id: str, body: ExtraSpecs, services: Services) -> ExtraSpecsShown:
    """Add or replace extra specs. Each must be known and its value allowed; their combination is checked when a server is created."""
    specs = {key: str(value) for key, value in body.extra_specs.items()}
    _set(services, flavor_id, specs)
    return {"extra_specs": specs}


@router.get("/flavors/{flavor_id}/os-extra_specs/{key}")
def show_extra_spec(flavor_id: str, key: str, services: Services) -> dict[str, str]:
    """One extra spec."""
    specs = dict(_get(services, flavor_id).flavor.extra_specs)
    if key not in specs:
        raise _no_spec(flavor_id, key)
    return {key: specs[key]}


@router.put("/flavors/{flavor_id}/os-extra_specs/{key}")
def update_extra_spec(
    flavor_id: str, key: str, body: Annotated[dict[str, str | int | float], Body(min_length=1, max_length=1)], services: Services
) -> dict[str, str]:
    """Set one extra spec; the body names the same key."""
    if key not in body:
        raise InvalidRequest(f"The body must hold the key {key!r} of the address alone", key=key)
    specs = {key: str(body[key])}
    _set(services, flavor_id, specs)
    return specs


@router.delete("/flavors/{flavor_id}/os-extra_specs/{key}", status_code=200, response_class=Response)
def delete_extra_spec(flavor_id: str, key: str, services: Services) -> Response:
    """Remove one extra spec."""
    _get(services, flavor_id)
    with services.database.write() as connection:
        if not rows.remove_extra_spec(connection, flavor_id, key):
            raise _no_spec(flavor_id, key)
    return Response(status_code=200)


def _no_spec(flavor_id: str, key: str) -> ApiError:
    """The error for an extra spec that a flavor does not have, in Nova's words."""
    return ApiError(404, f"Flavor {flavor_id} has no extra specs with key {key[:255]}.")


def _list(asked: FlavorQuery, request: Request, services: ApiServices, noun: str) -> tuple[Sequence[FlavorRecord], list[Link]]:
    """One page of the flavors, and the link to the next."""
    with services.database.read() as connection:
        found = rows.all(connection, public=_public(asked.is_public))
    kept = [row for row in found if row.flavor.memory_mib >= asked.least_ram and row.flavor.disk_gib >= asked.least_disk]
    kept.sort(key=_SORTABLE[asked.sort_key], reverse=asked.sort_dir == "desc")
    shown = sized(after_marker(kept, [row.id for row in kept], asked.marker), asked.limit)
    return shown, next_page(request, noun, shown, asked.limit, shown[-1].id if shown else None)


def _public(text: str | None) -> bool | None:
    """The kinds of flavors that `is_public` selects; None is both."""
    if (text or "").lower() == "none":
        return None
    asked = _read_boolean(text or "true")
    if not isinstance(asked, bool):
        raise InvalidRequest(f"is_public is {(text or '')[:64]!r}; it must be true, false or none", key="is_public")
    return asked


def _get(services: ApiServices, flavor_id: str) -> FlavorRecord:
    with services.database.read() as connection:
        found = rows.find(connection, flavor_id)
    if found is None:
        raise not_found("Flavor", flavor_id)
    return found


def _set(services: ApiServices, flavor_id: str, specs: dict[str, str]) -> None:
    for key, value in specs.items():
        if not _SPEC_KEY.fullmatch(key) or len(value) > 255:
            raise InvalidRequest(
                f"extra spec {key[:64]!r}: keys and values have at most 255 characters, keys of letters, digits, blanks and _-.:", key=key
            )
        vet_extra_spec(key, value)
    with services.database.write() as connection:
        row = rows.hold(connection, flavor_id)
        if row is None:
            raise not_found("Flavor", flavor_id)
        if len({*dict(row.flavor.extra_specs), *specs}) > _MOST_SPECS:
            raise InvalidRequest(f"Flavor {flavor_id}: more than {_MOST_SPECS} extra specs", key="extra_specs")
        rows.set_extra_specs(connection, flavor_id, tuple(sorted(specs.items())))

"""Show a flavor in the Compute API, by microversion. Pure except for the links."""

from __future__ import annotations

from typing import Annotated, NotRequired

from starlette.requests import Request
from typing_extensions import TypedDict

from pinfold.api.compute.links import links
from pinfold.api.microversion import Microversion
from pinfold.api.response_schema import Link, closed, since
from pinfold.store import flavors as rows
from pinfold.store.records import FlavorRecord


@closed
class FlavorInBrief(TypedDict):
    """A flavor in a listing without detail."""

    id: str
    name: str
    links: list[Link]
    description: NotRequired[Annotated[str | None, since(55)]]


_Prefixed = TypedDict("_Prefixed", {"OS-FLV-EXT-DATA:ephemeral": int, "OS-FLV-DISABLED:disabled": bool, "os-flavor-access:is_public": bool})


@closed
class FlavorInFull(FlavorInBrief, _Prefixed):
    """A flavor in full. `swap` is '' for none before microversion 2.75."""

    ram: int
    disk: int
    vcpus: int
    swap: int | str
    rxtx_factor: float
    extra_specs: NotRequired[Annotated[dict[str, str], since(61)]]


@closed
class FlavorList(TypedDict):
    """Flavors in brief."""

    flavors: list[FlavorInBrief]
    flavors_links: NotRequired[list[Link]]


@closed
class FlavorListInFull(TypedDict):
    """Flavors in full."""

    flavors: list[FlavorInFull]
    flavors_links: NotRequired[list[Link]]


@closed
class FlavorShown(TypedDict):
    """One flavor."""

    flavor: FlavorInFull


@closed
class FlavorGrant(TypedDict):
    """A flavor and a project that may use it."""

    flavor_id: str
    tenant_id: str


@closed
class FlavorAccess(TypedDict):
    """Who may use a flavor that is not public, by project."""

    flavor_access: list[FlavorGrant]


@closed
class ExtraSpecsShown(TypedDict):
    """Extra specs by key."""

    extra_specs: dict[str, str]


def projects(row: FlavorRecord) -> tuple[str, ...]:
    """The ids of the projects to which a flavor is granted, in order."""
    return tuple(filter(None, dict(row.details).get(rows.PROJECTS, "").split(",")))


def access(row: FlavorRecord) -> FlavorAccess:
    """Who may use a flavor that is not public."""
    return {"flavor_access": [{"flavor_id": row.id, "tenant_id": project} for project in projects(row)]}


def full(request: Request, row: FlavorRecord, version: Microversion) -> FlavorInFull:
    """A flavor in full at that microversion."""
    details = dict(row.details)
    swap = int(details.get("swap", "0"))
    shown: FlavorInFull = {
        "id": row.id,
        "name": row.flavor.name,
        "ram": row.flavor.memory_mib,
        "disk": row.flavor.disk_gib,
        "vcpus": row.flavor.vcpus,
        "swap": swap if swap or version >= Microversion(2, 75) else "",
        "OS-FLV-EXT-DATA:ephemeral": int(details.get("ephemeral", "0")),
        "OS-FLV-DISABLED:disabled": False,
        "rxtx_factor": float(details.get("rxtx_factor", "1.0")),
        "os-flavor-access:is_public": row.public,
        "links": links(request, "flavors", row.id),
    }
    if version >= Microversion(2, 55):
        shown["description"] = row.description
    if version >= Microversion(2, 61):
        shown["extra_specs"] = dict(row.flavor.extra_specs)
    return shown


def brief(request: Request, row: FlavorRecord, version: Microversion) -> FlavorInBrief:
    """A flavor in a listing without detail."""
    shown: FlavorInBrief = {"id": row.id, "name": row.flavor.name, "links": links(request, "flavors", row.id)}
    if version >= Microversion(2, 55):
        shown["description"] = row.description
    return shown

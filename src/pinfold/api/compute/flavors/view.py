"""Show a flavor in the Compute API, by microversion. Pure except for the links."""

from __future__ import annotations

from starlette.requests import Request

from pinfold.api.caller import Caller
from pinfold.api.compute.flavors.schemas import FlavorAccess, FlavorInBrief, FlavorInFull
from pinfold.api.compute.links import links
from pinfold.api.microversion import Microversion
from pinfold.store import flavors
from pinfold.store.records import FlavorRecord


def may_use(caller: Caller, row: FlavorRecord) -> bool:
    """Whether a flavor exists for a caller: a public one, one that its project was given, and for who sees everything any."""
    return caller.everywhere or row.public or caller.project in flavors.projects(row)


def access(row: FlavorRecord) -> FlavorAccess:
    """Who may use a flavor that is not public."""
    return {"flavor_access": [{"flavor_id": row.id, "tenant_id": project} for project in flavors.projects(row)]}


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

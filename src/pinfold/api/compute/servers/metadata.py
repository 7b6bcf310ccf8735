"""Servers' metadata in the Compute API: pairs of text that users store with a server. They have no effect."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import Request, Response

from pinfold.api.compute.links import ROOT
from pinfold.api.compute.servers.bodies import OneMetadatum, ServerMetadata
from pinfold.api.compute.servers.schemas import MetadataShown, MetadatumShown
from pinfold.api.compute.servers.single import server, unlocked
from pinfold.api.dependencies import ApiServices, Services
from pinfold.api.router import Router
from pinfold.core.errors import InvalidRequest, not_found
from pinfold.core.identity import GuestId
from pinfold.store.records import Pairs

router = Router(prefix=ROOT, tags=["servers"])


@router.get("/servers/{server_id}/metadata")
def show_metadata(server_id: GuestId, request: Request, services: Services) -> MetadataShown:
    """A server's metadata."""
    return {"metadata": dict(server(services, request, server_id).metadata)}


@router.put("/servers/{server_id}/metadata")
def replace_metadata(server_id: GuestId, body: ServerMetadata, request: Request, services: Services) -> MetadataShown:
    """Replace a server's metadata."""
    return {"metadata": dict(_store_metadata(services, request, server_id, lambda _: body.metadata))}


@router.post("/servers/{server_id}/metadata")
def add_metadata(server_id: GuestId, body: ServerMetadata, request: Request, services: Services) -> MetadataShown:
    """Add to a server's metadata."""
    return {"metadata": dict(_store_metadata(services, request, server_id, lambda before: before | body.metadata))}


@router.get("/servers/{server_id}/metadata/{key}")
def show_metadatum(server_id: GuestId, key: str, request: Request, services: Services) -> MetadatumShown:
    """One entry of a server's metadata."""
    found = dict(server(services, request, server_id).metadata)
    if key not in found:
        raise not_found("Metadata item", key)
    return {"meta": {key: found[key]}}


@router.put("/servers/{server_id}/metadata/{key}")
def set_metadatum(server_id: GuestId, key: str, body: OneMetadatum, request: Request, services: Services) -> MetadatumShown:
    """Set one entry of a server's metadata; the body names the same key."""
    if key not in body.meta:
        raise InvalidRequest("Request body and URI mismatch", key=key)
    _store_metadata(services, request, server_id, lambda before: before | body.meta)
    return {"meta": body.meta}


@router.delete("/servers/{server_id}/metadata/{key}", status_code=204, response_class=Response)
def delete_metadatum(server_id: GuestId, key: str, request: Request, services: Services) -> Response:
    """Remove one entry of a server's metadata."""
    if key not in dict(server(services, request, server_id).metadata):
        raise not_found("Metadata item", key)
    _store_metadata(services, request, server_id, lambda before: {name: value for name, value in before.items() if name != key})
    return Response(status_code=204)


def _store_metadata(
    services: ApiServices, request: Request, server_id: GuestId, change: Callable[[dict[str, str]], dict[str, str]]
) -> Pairs:
    unlocked(services, request, server_id)
    return services.fleet.edits.change_metadata(server_id, change)

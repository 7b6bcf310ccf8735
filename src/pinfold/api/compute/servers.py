"""Servers in the Compute API: create, list, show, change, delete, and their NUMA topology. Actions have a file of their own."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Request, Response

from pinfold.api.accounts import Account
from pinfold.api.compute.headers import version_of
from pinfold.api.compute.links import ROOT, limit_of, links, page
from pinfold.api.compute.server_bodies import CreateServer, OneMetadatum, ServerMetadata, UpdateServer, refuse_meaningless
from pinfold.api.compute.server_status import shown
from pinfold.api.compute.server_view import brief, full, numa_of
from pinfold.api.errors import ApiError, not_found
from pinfold.api.image.catalog import CatalogImage, read_catalog
from pinfold.api.microversion import Microversion
from pinfold.api.services import ApiServices, services_of
from pinfold.core.errors import InvalidRequest
from pinfold.core.request.compile import compile_request
from pinfold.core.request.model import Flavor
from pinfold.store import claims, flavors, guests, hosts
from pinfold.store.guests import GuestFilter
from pinfold.store.model import FlavorRecord, GuestRecord, HostRecord, NewGuest, Pairs

router = APIRouter(prefix=ROOT, tags=["servers"])

Services = Annotated[ApiServices, Depends(services_of)]
Version = Annotated[Microversion, Depends(version_of)]

PROJECT: Final = "pinfold"
"""The one project there is: pinfold is no multi-tenant cloud."""


def account_of(request: Request) -> Account:
    """Who calls."""
    account: Account = request.state.account
    return account


@router.post("/servers", status_code=202)
def create_server(body: CreateServer, request: Request, services: Services, version: Version) -> dict[str, Any]:
    """Make one server or several. They are scheduled before the answer; one that no host takes is in error, with every host's reasons."""
    refuse_meaningless(body)
    asked = body.server
    _refuse_by_version(body, version)
    row = _flavor(services, str(asked.flavor))
    image = _image(services, asked.image or next((device.uuid for device in asked.block_device_mapping_v2), ""))
    if image is not None and row.flavor.memory_mib < image.min_ram_mib:
        raise InvalidRequest(f"Flavor's memory is too small for the image: {row.flavor.memory_mib} MiB, {image.min_ram_mib} MiB needed")
    if image is not None and 0 < row.flavor.disk_gib < image.min_disk_gib:
        raise InvalidRequest(f"Flavor's disk is too small for the image: {row.flavor.disk_gib} GiB, {image.min_disk_gib} GiB needed")
    compiled = compile_request(row.flavor, None if image is None else image.as_image(), disks=_disks(row.flavor, image), nics=0)
    only_on, zone = _forced_host(services, asked.host or asked.hypervisor_hostname, asked.availability_zone)
    least = asked.min_count or 1
    most = asked.max_count or least
    if most < least:
        raise InvalidRequest("min_count must be <= max_count", key="min_count")
    reservation = f"r-{uuid.uuid4().hex[:8]}"
    made = []
    for index in range(most):
        details = {
            "flavor_id": row.id,
            "hostname": asked.hostname or _hostname(asked.name),
            "image_id": image.id if image else "",
            "launch_index": str(index),
            "reservation_id": reservation,
            "tags": ",".join(sorted(set(asked.tags))),
            "zone": zone,
        }
        new = NewGuest(
            id=str(uuid.uuid4()),
            name=asked.name if most == 1 else f"{asked.name}-{index + 1}",
            flavor=row.flavor,
            request=compiled,
            image=image.name if image else "",
            project=PROJECT,
            owner=account_of(request).name,
            description=asked.description or (asked.name if version < Microversion(2, 19) else ""),
            metadata=tuple(sorted(asked.metadata.items())),
            details=tuple(sorted((key, value) for key, value in details.items() if value)),
        )
        made.append(services.lifecycle.create(new, only_on=only_on, member_of=services.aggregates_of_zone(zone)))
    if str(asked.return_reservation_id).lower() in ("true", "1"):
        return {"reservation_id": reservation}
    first = made[0]
    return {"server": {"id": first.id, "links": links(request, "servers", first.id), "OS-DCF:diskConfig": asked.disk_config}}


@router.get("/servers")
def list_servers(request: Request, services: Services) -> dict[str, Any]:
    """The servers, in brief, newest first."""
    found, _ = _list(request, services)
    limit = limit_of(request.query_params.get("limit"))
    return {"servers": [brief(request, guest) for guest in found]} | page(request, "servers", found, "servers", limit, _last(found))


@router.get("/servers/detail")
def list_servers_detail(request: Request, services: Services, version: Version) -> dict[str, Any]:
    """The servers, in full, newest first."""
    found, where = _list(request, services)
    limit = limit_of(request.query_params.get("limit"))
    listing = [full(request, guest, where.get(guest.host or ""), dict(guest.details).get("image_id", ""), version) for guest in found]
    return {"servers": listing} | page(request, "servers/detail", found, "servers", limit, _last(found))


@router.get("/servers/{server_id}")
def show_server(server_id: str, request: Request, services: Services, version: Version) -> dict[str, Any]:
    """One server by its id; a name is no id."""
    return {"server": _full(request, services, server(services, server_id), version)}


@router.put("/servers/{server_id}")
def update_server(server_id: str, body: UpdateServer, request: Request, services: Services, version: Version) -> dict[str, Any]:
    """Change a server's name or description."""
    asked = body.server
    if asked.description is not None and version < Microversion(2, 19):
        raise InvalidRequest("description is accepted from microversion 2.19 on", key="description")
    server(services, server_id)
    with services.database.write() as connection:
        guest = guests.edit(connection, server_id, name=asked.name, description=asked.description)
    return {"server": _full(request, services, guest, version)}


@router.delete("/servers/{server_id}", status_code=204, response_class=Response)
def delete_server(server_id: str, services: Services) -> Response:
    """Have a server removed. It is gone when its agent has confirmed that nothing of it remains."""
    server(services, server_id)
    services.lifecycle.delete(server_id)
    return Response(status_code=204)


@router.get("/servers/{server_id}/topology")
def show_topology(server_id: str, services: Services, version: Version) -> dict[str, Any]:
    """A server's NUMA topology: its cells, where they are, and the pCPU of each pinned vCPU."""
    if version < Microversion(2, 78):
        raise ApiError(404, "The resource could not be found.")
    guest = server(services, server_id)
    with services.database.read() as connection:
        return numa_of(guest, claims.live(connection, guest.id))


@router.get("/servers/{server_id}/metadata")
def show_metadata(server_id: str, services: Services) -> dict[str, Any]:
    """A server's metadata."""
    return {"metadata": dict(server(services, server_id).metadata)}


@router.put("/servers/{server_id}/metadata")
def replace_metadata(server_id: str, body: ServerMetadata, services: Services) -> dict[str, Any]:
    """Replace a server's metadata."""
    return {"metadata": dict(_store_metadata(services, server_id, lambda _: body.metadata))}


@router.post("/servers/{server_id}/metadata")
def add_metadata(server_id: str, body: ServerMetadata, services: Services) -> dict[str, Any]:
    """Add to a server's metadata."""
    return {"metadata": dict(_store_metadata(services, server_id, lambda before: before | body.metadata))}


@router.get("/servers/{server_id}/metadata/{key}")
def show_metadatum(server_id: str, key: str, services: Services) -> dict[str, Any]:
    """One entry of a server's metadata."""
    found = dict(server(services, server_id).metadata)
    if key not in found:
        raise not_found("Metadata item", key)
    return {"meta": {key: found[key]}}


@router.put("/servers/{server_id}/metadata/{key}")
def set_metadatum(server_id: str, key: str, body: OneMetadatum, services: Services) -> dict[str, Any]:
    """Set one entry of a server's metadata; the body names the same key."""
    if key not in body.meta:
        raise InvalidRequest("Request body and URI mismatch", key=key)
    _store_metadata(services, server_id, lambda before: before | body.meta)
    return {"meta": body.meta}


@router.delete("/servers/{server_id}/metadata/{key}", status_code=204, response_class=Response)
def delete_metadatum(server_id: str, key: str, services: Services) -> Response:
    """Remove one entry of a server's metadata."""
    if key not in dict(server(services, server_id).metadata):
        raise not_found("Metadata item", key)
    _store_metadata(services, server_id, lambda before: {name: value for name, value in before.items() if name != key})
    return Response(status_code=204)


def server(services: ApiServices, server_id: str) -> GuestRecord:
    """The guest of that id. Raises `ApiError` 404 when there is none, or it is deleted."""
    with services.database.read() as connection:
        found = guests.find(connection, server_id) if len(server_id) <= 36 else None
    if found is None or found.deleted is not None:
        raise not_found("Instance", server_id)
    return found


def _full(request: Request, services: ApiServices, guest: GuestRecord, version: Microversion) -> dict[str, Any]:
    host = None
    if guest.host is not None:
        with services.database.read() as connection:
            host = hosts.get(connection, guest.host)
    return full(request, guest, host, dict(guest.details).get("image_id", ""), version)


def _store_metadata(services: ApiServices, server_id: str, change: Callable[[dict[str, str]], dict[str, str]]) -> Pairs:
    with services.database.write() as connection:
        found = guests.find(connection, server_id)
        if found is None or found.deleted is not None:
            raise not_found("Instance", server_id)
        after = change(dict(found.metadata))
        if len(after) > 128:
            raise ApiError(403, "Maximum number of metadata items exceeds 128")
        return guests.edit(connection, server_id, metadata=tuple(sorted(after.items()))).metadata


def _refuse_by_version(body: CreateServer, version: Microversion) -> None:
    asked = body.server
    since = (("description", 19), ("tags", 52), ("host", 74), ("hypervisor_hostname", 74), ("hostname", 90))
    for key, minor in since:
        if getattr(asked, key) and version < Microversion(2, minor):
            raise InvalidRequest(f"{key} is accepted from microversion 2.{minor} on", key=key)
    if asked.networks is None and version >= Microversion(2, 37):
        raise InvalidRequest("Invalid input for field/attribute server. 'networks' is a required property", key="networks")


def _flavor(services: ApiServices, reference: str) -> FlavorRecord:
    flavor_id = reference.rstrip("/").rsplit("/", 1)[-1]
    with services.database.read() as connection:
        found = flavors.find(connection, flavor_id)
    if found is None:
        raise ApiError(400, f"Flavor {flavor_id[:255]} could not be found.")
    return found


def _image(services: ApiServices, reference: str) -> CatalogImage | None:
    if not reference:
        return None
    image_id = reference.rstrip("/").rsplit("/", 1)[-1]
    for image in read_catalog(services.images):
        if image.id == image_id:
            return image
    raise ApiError(400, f"Image {image_id[:255]} could not be found.")


def _disks(flavor: Flavor, image: CatalogImage | None) -> int:
    """How many disks the guest will have: its image's own, or an empty one where the flavor has a size; a ROM or kernel is none."""
    if image is not None and image.suffix in (".raw", ".img", ".qcow2"):
        return 1
    return 1 if flavor.disk_gib else 0


def _forced_host(services: ApiServices, name: str | None, zone: str | None) -> tuple[str, str]:
    """The id of the one host asked for ('' for any) and the zone; `ZONE:HOST` names both, as Nova's admins write it."""
    asked_zone, _, in_zone = (zone or "").partition(":")
    name = name or in_zone.partition(":")[0]
    services.check_zone(asked_zone)
    if not name:
        return "", asked_zone
    with services.database.read() as connection:
        found = hosts.find(connection, name)
    if found is None:
        raise ApiError(400, f"Compute host {name[:255]} could not be found.")
    return found.id, asked_zone


def _hostname(name: str) -> str:
    """A host name made of a server's name, as Nova makes it.

    >>> _hostname("My server_1!")
    'my-server-1'
    """
    return re.sub(r"[^a-z0-9.-]", "", re.sub(r"[ _]", "-", name.lower())).strip("-.")[:63] or "server"


def _list(request: Request, services: ApiServices) -> tuple[tuple[GuestRecord, ...], dict[str, HostRecord]]:
    """The guests that the query asks for, one page of them, and every host by id.

    Name, host, image, change time and deletion are the database's to filter; status and flavor are told from the rows.
    """
    asked = request.query_params
    limit = limit_of(asked.get("limit"))
    marker = asked.get("marker")
    with services.database.read() as connection:
        where = {host.id: host for host in hosts.all(connection)}
        named = {host.name: host.id for host in where.values()}
        host = asked.get("host") or asked.get("node") or asked.get("hypervisor_hostname")
        if (host and host not in named) or limit == 0:
            return (), where
        wanted = GuestFilter(
            name=asked.get("name"),
            host=named[host] if host else None,
            deleted=_flag(asked.get("deleted")),
            changed_since=_moment(asked.get("changes-since")),
        )
        keep = _kept(asked.get("status"), asked.get("flavor"), asked.get("image"), where)
        found: list[GuestRecord] = []
        while len(found) < limit:
            chunk = guests.page(connection, wanted, marker=marker, limit=limit)
            found.extend(guest for guest in chunk if keep(guest))
            if len(chunk) < limit:
                break
            marker = chunk[-1].id
    return tuple(found[:limit]), where


def _kept(status: str | None, flavor: str | None, image: str | None, where: dict[str, HostRecord]) -> Callable[[GuestRecord], bool]:
    def keep(guest: GuestRecord) -> bool:
        host = where.get(guest.host or "")
        details = dict(guest.details)
        return (
            (status is None or shown(guest, host_up=host is not None and host.up).status == status.upper())
            and (flavor is None or details.get("flavor_id") == flavor)
            and (image is None or details.get("image_id", "") == image)
        )

    return keep


def _flag(text: str | None) -> bool:
    return (text or "").lower() in ("true", "1", "yes", "on", "t", "y")


def _moment(text: str | None) -> float | None:
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidRequest(
            f"changes-since is {text[:64]!r}; it must be a time such as 2026-01-31T12:00:00Z", key="changes-since"
        ) from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _last(found: Sequence[GuestRecord]) -> str | None:
    return found[-1].id if found else None

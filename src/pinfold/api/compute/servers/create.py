"""Create servers in the Compute API: turn a body into guests and place them. The scheduler chooses the hosts."""

from __future__ import annotations

import re
import uuid
from typing import Annotated, Final

from fastapi import Body, Request
from msgspec.structs import replace

from pinfold.api.caller import Caller, caller_of, need_admin
from pinfold.api.compute.flavors.view import may_use
from pinfold.api.compute.headers import Version
from pinfold.api.compute.links import ROOT, links
from pinfold.api.compute.servers.bodies import CreateServer, NewServer, access_addresses, refuse_meaningless
from pinfold.api.compute.servers.boot_source import check_boot, disks, image_of, named_template, refuse_more_disks
from pinfold.api.compute.servers.config import config_of
from pinfold.api.compute.servers.networks import wanted_ports
from pinfold.api.compute.servers.scheduler_hints import host_of_hints
from pinfold.api.compute.servers.schemas import NewServerReference, ServerCreated, ServersReserved
from pinfold.api.compute.servers.single import requester
from pinfold.api.compute.zones import zone_members
from pinfold.api.dependencies import ApiServices, Services
from pinfold.api.errors import ApiError
from pinfold.api.microversion import Microversion
from pinfold.api.router import Router
from pinfold.core.config_drive import GuestConfig
from pinfold.core.errors import InvalidRequest, PinfoldError
from pinfold.core.identity import GuestId
from pinfold.core.request.promises import compile_for_server
from pinfold.service.guests.edits import refuse_too_much_metadata
from pinfold.store import hosts
from pinfold.store.flavors import FlavorChanged
from pinfold.store.records import CONFIG_DRIVE, FlavorRecord, NewGuest, Pairs

router = Router(prefix=ROOT, tags=["servers"])

_SINCE: Final = (("description", 19), ("tags", 52), ("host", 74), ("hypervisor_hostname", 74), ("hostname", 90))
_NETWORKS_NEEDED: Final = Microversion(2, 37)
_LABEL: Final = 63
"""The most characters of a label of a host name."""


@router.post("/servers", status_code=202, responses={501: {}})
def create_server(
    body: Annotated[CreateServer, Body()], request: Request, services: Services, version: Version
) -> ServerCreated | ServersReserved:
    """Create one server or several. They are scheduled before the response; a server that no host takes is in error, with every host's
    reasons.
    """
    asked = body.server
    refuse_too_much_metadata(body.server.metadata)
    refuse_meaningless(body)
    _refuse_by_version(asked, version)
    caller = caller_of(request)
    _need_admin_for_host(request, asked)
    made = _stored(services, request, body, caller, version)
    if str(asked.return_reservation_id).lower() in ("true", "1"):
        return {"reservation_id": dict(made[0].details)["reservation_id"]}
    first: NewServerReference = {"id": made[0].id, "links": links(request, "servers", made[0].id), "OS-DCF:diskConfig": asked.disk_config}
    if asked.admin_pass and services.shows_passwords:
        first["adminPass"] = asked.admin_pass
    return {"server": first}


def _stored(services: ApiServices, request: Request, body: CreateServer, caller: Caller, version: Microversion) -> list[NewGuest]:
    """The guests, stored and placed."""
    flavor_id = str(body.server.flavor).rstrip("/").rsplit("/", 1)[-1]
    seen = services.fleet.flavors.remembered(flavor_id)
    made = None if seen is None or not may_use(caller, seen) else _of_remembered(services, request, body, caller, version, seen)
    if made is None:
        made = _new_guests(services, request, body, caller, version, _flavor(services, caller, flavor_id))
        services.fleet.guests.create_all(made)
    return made


def _of_remembered(
    services: ApiServices, request: Request, body: CreateServer, caller: Caller, version: Microversion, seen: FlavorRecord
) -> list[NewGuest] | None:
    """The guests, stored and placed, by a flavor as it was some time ago; None, with nothing stored, if it is in the way or has changed
    since.
    """
    try:
        made = _new_guests(services, request, body, caller, version, seen, seen=seen)
    except PinfoldError:  # which the flavor as it is now may not raise
        return None
    try:
        services.fleet.guests.create_all(made)
    except FlavorChanged:
        return None
    return made


def _new_guests(
    services: ApiServices,
    request: Request,
    body: CreateServer,
    caller: Caller,
    version: Microversion,
    row: FlavorRecord,
    *,
    seen: FlavorRecord | None = None,
) -> list[NewGuest]:
    """The guests that the body asks for, of that flavor; `seen` if it was read some time ago."""
    asked = body.server
    refuse_more_disks(row)
    image = image_of(services, caller, asked, row.flavor)
    count = _count(asked)
    ports = () if named_template(row.flavor, image) else wanted_ports(services.fleet.networks, asked.networks, count)
    compiled = compile_for_server(row.flavor, image.as_image(), disks=disks(row.flavor, image), nics=len(ports))
    forced, zone = _forced_host(services, asked.host or asked.hypervisor_hostname, asked.availability_zone)
    only_on = host_of_hints(services, request, body, forced)
    member_of = zone_members(services, zone)
    config = config_of(services, asked, caller, image, ports)
    check_boot(asked, compiled, image, config)
    reservation = f"r-{uuid.uuid4().hex[:8]}"
    alike: dict[str, str | None] = {
        "disk_config": asked.disk_config,
        "flavor_id": row.id,
        "image_id": image.id,
        "reservation_id": reservation,
        "tags": ",".join(sorted(set(asked.tags))),
        "zone": zone,
        "key_name": "" if config is None else config.key_name,
        **access_addresses(asked),
    } | ({} if config is None else dict((CONFIG_DRIVE,)))
    kept = [(key, value) for key, value in alike.items() if value]
    metadata, by = tuple(sorted(asked.metadata.items())), requester(request)
    made = []
    for index in range(count):
        number = "" if count == 1 else f"-{index + 1}"
        name, hostname = asked.name + number, _numbered(asked.hostname or _hostname(asked.name), number)
        new = NewGuest(
            id=GuestId(str(uuid.uuid4())),
            name=name,
            flavor=row.flavor,
            request=compiled,
            image=image.file_of,
            project=caller.project,
            owner=caller.user,
            description=asked.description or (asked.name if version < Microversion(2, 19) else ""),
            metadata=metadata,
            details=tuple(sorted([*kept, ("hostname", hostname), ("launch_index", str(index))])),
            config=None if config is None else _named(config, name, hostname, zone, index, metadata),
            ports=ports,
            only_on=only_on,
            member_of=member_of,
            by=by,
            seen_flavor=seen,
        )
        made.append(new)
    return made


def _named(config: GuestConfig, name: str, hostname: str, zone: str, index: int, metadata: Pairs) -> GuestConfig:
    return replace(config, name=name, hostname=hostname, zone=zone, launch_index=index, metadata=metadata)


def _refuse_by_version(asked: NewServer, version: Microversion) -> None:
    for key, minor in _SINCE:
        if getattr(asked, key) and version < Microversion(2, minor):
            raise InvalidRequest(f"{key} is accepted from microversion 2.{minor} on", key=key)
    if asked.networks is None and version >= _NETWORKS_NEEDED:
        raise InvalidRequest("Invalid input for field/attribute server. 'networks' is a required property", key="networks")


def _need_admin_for_host(request: Request, asked: NewServer) -> None:
    """Only admins choose a host. Raises `ApiError` 403."""
    if asked.host or asked.hypervisor_hostname:
        need_admin(request, "compute:servers:create:requested_destination")
    if ":" in (asked.availability_zone or ""):
        need_admin(request, "os_compute_api:servers:create:forced_host")


def _count(asked: NewServer) -> int:
    least = asked.min_count or 1
    most = asked.max_count or least
    if most < least:
        raise InvalidRequest("min_count must be <= max_count", key="min_count")
    return most


def _flavor(services: ApiServices, caller: Caller, flavor_id: str) -> FlavorRecord:
    found = services.fleet.flavors.newest(flavor_id)
    if found is None or not may_use(caller, found):
        raise ApiError(400, f"Flavor {flavor_id[:255]} could not be found.")
    return found


def _forced_host(services: ApiServices, name: str | None, zone: str | None) -> tuple[str, str]:
    """The id of the requested host ('' for any) and the zone. `ZONE:HOST` names both, as Nova's admins write it."""
    asked_zone, _, in_zone = (zone or "").partition(":")
    name = name or in_zone.partition(":")[0]
    if not name:
        return "", asked_zone
    with services.database.read() as connection:
        found = hosts.find(connection, name)
    if found is None:
        raise ApiError(400, f"Compute host {name[:255]} could not be found.")
    return found.id, asked_zone


def _hostname(name: str) -> str:
    """A host name derived from a server's name, as Nova does it.

    >>> _hostname("My server_1!")
    'my-server-1'
    """
    return re.sub(r"[^a-z0-9.-]", "", re.sub(r"[ _]", "-", name.lower())).strip("-.")[:_LABEL] or "server"


def _numbered(hostname: str, number: str) -> str:
    """The host name of one of several servers: a number ends its first label, which keeps within the 63 characters of one.

    >>> _numbered("web", "-2"), _numbered("db.example.org", "-10"), _numbered("a" * 63, "-1") == "a" * 61 + "-1", _numbered("web", "")
    ('web-2', 'db-10.example.org', True, 'web')
    """
    label, dot, domain = hostname.partition(".")
    return f"{label[: _LABEL - len(number)]}{number}{dot}{domain}" if number else hostname

"""Listings of servers in the Compute API: filters, order and pages. `view` shows each server."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Any, Final, Literal

import sqlalchemy as sa
from fastapi import Query, Request
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, NaiveDatetime

from pinfold.api.caller import caller_of, need_everywhere
from pinfold.api.compute.headers import Version
from pinfold.api.compute.instants import seconds_of
from pinfold.api.compute.links import ROOT, Limit, after_marker, next_page, page_size
from pinfold.api.compute.names import name_matches
from pinfold.api.compute.servers.narrowing import with_a_tag, with_details, with_status, with_tags
from pinfold.api.compute.servers.schemas import ServerList, ServerListInFull
from pinfold.api.compute.servers.status import ServerStatus, server_status
from pinfold.api.compute.servers.view import Form, Place, brief, full
from pinfold.api.compute.zones import DEFAULT_ZONE
from pinfold.api.dependencies import ApiServices, Services
from pinfold.api.microversion import Microversion
from pinfold.api.router import Router
from pinfold.core.errors import InvalidRequest
from pinfold.core.identity import GuestId, HostId
from pinfold.core.networks import Port
from pinfold.service.aggregates import zones
from pinfold.store import aggregates, guests, hosts, ports
from pinfold.store.guest_filter import GuestFilter
from pinfold.store.records import GuestRecord

router = Router(prefix=ROOT, tags=["servers"])

_STRICT: Final = Microversion(2, 75)
_WITHOUT_EFFECT: Final = frozenset(
    {
        *(
            "access_ip_v4",
            "access_ip_v6",
            "created_at",
            "launched_at",
            "terminated_at",
            "progress",
            "kernel_id",
            "ramdisk_id",
        ),
        *("root_device_name", "soft_deleted"),
    }
)
"""Filters of Nova that clients do not offer and that mean nothing here: accepted and ignored."""
_DECIDED_BY_THE_DATABASE: Final = frozenset(
    {
        *("limit", "marker", "sort_key", "sort_dir", "name", "host", "node", "hypervisor_hostname", "uuid", "all_tenants", "ip", "ip6"),
        *("project_id", "tenant_id", "user_id", "deleted", "changes_since"),
    }
)
"""Query parameters for which no row has to be looked at."""
_WITHOUT_HOSTS: Final = _DECIDED_BY_THE_DATABASE - {"host", "node", "hypervisor_hostname"}
"""Those of them for which no host has to be known. Such a listing reads the hosts of the servers that it shows."""
_TRUE: Final = frozenset({"true", "1", "yes", "on", "t", "y"})

_SORTS: Final[dict[str, Callable[[GuestRecord], Any]]] = {
    "created_at": lambda guest: (guest.created, guest.id),
    "updated_at": lambda guest: (guest.updated, guest.id),
    "launched_at": lambda guest: (guest.launched or 0.0, guest.id),
    "display_name": lambda guest: (guest.name, guest.id),
    "uuid": lambda guest: guest.id,
    "host": lambda guest: (guest.host or "", guest.id),
    "memory_mb": lambda guest: (guest.flavor.memory_mib, guest.id),
    "vcpus": lambda guest: (guest.flavor.vcpus, guest.id),
    "root_gb": lambda guest: (guest.flavor.disk_gib, guest.id),
    "locked": lambda guest: (guest.locked, guest.id),
    "task_state": lambda guest: (guest.task, guest.id),
}
Instant = Annotated[AwareDatetime | NaiveDatetime, Field(examples=["2026-01-31T12:00:00Z"])]


class ServerQuery(BaseModel):
    """The query parameters of a listing of servers."""

    model_config = ConfigDict(populate_by_name=True)

    limit: Limit = None
    marker: str | None = None
    sort_key: list[str] = Field(default_factory=list)
    sort_dir: list[Literal["asc", "desc"]] = Field(default_factory=list)
    name: str | None = None
    description: str | None = None
    status: list[str] = Field(default_factory=list)
    vm_state: list[str] = Field(default_factory=list)
    task_state: str | None = None
    power_state: str | None = None
    flavor: str | None = None
    image: str | None = None
    host: str | None = None
    node: str | None = None
    hypervisor_hostname: str | None = None
    uuid: str | None = None
    all_tenants: str | None = None
    hostname: str | None = None
    reservation_id: str | None = None
    availability_zone: str | None = None
    tags: str | None = None
    tags_any: Annotated[str | None, Field(alias="tags-any")] = None
    not_tags: Annotated[str | None, Field(alias="not-tags")] = None
    not_tags_any: Annotated[str | None, Field(alias="not-tags-any")] = None
    project_id: str | None = None
    tenant_id: str | None = None
    user_id: str | None = None
    ip: str | None = None
    ip6: str | None = None
    key_name: str | None = None
    locked: str | None = None
    config_drive: str | None = None
    launch_index: str | None = None
    disk_config: str | None = None
    auto_disk_config: str | None = None
    deleted: str | None = None
    changes_since: Annotated[Instant | None, Field(alias="changes-since")] = None
    changes_before: Annotated[Instant | None, Field(alias="changes-before")] = None


Filters = Annotated[ServerQuery, Query()]


@router.get("/servers")
def list_servers(asked: Filters, request: Request, services: Services, version: Version) -> ServerList:
    """The servers, in brief, newest first by default."""
    _refuse_unknown(request, version)
    found = [guest for guest, _ in _page(services, request, asked)]
    listing: ServerList = {"servers": [brief(request, guest) for guest in found]}
    if more := next_page(request, "servers", found, asked.limit, _last(found)):
        listing["servers_links"] = more
    return listing


@router.get("/servers/detail")
def list_servers_detail(asked: Filters, request: Request, services: Services, version: Version) -> ServerListInFull:
    """The servers, in full, newest first by default."""
    _refuse_unknown(request, version)
    found = _page(services, request, asked)
    last = _last([guest for guest, _ in found])
    connected = _ports(services, [guest.id for guest, _ in found if guest.request.nics])
    shown = [full(request, guest, place, version, Form.LISTED, connected.get(guest.id, ())) for guest, place in found]
    listing: ServerListInFull = {"servers": shown}
    if more := next_page(request, "servers/detail", found, asked.limit, last):
        listing["servers_links"] = more
    return listing


def _ports(services: ApiServices, connected: Sequence[str]) -> dict[str, tuple[Port, ...]]:
    if not connected:
        return {}
    with services.database.read() as connection:
        return ports.of_guests(connection, connected)


def _refuse_unknown(request: Request, version: Microversion) -> None:
    """Refuse an unknown filter from microversion 2.75 on; ignore it before, as Nova does."""
    if version < _STRICT:
        return
    known = {field.alias or name for name, field in ServerQuery.model_fields.items()} | _WITHOUT_EFFECT
    unknown = sorted(request.query_params.keys() - known)
    if unknown:
        raise InvalidRequest(f"Additional query parameters are not allowed ({unknown[0][:64]!r} was unexpected)", key=unknown[0])


def _page(services: ApiServices, request: Request, asked: ServerQuery) -> list[tuple[GuestRecord, Place | None]]:
    """One page of the matching guests, each with its host."""
    limit, caller = page_size(asked.limit), caller_of(request)
    project = None if _all_projects(request, asked) else caller.project
    with services.database.read() as connection:
        marker = None if asked.marker is None else guests.find(connection, GuestId(asked.marker))
        if asked.marker is not None and (marker is None or not caller.sees(marker.project)):
            raise InvalidRequest(f"marker [{asked.marker[:255]}] not found", key="marker")
        by_host = bool(asked.model_fields_set - _WITHOUT_HOSTS)
        places = _places(connection) if by_host else {}
        wanted = _in_database(asked, places, project, _addressed(connection, asked), sees_hosts=caller.everywhere)
        if wanted is None or limit == 0:
            return []
        keep = _keeps(asked, places) if asked.model_fields_set - _DECIDED_BY_THE_DATABASE else None
        if asked.sort_key or asked.sort_dir:
            found = _after(guests.page(connection, wanted, keep=keep), asked, marker)[:limit]
        else:
            found = guests.page(connection, wanted, keep=keep, marker=asked.marker, limit=limit)
        if not by_host:
            places = _places(connection, {guest.host for guest in found if guest.host})
    return [(guest, places.get(guest.host or HostId(""))) for guest in found]


def _places(connection: sa.Connection, ids: Iterable[HostId] | None = None) -> dict[HostId, Place]:
    """Those hosts, all of them for None, with their zones."""
    of_host = zones(aggregates.all(connection))
    return {host.id: Place(host=host, zone=of_host.get(host.id, DEFAULT_ZONE)) for host in hosts.outlines(connection, ids)}


def _all_projects(request: Request, asked: ServerQuery) -> bool:
    """Whether the servers of all projects are asked for. Raises `ApiError` 403 for a caller who may not see them."""
    if asked.all_tenants is None or (asked.all_tenants and not _is_true(asked.all_tenants)):
        return False
    need_everywhere(request, f"os_compute_api:servers:{'detail' if request.url.path.endswith('/detail') else 'index'}:get_all_tenants")
    return True


def _addressed(connection: sa.Connection, asked: ServerQuery) -> frozenset[str] | None:
    """The guests with an address that holds the requested text, None where no address is asked for. All addresses are IPv4."""
    if asked.ip6:
        return frozenset()
    return ports.addressed(connection, asked.ip) if asked.ip else None


def _in_database(
    asked: ServerQuery, places: dict[HostId, Place], project: str | None, addressed: frozenset[str] | None, *, sees_hosts: bool
) -> GuestFilter | None:
    """The filters that the database applies; None if no guest can match. Who sees no hosts does not filter by them, as in Nova.
    `addressed` are the only guests that may match.
    """
    named = {place.host.name: host for host, place in places.items()}
    host = asked.host or asked.node or asked.hypervisor_hostname if sees_hosts else None
    projects = {asked_for for asked_for in (project, asked.project_id, asked.tenant_id) if asked_for is not None}
    if (host and host not in named) or len(projects) > 1:
        return None
    ids = addressed
    if asked.uuid is not None:
        ids = frozenset((asked.uuid,)) if ids is None else ids & {asked.uuid}
    statuses = with_status(map(str.upper, asked.status), [each for each, place in places.items() if not place.host.up])
    return GuestFilter(
        project=next(iter(projects), None),
        owner=asked.user_id,
        name=None if asked.name is None else name_matches(asked.name),
        host=named[host] if host else None,
        ids=None if ids is None else tuple(sorted(ids)),
        task="" if asked.task_state == "None" else asked.task_state,
        details=with_details(
            {
                "flavor_id": asked.flavor,
                "image_id": asked.image or None,
                "hostname": asked.hostname,
                "reservation_id": asked.reservation_id,
                "key_name": asked.key_name,
            }
        ),
        tags=with_tags(_words(asked.tags)),
        any_of=(*((statuses,) if asked.status else ()), *with_a_tag(_words(asked.tags_any))),
        deleted=_deleted(asked),
        changed_since=None if asked.changes_since is None else seconds_of(asked.changes_since),
    )


def _deleted(asked: ServerQuery) -> bool | None:
    """Whether deleted servers are asked for; None for those and the others, which is the default of a listing of changes, as in Nova."""
    if asked.deleted is None and (asked.changes_since is not None or asked.changes_before is not None):
        return None
    return _is_true(asked.deleted)


def _keeps(asked: ServerQuery, places: dict[HostId, Place]) -> Callable[[GuestRecord], bool]:
    """The filters that are applied to the rows."""
    statuses, states = {status.upper() for status in asked.status}, {state.lower() for state in asked.vm_state}
    before = None if asked.changes_before is None else seconds_of(asked.changes_before)
    tags, any_of = _words(asked.tags), _words(asked.tags_any)
    not_all, not_any = _words(asked.not_tags), _words(asked.not_tags_any)
    disk_config = asked.disk_config
    if asked.auto_disk_config is not None:
        disk_config = "AUTO" if _is_true(asked.auto_disk_config) else "MANUAL"

    def keep(guest: GuestRecord) -> bool:
        place = places.get(guest.host or HostId(""))
        details = dict(guest.details)
        words: ServerStatus = server_status(guest, host_up=place is not None and place.host.up)
        equal = (
            (asked.task_state, words.task_state or "None"),
            (asked.power_state, str(words.power_state)),
            (asked.flavor, details.get("flavor_id")),
            (asked.image, details.get("image_id", "")),
            (asked.hostname, details.get("hostname")),
            (asked.reservation_id, details.get("reservation_id")),
            (asked.key_name, details.get("key_name")),
            (asked.launch_index, details.get("launch_index", "0")),
            (disk_config, details.get("disk_config", "MANUAL")),
            (asked.availability_zone, place.zone if place else details.get("zone", "")),
        )
        return (
            all(wanted is None or wanted == found for wanted, found in equal)
            and (not statuses or words.status in statuses)
            and (not states or words.vm_state in states)
            and (asked.description is None or asked.description in guest.description)
            and (asked.config_drive is None or _is_true(asked.config_drive) == guest.config_drive)
            and (asked.locked is None or _is_true(asked.locked) == guest.locked)
            and (before is None or guest.updated <= before)
            and _tagged(_words(details.get("tags")), tags, any_of, not_all, not_any)
        )

    return keep


def _is_true(text: str | None) -> bool:
    return (text or "").lower() in _TRUE


def _words(text: str | None) -> frozenset[str]:
    return frozenset((text or "").split(",")) - {""}


def _tagged(found: frozenset[str], every: frozenset[str], any_of: frozenset[str], not_all: frozenset[str], not_any: frozenset[str]) -> bool:
    """Whether tags hold all of `every`, one of `any_of`, not all of `not_all` and none of `not_any`. An empty set has no effect."""
    return every <= found and (not any_of or bool(any_of & found)) and (not not_all or not not_all <= found) and not not_any & found


def _after(kept: Sequence[GuestRecord], asked: ServerQuery, marker: GuestRecord | None) -> Sequence[GuestRecord]:
    """The guests in the requested order that follow the marker. The marker itself may not be among them (any more)."""
    every = _sorted([*kept, *([] if marker is None or marker in kept else [marker])], asked)
    return after_marker(every, [guest.id for guest in every], asked.marker)


def _sorted(found: list[GuestRecord], asked: ServerQuery) -> list[GuestRecord]:
    keys = asked.sort_key or ["created_at"]
    unknown = sorted(set(keys) - _SORTS.keys())
    if unknown:
        raise InvalidRequest(f"sort_key {unknown[0][:64]!r} is not among {', '.join(sorted(_SORTS))}", key="sort_key")
    directions = [*asked.sort_dir, *["desc"] * len(keys)]
    ordered = list(found)
    for key, direction in reversed(list(zip(keys, directions, strict=False))):
        ordered.sort(key=_SORTS[key], reverse=direction == "desc")
    return ordered


def _last(found: Sequence[GuestRecord]) -> str | None:
    return found[-1].id if found else None

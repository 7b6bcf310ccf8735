"""What servers used over time, by project: Nova's simple tenant usage. It is read from the records of servers."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Final, NotRequired

import sqlalchemy as sa
from fastapi import Query, Request
from typing_extensions import TypedDict

from pinfold.api.caller import caller_of, forbidden
from pinfold.api.compute.headers import Version
from pinfold.api.compute.instants import micro_instant
from pinfold.api.compute.links import ROOT, Limit, after_marker, next_page, sized
from pinfold.api.compute.servers.status import server_status
from pinfold.api.dependencies import ApiServices, Services
from pinfold.api.microversion import Microversion
from pinfold.api.response_schema import Link, closed, since
from pinfold.api.router import Router
from pinfold.core.errors import InvalidRequest
from pinfold.store import guests, hosts
from pinfold.store.guest_filter import GuestFilter
from pinfold.store.records import GuestRecord

router = Router(prefix=f"{ROOT}/os-simple-tenant-usage", tags=["usage"])

_PAGED: Final = Microversion(2, 40)
_FORMS: Final = ("%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S.%f", "%Y-%m-%d %H:%M:%S.%f")


@closed
class ServerUsage(TypedDict):
    """What one server used. `hours` is for how long it existed in the period, `uptime` the seconds since it first ran."""

    hours: float
    flavor: str
    instance_id: str
    name: str
    tenant_id: str
    memory_mb: int
    local_gb: int
    vcpus: int
    started_at: str
    ended_at: str | None
    state: str
    uptime: int


@closed
class Usage(TypedDict):
    """What the servers of a project used in a period: hours, times vCPUs, MiB and GiB."""

    tenant_id: str
    start: str
    stop: str
    total_hours: float
    total_vcpus_usage: float
    total_memory_mb_usage: float
    total_local_gb_usage: float
    server_usages: NotRequired[list[ServerUsage]]


@closed
class NoUsage(TypedDict):
    """A project without servers in the period."""


@closed
class UsageList(TypedDict):
    """The usage of every project with servers in the period."""

    tenant_usages: list[Usage]
    tenant_usages_links: NotRequired[Annotated[list[Link], since(40)]]


@closed
class UsageShown(TypedDict):
    """The usage of one project."""

    tenant_usage: Usage | NoUsage
    tenant_usage_links: NotRequired[Annotated[list[Link], since(40)]]


Detailed = Annotated[str, Query(description="1 for each server too; as in Nova, anything else means no.")]


@router.get("")
def list_usage(
    request: Request,
    services: Services,
    version: Version,
    start: str = "",
    end: str = "",
    detailed: Detailed = "0",
    limit: Limit = None,
    marker: str | None = None,
) -> UsageList:
    """What the servers of each project used between two times."""
    period = _period(start, end)
    used = _used(services, period, None)
    page = _page(used, version, limit, marker)
    listing: UsageList = {"tenant_usages": [_summed(project, of_it, period, detailed == "1") for project, of_it in _by_project(page)]}
    if version >= _PAGED and (more := next_page(request, "os-simple-tenant-usage", page, limit, _last(page))):
        listing["tenant_usages_links"] = more
    return listing


@router.get("/{project}")
def show_usage(
    project: str,
    request: Request,
    services: Services,
    version: Version,
    start: str = "",
    end: str = "",
    limit: Limit = None,
    marker: str | None = None,
) -> UsageShown:
    """What each server of one project used between two times; that of others only for who sees them."""
    if not caller_of(request).sees(project):
        raise forbidden("os_compute_api:os-simple-tenant-usage:show")
    period = _period(start, end)
    page = _page(_used(services, period, project), version, limit, marker)
    shown: UsageShown = {"tenant_usage": _summed(project, page, period, True) if page else {}}
    if version >= _PAGED and (more := next_page(request, f"os-simple-tenant-usage/{project}", page, limit, _last(page))):
        shown["tenant_usage_links"] = more
    return shown


def _period(start: str, end: str) -> tuple[float, float]:
    """The period, which ends now at the latest. Raises `InvalidRequest`."""
    now = time.time()
    begins, ends = (_moment(text, now) for text in (start, end))
    if not begins < ends and (start or end):
        raise InvalidRequest("Invalid start time. The start time cannot occur after the end time.", key="start")
    return begins, min(ends, now)


def _moment(text: str, now: float) -> float:
    if not text:
        return now
    for form in _FORMS:
        try:
            return datetime.strptime(text, form).replace(tzinfo=UTC).timestamp()
        except (ValueError, OverflowError):
            continue
    raise InvalidRequest(f"Datetime is in invalid format: {text[:64]!r}, allowed is 2026-01-31T12:00:00", key="start")


def _used(services: ApiServices, period: tuple[float, float], project: str | None) -> list[ServerUsage]:
    """What each server used that ran in the period, oldest first."""
    with services.database.read() as connection:
        up = {host.id: host.up for host in hosts.outlines(connection)}
        found = _ran(connection, period, project)
    return [_usage(guest, period, up.get(guest.host, False) if guest.host else False) for guest in found]


def _ran(connection: sa.Connection, period: tuple[float, float], project: str | None) -> list[GuestRecord]:
    every = guests.page(connection, GuestFilter(project=project, deleted=None))
    begin, end = period
    return [
        guest
        for guest in reversed(every)
        if guest.launched is not None and guest.launched <= end and (guest.deleted is None or guest.deleted >= begin)
    ]


def _usage(guest: GuestRecord, period: tuple[float, float], host_up: bool) -> ServerUsage:
    assert guest.launched is not None
    begin, end = max(guest.launched, period[0]), period[1] if guest.deleted is None else min(guest.deleted, period[1])
    lived = (time.time() if guest.deleted is None else guest.deleted) - guest.launched
    return {
        "hours": (end - begin) / 3600.0,
        "flavor": guest.flavor.name,
        "instance_id": guest.id,
        "name": guest.name,
        "tenant_id": guest.project,
        "memory_mb": guest.flavor.memory_mib,
        "local_gb": guest.flavor.disk_gib,
        "vcpus": guest.flavor.vcpus,
        "started_at": micro_instant(guest.launched),
        "ended_at": None if guest.deleted is None else micro_instant(guest.deleted),
        "state": "terminated" if guest.deleted is not None else server_status(guest, host_up=host_up).vm_state,
        "uptime": int(lived),
    }


def _page(used: Sequence[ServerUsage], version: Microversion, limit: int | None, marker: str | None) -> Sequence[ServerUsage]:
    if version < _PAGED:
        return used
    return sized(after_marker(used, [one["instance_id"] for one in used], marker), limit)


def _last(page: Sequence[ServerUsage]) -> str | None:
    return page[-1]["instance_id"] if page else None


def _by_project(used: Iterable[ServerUsage]) -> Iterable[tuple[str, list[ServerUsage]]]:
    found: dict[str, list[ServerUsage]] = {}
    for one in used:
        found.setdefault(one["tenant_id"], []).append(one)
    return found.items()


def _summed(project: str, used: Sequence[ServerUsage], period: tuple[float, float], detailed: bool) -> Usage:
    summed: Usage = {
        "tenant_id": project,
        "start": micro_instant(period[0]),
        "stop": micro_instant(period[1]),
        "total_hours": sum(one["hours"] for one in used),
        "total_vcpus_usage": sum(one["hours"] * one["vcpus"] for one in used),
        "total_memory_mb_usage": sum(one["hours"] * one["memory_mb"] for one in used),
        "total_local_gb_usage": sum(one["hours"] * one["local_gb"] for one in used),
    }
    if detailed:
        summed["server_usages"] = list(used)
    return summed

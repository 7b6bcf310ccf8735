"""Hosts as the Compute API's hypervisors: their names, states and, before microversion 2.88, their totals."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from typing import Annotated, Final

import sqlalchemy as sa
from fastapi import Query, Request
from pydantic import BaseModel

from pinfold.api.compute.headers import Version
from pinfold.api.compute.hypervisors.schemas import (
    CpuInfo,
    HypervisorDetails,
    HypervisorInBrief,
    HypervisorInFull,
    HypervisorList,
    HypervisorListInFull,
    HypervisorMatches,
    HypervisorShown,
    HypervisorUptimeShown,
    HypervisorWithTotals,
    StatisticsShown,
)
from pinfold.api.compute.hypervisors.totals import Usage, usage
from pinfold.api.compute.links import ROOT, Limit, after_marker, next_page, sized
from pinfold.api.dependencies import Services
from pinfold.api.errors import ApiError
from pinfold.api.microversion import Microversion
from pinfold.api.response_schema import Link
from pinfold.api.router import Router
from pinfold.core.errors import not_found
from pinfold.core.identity import GuestId, HostId
from pinfold.core.plural import count
from pinfold.store import guests_of_hosts, hosts
from pinfold.store.guests_of_hosts import IDLE
from pinfold.store.hosts import HostOutline
from pinfold.store.records import HostLedger, HostRecord

router = Router(prefix=ROOT, tags=["hypervisors"])


_CPU_OBJECT: Final = Microversion(2, 28)
_PAGED: Final = Microversion(2, 33)
_BY_ID: Final = Microversion(2, 53)
_SERVERS_ALWAYS: Final = Microversion(2, 75)
_USAGE_GONE: Final = Microversion(2, 88)


class HypervisorQuery(BaseModel):
    """The query parameters of a listing of hypervisors."""

    limit: Limit = None
    marker: str | None = None
    hypervisor_hostname_pattern: str = ""
    with_servers: bool = False


Filters = Annotated[HypervisorQuery, Query()]
WithServers = Annotated[bool, Query()]


@router.get("/os-hypervisors", responses={404: {}})
def list_hypervisors(asked: Filters, request: Request, services: Services, version: Version) -> HypervisorList:
    """The hosts, in brief."""
    with services.database.read() as connection:
        shown = _page(connection, asked, version)
        there = _servers(connection, [one.id for one in shown], version) if asked.with_servers else {}
    listing: HypervisorList = {"hypervisors": [_brief(one, there.get(one.id)) for one in shown]}
    if more := _more(request, "os-hypervisors", shown, asked, version):
        listing["hypervisors_links"] = more
    return listing


@router.get("/os-hypervisors/detail", responses={404: {}})
def list_hypervisors_detail(asked: Filters, request: Request, services: Services, version: Version) -> HypervisorListInFull:
    """The hosts, in full."""
    with services.database.read() as connection:
        shown = _page(connection, asked, version)
        there = _servers(connection, [one.id for one in shown], version) if asked.with_servers else {}
        found = _in_full(connection, [one.id for one in shown], there, version)
    listing: HypervisorListInFull = {"hypervisors": found}
    if more := _more(request, "os-hypervisors/detail", shown, asked, version):
        listing["hypervisors_links"] = more
    return listing


@router.get("/os-hypervisors/statistics", responses={404: {}})
def show_statistics(services: Services, version: Version) -> StatisticsShown:
    """The fleet's totals. As in Nova, they are gone from microversion 2.88 on, because Placement has them."""
    if version >= _USAGE_GONE:
        raise ApiError(404, "The resource could not be found.")
    with services.database.read() as connection:
        now = guests_of_hosts.activity(connection)
        found = [usage(ledger, now.get(ledger.record.id, IDLE)) for ledger in hosts.ledgers(connection)]
    total = Usage(
        vcpus=sum(each.vcpus for each in found),
        vcpus_used=sum(each.vcpus_used for each in found),
        memory_mib=sum(each.memory_mib for each in found),
        memory_used_mib=sum(each.memory_used_mib for each in found),
        disk_gib=sum(each.disk_gib for each in found),
        disk_used_gib=sum(each.disk_used_gib for each in found),
        running=sum(each.running for each in found),
        building=sum(each.building for each in found),
    )
    return {"hypervisor_statistics": {"count": len(found), **total.as_api()}}


@router.get("/os-hypervisors/{hypervisor_id}")
def show_hypervisor(hypervisor_id: str, services: Services, version: Version, with_servers: WithServers = False) -> HypervisorShown:
    """One host by its id."""
    with services.database.read() as connection:
        wanted = [HostId(hypervisor_id)]
        there = _servers(connection, wanted, version) if with_servers else {}
        found = _in_full(connection, wanted, there, version)
    if not found:
        raise not_found("Hypervisor", hypervisor_id)
    return {"hypervisor": found[0]}


@router.get("/os-hypervisors/{pattern}/search", responses={404: {}})
def search_hypervisors(pattern: str, services: Services, version: Version) -> HypervisorMatches:
    """The hosts whose name contains a text. As in Nova, a filter of the listing replaces it from microversion 2.53 on."""
    with services.database.read() as connection:
        return {"hypervisors": [_brief(one) for one in _before_ids(connection, pattern, version)]}


@router.get("/os-hypervisors/{pattern}/servers", responses={404: {}})
def list_servers_of_hypervisors(pattern: str, services: Services, version: Version) -> HypervisorMatches:
    """The same with the servers on them."""
    with services.database.read() as connection:
        found = _before_ids(connection, pattern, version)
        there = guests_of_hosts.ids(connection, [one.id for one in found])
    return {"hypervisors": [_brief(one, there.get(one.id)) for one in found]}


@router.get("/os-hypervisors/{hypervisor_id}/uptime")
def show_uptime(hypervisor_id: str, services: Services, version: Version) -> HypervisorUptimeShown:
    """How long a host has been up, as its agent reported. It is gone from microversion 2.88 on."""
    if version >= _USAGE_GONE:
        raise ApiError(404, "The resource could not be found.")
    with services.database.read() as connection:
        record = next(iter(hosts.some(connection, [HostId(hypervisor_id)])), None)
    if record is None:
        raise not_found("Hypervisor", hypervisor_id)
    if not record.up:
        raise ApiError(400, f"Service of host {record.name} is down.")
    return {"hypervisor": {**_brief(record), "uptime": _uptime(record) or ""}}


def _before_ids(connection: sa.Connection, pattern: str, version: Microversion) -> Sequence[HostOutline]:
    """The hosts whose name contains a text, for requests of before microversion 2.53. Raises `ApiError` 404 for none, and since then."""
    if version >= _BY_ID:
        raise ApiError(404, "The resource could not be found.")
    return _matching(connection, pattern)


def _matching(connection: sa.Connection, pattern: str) -> Sequence[HostOutline]:
    found = [one for one in hosts.outlines(connection) if pattern.lower() in one.name.lower()]
    if pattern and not found:
        raise ApiError(404, f"No hypervisor matching '{pattern[:255]}' could be found.")
    return found


def _page(connection: sa.Connection, asked: HypervisorQuery, version: Microversion) -> Sequence[HostOutline]:
    """One page of the hosts; all of them before microversion 2.33, and whatever their names before 2.53."""
    found = _matching(connection, asked.hypervisor_hostname_pattern if version >= _BY_ID else "")
    if version < _PAGED:
        return found
    return sized(after_marker(found, [one.id for one in found], asked.marker), asked.limit)


def _more(request: Request, noun: str, shown: Sequence[HostOutline], asked: HypervisorQuery, version: Microversion) -> list[Link]:
    """The link to the next page."""
    return next_page(request, noun, shown, asked.limit, shown[-1].id if shown else None) if version >= _PAGED else []


def _servers(connection: sa.Connection, ids: Sequence[HostId], version: Microversion) -> dict[HostId, tuple[GuestId, ...]]:
    """The servers to show of each of the hosts: before microversion 2.75 of those alone that have some, before 2.53 of none."""
    if version < _BY_ID:
        return {}
    found = guests_of_hosts.ids(connection, ids)
    return {one: found.get(one, ()) for one in ids} if version >= _SERVERS_ALWAYS else found


def _brief(host: HostOutline | HostRecord, there: Sequence[GuestId] | None = None) -> HypervisorInBrief:
    shown: HypervisorInBrief = {
        "id": host.id,
        "hypervisor_hostname": host.name,
        "state": "up" if host.up else "down",
        "status": "disabled" if host.disabled else "enabled",
    }
    if there is not None:
        shown["servers"] = [{"uuid": guest, "name": f"instance-{guest}"} for guest in there]
    return shown


def _in_full(
    connection: sa.Connection, ids: Sequence[HostId], there: Mapping[HostId, Sequence[GuestId]], version: Microversion
) -> list[HypervisorInFull | HypervisorWithTotals]:
    """Those hosts in full, by name. `there` are the servers to show. Claims are read only where totals are shown."""
    if version >= _USAGE_GONE:
        return [{**_described(one, there.get(one.id)), "uptime": _uptime(one)} for one in hosts.some(connection, ids)]
    now = guests_of_hosts.activity(connection, ids)
    return [
        {
            **_described(ledger.record, there.get(ledger.record.id)),
            "cpu_info": _cpu_info(ledger, version),
            **usage(ledger, now.get(ledger.record.id, IDLE)).as_api(),
        }
        for ledger in hosts.ledgers(connection, ids)
    ]


def _described(host: HostRecord, there: Sequence[GuestId] | None) -> HypervisorDetails:
    facts = dict(host.report.facts)
    return {
        **_brief(host, there),
        "hypervisor_type": facts.get("hypervisor_type", "QEMU"),
        "hypervisor_version": _whole_number(facts, "hypervisor_version"),
        "host_ip": facts.get("host_ip", "127.0.0.1"),
        "service": {"id": host.id, "host": host.name, "disabled_reason": host.disabled_reason or None},
    }


def _cpu_info(ledger: HostLedger, version: Microversion) -> CpuInfo | str:
    topology = ledger.state.topology
    model = dict(ledger.record.report.facts).get("cpu_model", "")
    cpu: CpuInfo = {"model": model, "topology": {"cells": len(topology.cells), "cpus": len(topology.online)}}
    return cpu if version >= _CPU_OBJECT else json.dumps(cpu)


def _whole_number(facts: Mapping[str, str], name: str) -> int:
    """A fact that is a whole number; 0 if it is missing or impossible."""
    text = facts.get(name, "")
    return int(text) if re.fullmatch(r"[0-9]{1,12}", text, re.ASCII) else 0


def _uptime(host: HostRecord) -> str | None:
    """How long a host has been up; None if it is silent or did not report when it was started."""
    booted, now = _whole_number(dict(host.report.facts), "booted"), time.time()
    return up_words(now - booted) if 0 < booted <= now and host.up else None


def up_words(seconds: float) -> str:
    """A duration in the format of `uptime`.

    >>> up_words(4 * 86400 + 3 * 3600 + 5 * 60), up_words(86400), up_words(59)
    ('up 4 days, 3:05', 'up 1 day, 0:00', 'up 0:00')
    """
    minutes = int(seconds) // 60
    days, hours = minutes // 1440, f"{minutes // 60 % 24}:{minutes % 60:02}"
    return "up " + (f"{count(days, 'day')}, " if days else "") + hours

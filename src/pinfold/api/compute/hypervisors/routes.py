"""Hosts as the Compute API's hypervisors: their names, states and, before microversion 2.88, their totals."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from typing import Annotated, Final

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
from pinfold.api.compute.hypervisors.totals import Usage, guests_on, usage
from pinfold.api.compute.links import ROOT, Limit, after_marker, next_page, sized
from pinfold.api.dependencies import ApiServices, Services
from pinfold.api.errors import ApiError
from pinfold.api.microversion import Microversion
from pinfold.api.response_schema import Link
from pinfold.api.router import Router
from pinfold.core.errors import not_found
from pinfold.core.identity import HostId
from pinfold.core.plural import count
from pinfold.store import hosts
from pinfold.store.records import GuestRecord, HostLedger, HostRecord

router = Router(prefix=ROOT, tags=["hypervisors"])


_CPU_OBJECT: Final = Microversion(2, 28)
_PAGED: Final = Microversion(2, 33)
_BY_ID: Final = Microversion(2, 53)
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
    shown, there, more = _list(asked, request, services, version, "os-hypervisors")
    servers = asked.with_servers and version >= _BY_ID
    listing: HypervisorList = {"hypervisors": [_brief(one.record, there[one.record.id] if servers else ()) for one in shown]}
    if more:
        listing["hypervisors_links"] = more
    return listing


@router.get("/os-hypervisors/detail", responses={404: {}})
def list_hypervisors_detail(asked: Filters, request: Request, services: Services, version: Version) -> HypervisorListInFull:
    """The hosts, in full."""
    shown, there, more = _list(asked, request, services, version, "os-hypervisors/detail")
    servers = asked.with_servers and version >= _BY_ID
    found = [_full(one, there[one.record.id], version, with_servers=servers) for one in shown]
    listing: HypervisorListInFull = {"hypervisors": found}
    if more:
        listing["hypervisors_links"] = more
    return listing


@router.get("/os-hypervisors/statistics", responses={404: {}})
def show_statistics(services: Services, version: Version) -> StatisticsShown:
    """The fleet's totals. As in Nova, they are gone from microversion 2.88 on, because Placement has them."""
    if version >= _USAGE_GONE:
        raise ApiError(404, "The resource could not be found.")
    with services.database.read() as connection:
        found = [usage(ledger, guests_on(connection, ledger.record)) for ledger in hosts.ledgers(connection)]
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
        ledger = next(iter(hosts.ledgers(connection, [HostId(hypervisor_id)])), None)
        if ledger is None:
            raise not_found("Hypervisor", hypervisor_id)
        there = guests_on(connection, ledger.record)
    return {"hypervisor": _full(ledger, there, version, with_servers=with_servers and version >= _BY_ID)}


@router.get("/os-hypervisors/{pattern}/search", responses={404: {}})
def search_hypervisors(pattern: str, services: Services, version: Version) -> HypervisorMatches:
    """The hosts whose name contains a text. As in Nova, a filter of the listing replaces it from microversion 2.53 on."""
    return {"hypervisors": [_brief(record) for record, _ in _matching(services, pattern, version)]}


@router.get("/os-hypervisors/{pattern}/servers", responses={404: {}})
def list_servers_of_hypervisors(pattern: str, services: Services, version: Version) -> HypervisorMatches:
    """The same with the servers on them."""
    return {"hypervisors": [_brief(record, there) for record, there in _matching(services, pattern, version)]}


@router.get("/os-hypervisors/{hypervisor_id}/uptime")
def show_uptime(hypervisor_id: str, services: Services, version: Version) -> HypervisorUptimeShown:
    """How long a host has been up, as its agent reported. It is gone from microversion 2.88 on."""
    if version >= _USAGE_GONE:
        raise ApiError(404, "The resource could not be found.")
    with services.database.read() as connection:
        ledger = next(iter(hosts.ledgers(connection, [HostId(hypervisor_id)])), None)
    if ledger is None:
        raise not_found("Hypervisor", hypervisor_id)
    if not ledger.record.up:
        raise ApiError(400, f"Service of host {ledger.record.name} is down.")
    return {"hypervisor": {**_brief(ledger.record), "uptime": _uptime(ledger.record) or ""}}


def _matching(services: ApiServices, pattern: str, version: Microversion) -> list[tuple[HostRecord, tuple[GuestRecord, ...]]]:
    if version >= _BY_ID:
        raise ApiError(404, "The resource could not be found.")
    with services.database.read() as connection:
        found = [record for record in hosts.all(connection) if pattern.lower() in record.name.lower()]
        if not found:
            raise ApiError(404, f"No hypervisor matching '{pattern[:255]}' could be found.")
        return [(record, guests_on(connection, record)) for record in found]


def _list(
    asked: HypervisorQuery, request: Request, services: ApiServices, version: Microversion, noun: str
) -> tuple[Sequence[HostLedger], dict[HostId, tuple[GuestRecord, ...]], list[Link]]:
    """One page of the hosts, the guests on each by its id, and the link to the next page."""
    pattern = asked.hypervisor_hostname_pattern
    with services.database.read() as connection:
        found = [ledger for ledger in hosts.ledgers(connection) if pattern.lower() in ledger.record.name.lower()]
        if pattern and not found:
            raise ApiError(404, f"No hypervisor matching '{pattern[:255]}' could be found.")
        shown = sized(after_marker(found, [ledger.record.id for ledger in found], asked.marker), asked.limit)
        there = {ledger.record.id: guests_on(connection, ledger.record) for ledger in shown}
    last = shown[-1].record.id if shown else None
    more = next_page(request, noun, shown, asked.limit, last) if version >= _PAGED else []
    return shown, there, more


def _brief(host: HostRecord, there: Sequence[GuestRecord] = ()) -> HypervisorInBrief:
    shown: HypervisorInBrief = {
        "id": host.id,
        "hypervisor_hostname": host.name,
        "state": "up" if host.up else "down",
        "status": "disabled" if host.disabled else "enabled",
    }
    if there:
        shown["servers"] = [{"uuid": guest.id, "name": f"instance-{guest.id}"} for guest in there]
    return shown


def _full(
    ledger: HostLedger, there: tuple[GuestRecord, ...], version: Microversion, *, with_servers: bool
) -> HypervisorInFull | HypervisorWithTotals:
    host = ledger.record
    facts = dict(host.report.facts)
    described: HypervisorDetails = {
        **_brief(host, there if with_servers else ()),
        "hypervisor_type": facts.get("hypervisor_type", "QEMU"),
        "hypervisor_version": _whole_number(facts, "hypervisor_version"),
        "host_ip": facts.get("host_ip", "127.0.0.1"),
        "service": {"id": host.id, "host": host.name, "disabled_reason": host.disabled_reason or None},
    }
    if version >= _USAGE_GONE:
        return {**described, "uptime": _uptime(host)}
    online = ledger.state.topology.online
    cpu: CpuInfo = {"model": facts.get("cpu_model", ""), "topology": {"cells": len(ledger.state.topology.cells), "cpus": len(online)}}
    return {**described, "cpu_info": cpu if version >= _CPU_OBJECT else json.dumps(cpu), **usage(ledger, there).as_api()}


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

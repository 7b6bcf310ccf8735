"""Nova's earlier routes to hosts, `/os-hosts`: which take guests, in which zone, and what of each is promised to which project.

Nova changes hosts there only with hypervisors other than libvirt, so those routes are refused with what to do instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final, Literal

from fastapi import Query
from typing_extensions import TypedDict

from pinfold.api.compute.hypervisors.totals import usage
from pinfold.api.compute.links import ROOT
from pinfold.api.compute.proxies import until
from pinfold.api.compute.zones import DEFAULT_ZONE
from pinfold.api.dependencies import ApiServices, Services
from pinfold.api.errors import ApiError
from pinfold.api.request_body import RequestBody
from pinfold.api.response_schema import closed
from pinfold.api.router import Router
from pinfold.core.errors import InvalidRequest, not_found
from pinfold.service.aggregates import zones
from pinfold.store import aggregates, guests, guests_of_hosts, hosts
from pinfold.store.guest_filter import GuestFilter
from pinfold.store.guests_of_hosts import IDLE
from pinfold.store.records import GuestRecord

_ELSEWHERE: Final = "Hosts are at /os-hypervisors and /os-services: use `openstack hypervisor list` and `openstack compute service list`."
_NO_SWITCH: Final = "No host is changed here: use `openstack compute service set --disable HOST nova-compute`, or `--enable`."
_NO_POWER: Final = "pinfold starts, stops and reboots no hosts: do that on the host, or through its management controller."

router = Router(prefix=f"{ROOT}/os-hosts", tags=["hypervisors"], dependencies=[until(42, _ELSEWHERE)], responses={404: {}})


class HostChange(RequestBody):
    """What Nova lets hosts of some hypervisors change. One of the two is necessary."""

    status: Literal["enable", "disable"] = "enable"
    maintenance_mode: Literal["enable", "disable"] = "disable"


@closed
class HostInZone(TypedDict):
    """The agent of a host."""

    host_name: str
    service: Literal["compute"]
    zone: str


@closed
class HostsInZones(TypedDict):
    """The agents that take guests."""

    hosts: list[HostInZone]


@closed
class HostShare(TypedDict):
    """A part of a host: vCPUs, MiB, GiB. `project` is an id, or `(total)`, `(used_now)` and `(used_max)` as in Nova."""

    host: str
    project: str
    cpu: int
    memory_mb: int
    disk_gb: int


@closed
class HostResource(TypedDict):
    """The envelope of a part."""

    resource: HostShare


@closed
class HostResources(TypedDict):
    """The parts of a host: all of it, what is promised, what its servers have, and what those of each project have."""

    host: list[HostResource]


@router.get("")
def list_hosts_in_zones(services: Services, zone: Annotated[str, Query(max_length=255)] = "") -> HostsInZones:
    """The hosts that are enabled, by name; `zone` keeps those of one availability zone."""
    with services.database.read() as connection:
        found = [one for one in hosts.outlines(connection) if not one.disabled]
        of_host = zones(aggregates.all(connection))
    shown: list[HostInZone] = [{"host_name": one.name, "service": "compute", "zone": of_host.get(one.id, DEFAULT_ZONE)} for one in found]
    return {"hosts": [one for one in shown if zone in ("", one["zone"])]}


@router.get("/{name}")
def show_host_resources(name: str, services: Services) -> HostResources:
    """What one host has, and who uses how much of it."""
    with services.database.read() as connection:
        record = hosts.find(connection, name)
        if record is None:
            raise not_found("Host", name)
        (ledger,) = hosts.ledgers(connection, [record.id])
        there = guests.page(connection, GuestFilter(host=record.id))
        totals = usage(ledger, guests_of_hosts.activity(connection, [record.id]).get(record.id, IDLE))
    parts = [
        _part(name, "(total)", totals.vcpus, totals.memory_mib, totals.disk_gib),
        _part(name, "(used_now)", totals.vcpus_used, totals.memory_used_mib, totals.disk_used_gib),
        _sum(name, "(used_max)", there),
    ]
    projects = sorted({guest.project for guest in there})
    parts += [_sum(name, project, [guest for guest in there if guest.project == project]) for project in projects]
    return {"host": parts}


@router.put("/{name}", include_in_schema=False)
def keep_host(name: str, body: HostChange, services: Services) -> None:
    """Refuse to change a host that is there."""
    if not body.model_fields_set:
        raise InvalidRequest("status or maintenance_mode is missing; enable and disable are allowed", key="status")
    _check(services, name)
    raise ApiError(501, _NO_SWITCH)


@router.get("/{name}/startup", include_in_schema=False)
@router.get("/{name}/shutdown", include_in_schema=False)
@router.get("/{name}/reboot", include_in_schema=False)
def keep_power(name: str, services: Services) -> None:
    """Refuse to switch a host that is there on or off."""
    _check(services, name)
    raise ApiError(501, _NO_POWER)


def _part(host: str, project: str, cpu: int, memory_mib: int, disk_gib: int) -> HostResource:
    return {"resource": {"host": host, "project": project, "cpu": cpu, "memory_mb": memory_mib, "disk_gb": disk_gib}}


def _sum(host: str, project: str, there: Sequence[GuestRecord]) -> HostResource:
    """What the flavors of guests have together."""
    flavors = [guest.flavor for guest in there]
    return _part(
        host,
        project,
        sum(flavor.vcpus for flavor in flavors),
        sum(flavor.memory_mib for flavor in flavors),
        sum(flavor.disk_gib for flavor in flavors),
    )


def _check(services: ApiServices, name: str) -> None:
    """Raise `NotFound` unless there is a host of that name."""
    with services.database.read() as connection:
        if hosts.find(connection, name) is None:
            raise not_found("Host", name)

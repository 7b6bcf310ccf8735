"""Availability zones: the aggregates with a zone's name define it. A host in none of them is in `nova`, as clients expect."""

from __future__ import annotations

from typing import Final

from typing_extensions import TypedDict

from pinfold.api.compute.instants import micro_instant
from pinfold.api.compute.links import ROOT
from pinfold.api.dependencies import ApiServices, Services
from pinfold.api.errors import ApiError
from pinfold.api.response_schema import closed
from pinfold.api.router import Router
from pinfold.service.aggregates import ZONE_KEY, zones
from pinfold.store import aggregates, hosts
from pinfold.store.hosts import HostOutline

router = Router(prefix=f"{ROOT}/os-availability-zone", tags=["availability zones"])

DEFAULT_ZONE: Final = "nova"


def zone_members(services: ApiServices, zone: str) -> frozenset[str]:
    """The Placement aggregates that define a zone; none for '' and `nova`, which every host satisfies.

    Raises `ApiError` 400 for a zone that no aggregate defines.
    """
    if zone in ("", DEFAULT_ZONE):
        return frozenset()
    with services.database.read() as connection:
        found = aggregates.all(connection)
    members = frozenset(group.uuid for group in found if dict(group.metadata).get(ZONE_KEY) == zone)
    if not members:
        raise ApiError(400, "The requested availability zone is not available")
    return members


@closed
class ZoneState(TypedDict):
    """Whether a host of the zone takes servers."""

    available: bool


@closed
class ZoneService(TypedDict):
    """An agent: whether it is up, and whether it takes servers."""

    available: bool
    active: bool
    updated_at: str


@closed
class ZoneEntry(TypedDict):
    """A zone. In the detailed listing `hosts` has the services of each host by name; in the other it is null."""

    zoneName: str
    zoneState: ZoneState
    hosts: dict[str, dict[str, ZoneService]] | None


@closed
class ZoneList(TypedDict):
    """Every zone."""

    availabilityZoneInfo: list[ZoneEntry]


@router.get("")
def list_zones(services: Services) -> ZoneList:
    """The zones; one is available while a host of it is up and enabled."""
    return {"availabilityZoneInfo": [_view(zone, there, None) for zone, there in _by_zone(services)]}


@router.get("/detail")
def list_zones_detail(services: Services) -> ZoneList:
    """The zones with their hosts."""
    listing: list[ZoneEntry] = []
    for zone, there in _by_zone(services):
        shown: dict[str, dict[str, ZoneService]] = {
            host.name: {"nova-compute": {"available": host.up, "active": not host.disabled, "updated_at": micro_instant(host.updated)}}
            for host in there
        }
        listing.append(_view(zone, there, shown))
    return {"availabilityZoneInfo": listing}


def _by_zone(services: ApiServices) -> list[tuple[str, list[HostOutline]]]:
    with services.database.read() as connection:
        every = hosts.outlines(connection)
        of_host = zones(aggregates.all(connection))
    found: dict[str, list[HostOutline]] = {}
    for host in every:
        found.setdefault(of_host.get(host.id, DEFAULT_ZONE), []).append(host)
    return sorted(found.items())


def _view(zone: str, there: list[HostOutline], hosts_of_it: dict[str, dict[str, ZoneService]] | None) -> ZoneEntry:
    available = any(host.up and not host.disabled for host in there)
    return {"zoneName": zone, "zoneState": {"available": available}, "hosts": hosts_of_it}

"""Show a guest as a server of the Compute API, by microversion, and its NUMA topology. Pure except for the links."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, cast

from starlette.requests import Request

from pinfold.api.caller import caller_of
from pinfold.api.compute.instants import instant, micro_instant
from pinfold.api.compute.links import base, links
from pinfold.api.compute.servers.networks import addresses
from pinfold.api.compute.servers.schemas import (
    FlavorCopy,
    FlavorReference,
    ServerInBrief,
    ServerInFull,
    TopologyNode,
    TopologyShown,
)
from pinfold.api.compute.servers.status import ServerStatus, server_status
from pinfold.api.microversion import Microversion
from pinfold.core.fit.answer import Fit
from pinfold.core.networks import Port
from pinfold.core.request.model import GuestRequest
from pinfold.store.hosts import HostOutline
from pinfold.store.records import LOCKED_REASON, ClaimRecord, Fault, GuestRecord

_CHANGED_IN_FULL: Final = Microversion(2, 75)
_HOSTNAME_FOR_ALL: Final = Microversion(2, 90)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A server's host, and that host's availability zone."""

    host: HostOutline
    zone: str


class Form(Enum):
    """The response in which a server is shown; they differ by a few keys."""

    SHOWN = "shown"
    LISTED = "listed"
    CHANGED = "changed"
    """The answer to a change; before microversion 2.75 without what only operators see, and the MACs of addresses."""


def brief(request: Request, guest: GuestRecord) -> ServerInBrief:
    """A server in a listing without detail."""
    return {"id": guest.id, "name": guest.name, "links": links(request, "servers", guest.id)}


def full(
    request: Request,
    guest: GuestRecord,
    place: Place | None,
    version: Microversion,
    form: Form = Form.SHOWN,
    ports: Sequence[Port] = (),
) -> ServerInFull:
    """A server in full at that microversion, in that kind of response. `place` is None for a server without a host.

    Callers who see no hosts see no key and no sentence that names one, as in Nova.
    """
    everywhere = caller_of(request).everywhere
    in_full = form is not Form.CHANGED or version >= _CHANGED_IN_FULL
    words = server_status(guest, host_up=place is not None and place.host.up)
    details = dict(guest.details)
    image_id = details.get("image_id", "")
    image_links = [{"rel": "bookmark", "href": f"{base(request)}/compute/images/{image_id}"}]
    server: dict[str, Any] = {
        **brief(request, guest),
        "status": words.status,
        "image": {"id": image_id, "links": image_links} if image_id else "",
        "flavor": _flavor(request, guest, version),
        "user_id": guest.owner,
        "tenant_id": guest.project,
        "created": instant(guest.created),
        "updated": instant(guest.updated),
        "metadata": dict(guest.metadata),
        "addresses": addresses(ports, extended=in_full),
        "accessIPv4": details.get("accessIPv4", ""),
        "accessIPv6": details.get("accessIPv6", ""),
        "hostId": hashlib.sha224(f"{guest.project}{place.host.name}".encode()).hexdigest() if place else "",
        "OS-DCF:diskConfig": details.get("disk_config", "MANUAL"),
    }
    if words.status in ("ACTIVE", "BUILD"):
        server["progress"] = 100 if words.status == "ACTIVE" else 0
    if guest.fault is not None and words.status in ("ERROR", "DELETED"):
        message = guest.fault.message if everywhere else _without_hosts(guest, guest.fault)
        server["fault"] = {"code": guest.fault.code, "created": instant(guest.fault.created), "message": message}
    if in_full:
        extended = _extended(guest, place, version, words, details)
        server |= extended if everywhere else {key: value for key, value in extended.items() if not _is_of_hosts(key, version)}
    return cast("ServerInFull", server | _later(guest, version, details, form))


def _is_of_hosts(key: str, version: Microversion) -> bool:
    if key == "OS-EXT-SRV-ATTR:hostname" and version >= _HOSTNAME_FOR_ALL:
        return False
    return key.startswith("OS-EXT-SRV-ATTR:") or key == "host_status"


def _without_hosts(guest: GuestRecord, fault: Fault) -> str:
    """What a fault says to who sees no hosts."""
    if not fault.refusals:
        return fault.message
    if guest.host is None:
        return "No valid host was found."
    return f"The {'rebuild' if guest.rebuild else 'start'} of the server failed on its host."


def topology(request: GuestRequest, fit: Fit, *, everywhere: bool = True) -> TopologyShown:
    """A server's NUMA topology as `GET /servers/ID/topology` shows it; with places for who sees hosts."""
    nodes: list[TopologyNode] = []
    for guest_cell, cell in zip(request.cells, fit.cells, strict=True):
        threads = request.cpu_topology.threads if request.cpu_topology else 1
        vcpus = list(guest_cell.vcpus)
        siblings = [vcpus[at : at + threads] for at in range(0, len(vcpus), threads)] if threads > 1 else []
        node: TopologyNode = {"memory_mb": cell.memory_mib, "siblings": siblings, "vcpu_set": vcpus}
        if everywhere:
            node |= {"host_node": cell.host_cell, "cpu_pinning": {str(vcpu): pcpu for vcpu, pcpu in cell.pins}}
        nodes.append(node)
    sizes = {cell.page_kib for cell in fit.cells}
    return {"nodes": nodes, "pagesize_kb": sizes.pop() if len(sizes) == 1 and request.explicit_page else None}


def numa_of(guest: GuestRecord, claim: ClaimRecord | None, *, everywhere: bool) -> TopologyShown:
    """The topology of a guest with a claim; without a claim there is none."""
    return {"nodes": [], "pagesize_kb": None} if claim is None else topology(guest.request, claim.fit, everywhere=everywhere)


def _flavor(request: Request, guest: GuestRecord, version: Microversion) -> FlavorCopy | FlavorReference:
    details = dict(guest.details)
    if version < Microversion(2, 47):
        flavor_id = details.get("flavor_id", guest.flavor.name)
        return {"id": flavor_id, "links": [{"rel": "bookmark", "href": f"{base(request)}/compute/flavors/{flavor_id}"}]}
    return {
        "original_name": guest.flavor.name,
        "vcpus": guest.flavor.vcpus,
        "ram": guest.flavor.memory_mib,
        "disk": guest.flavor.disk_gib,
        "ephemeral": 0,
        "swap": 0,
        "extra_specs": dict(guest.flavor.extra_specs),
    }


def _extended(
    guest: GuestRecord, place: Place | None, version: Microversion, state: ServerStatus, details: dict[str, str]
) -> dict[str, Any]:
    """The keys of former API extensions: where the server is, what it is doing, when it ran."""
    extended: dict[str, Any] = {
        "config_drive": "True" if guest.config_drive else "",
        "key_name": details.get("key_name"),
        "OS-EXT-AZ:availability_zone": place.zone if place else details.get("zone", ""),
        "OS-EXT-STS:vm_state": state.vm_state,
        "OS-EXT-STS:task_state": state.task_state,
        "OS-EXT-STS:power_state": state.power_state,
        "OS-EXT-SRV-ATTR:host": place.host.name if place else None,
        "OS-EXT-SRV-ATTR:hypervisor_hostname": place.host.name if place else None,
        "OS-EXT-SRV-ATTR:instance_name": f"instance-{guest.id}",
        "OS-SRV-USG:launched_at": None if guest.launched is None else micro_instant(guest.launched),
        "OS-SRV-USG:terminated_at": None if guest.deleted is None else micro_instant(guest.deleted),
        "os-extended-volumes:volumes_attached": [],
    }
    if version >= Microversion(2, 3):
        extended |= {
            "OS-EXT-SRV-ATTR:reservation_id": details.get("reservation_id", ""),
            "OS-EXT-SRV-ATTR:launch_index": int(details.get("launch_index", "0")),
            "OS-EXT-SRV-ATTR:hostname": details.get("hostname", guest.name),
            "OS-EXT-SRV-ATTR:kernel_id": "",
            "OS-EXT-SRV-ATTR:ramdisk_id": "",
            "OS-EXT-SRV-ATTR:root_device_name": None,
            "OS-EXT-SRV-ATTR:user_data": None,
        }
    if version >= Microversion(2, 16):
        extended["host_status"] = _host_status(place)
    return extended


def _host_status(place: Place | None) -> str:
    if place is None:
        return ""
    if not place.host.up:
        return "UNKNOWN"
    return "MAINTENANCE" if place.host.disabled else "UP"


def _later(guest: GuestRecord, version: Microversion, details: dict[str, str], form: Form) -> dict[str, Any]:
    """The keys that microversions after 2.1 add to every form, each with the version that added it."""
    added: tuple[tuple[int, dict[str, Any]], ...] = (
        (9, {"locked": guest.locked}),
        (19, {"description": guest.description or None}),
        (26, {"tags": list(guest.tags)}),
        (63, {"trusted_image_certificates": None}),
        (71, {} if form is Form.LISTED else {"server_groups": []}),
        (73, {"locked_reason": details.get(LOCKED_REASON)}),
        (96, {"pinned_availability_zone": details.get("zone") or None}),
    )
    keys: dict[str, Any] = {}
    for minor, more in added:
        if version >= Microversion(2, minor):
            keys |= more
    return keys

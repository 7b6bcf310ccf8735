"""Show networks and ports as the Network API does. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pinfold.api.caller import BASIC_PROJECT
from pinfold.api.network.schemas import NetworkShown, PortShown, SubnetShown
from pinfold.core.networks import StaticRange, network_id, subnet_id
from pinfold.service.networks import FleetNetwork
from pinfold.store.ports import GuestPort

_USUAL_MTU: Final = 1500
ALIKE_IN_PORTS: Final[Mapping[str, object]] = {
    "name": "",
    "description": "",
    "admin_state_up": True,
    "device_owner": "compute:nova",
    "port_security_enabled": False,
    "binding:vnic_type": "normal",
}
"""What all ports have alike, so that a filter of another value finds none of them."""


def network(found: FleetNetwork) -> NetworkShown:
    """A network."""
    described = found.network
    hosts = f"{found.hosts} host{'' if found.hosts == 1 else 's'}"
    return {
        "id": found.id,
        "name": found.name,
        "tenant_id": BASIC_PROJECT,
        "project_id": BASIC_PROJECT,
        "description": found.dispute or f"{described.kind.value}, offered by {hosts}",
        "admin_state_up": True,
        "status": "ACTIVE",
        "shared": True,
        "mtu": described.mtu or _USUAL_MTU,
        "subnets": [found.subnet] if found.subnet else [],
        "port_security_enabled": False,
        "availability_zone_hints": [],
        "availability_zones": [],
        "tags": [],
        "router:external": False,
        "provider:network_type": "vlan" if described.vlan else "flat",
        "provider:physical_network": described.source,
        "provider:segmentation_id": described.vlan or None,
    }


def subnet(found: FleetNetwork, static: StaticRange) -> SubnetShown:
    """The subnet of a network with a static range."""
    return {
        "id": found.subnet,
        "name": found.name,
        "tenant_id": BASIC_PROJECT,
        "project_id": BASIC_PROJECT,
        "description": "",
        "network_id": found.id,
        "ip_version": 4,
        "cidr": static.cidr,
        "gateway_ip": static.gateway or None,
        "allocation_pools": [{"start": static.first, "end": static.last}],
        "dns_nameservers": list(static.dns),
        "host_routes": [],
        "enable_dhcp": False,
        "ipv6_address_mode": None,
        "ipv6_ra_mode": None,
        "subnetpool_id": None,
        "tags": [],
    }


def port(found: GuestPort) -> PortShown:
    """A port of a server."""
    each = found.port
    static = each.static
    return {
        "id": each.id,
        "name": "",
        "tenant_id": found.project,
        "project_id": found.project,
        "description": "",
        "network_id": network_id(each.network),
        "mac_address": each.mac,
        "admin_state_up": True,
        "status": "ACTIVE" if found.active else "DOWN",
        "fixed_ips": [] if static is None else [{"subnet_id": subnet_id(each.network, static), "ip_address": each.address}],
        "device_id": found.guest,
        "device_owner": "compute:nova",
        "security_groups": [],
        "allowed_address_pairs": [],
        "extra_dhcp_opts": [],
        "port_security_enabled": False,
        "tags": [],
        "binding:host_id": found.host,
        "binding:vif_type": "other" if found.host else "unbound",
        "binding:vnic_type": "normal",
        "binding:profile": {},
    }

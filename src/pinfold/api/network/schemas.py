"""Responses of the Network API v2, with the keys that Neutron's have."""

from __future__ import annotations

from typing import Literal, NotRequired

from typing_extensions import TypedDict

from pinfold.api.response_schema import Link, closed

_Provider = TypedDict(
    "_Provider",
    {
        "router:external": bool,
        "provider:network_type": Literal["flat", "vlan"],
        "provider:physical_network": str,
        "provider:segmentation_id": int | None,
    },
)
_Binding = TypedDict(
    "_Binding",
    {"binding:host_id": str, "binding:vif_type": str, "binding:vnic_type": Literal["normal"], "binding:profile": dict[str, str]},
)


@closed
class NetworkVersion(TypedDict):
    """A version of the API."""

    id: str
    status: str
    links: list[Link]


@closed
class NetworkVersions(TypedDict):
    """Every version."""

    versions: list[NetworkVersion]


@closed
class Resource(TypedDict):
    """A kind of thing that the API shows."""

    name: str
    collection: str
    links: list[Link]


@closed
class Resources(TypedDict):
    """Every kind."""

    resources: list[Resource]


@closed
class NetworkShown(_Provider):
    """A network that hosts offer."""

    id: str
    name: str
    tenant_id: str
    project_id: str
    description: str
    admin_state_up: bool
    status: Literal["ACTIVE"]
    shared: bool
    mtu: int
    subnets: list[str]
    port_security_enabled: bool
    availability_zone_hints: list[str]
    availability_zones: list[str]
    tags: list[str]


@closed
class NetworkList(TypedDict):
    """Networks by name."""

    networks: list[NetworkShown]
    networks_links: NotRequired[list[Link]]


@closed
class NetworkAnswer(TypedDict):
    """One network."""

    network: NetworkShown


@closed
class Pool(TypedDict):
    """The addresses that are given to ports."""

    start: str
    end: str


@closed
class SubnetShown(TypedDict):
    """The static range of a network."""

    id: str
    name: str
    tenant_id: str
    project_id: str
    description: str
    network_id: str
    ip_version: Literal[4]
    cidr: str
    gateway_ip: str | None
    allocation_pools: list[Pool]
    dns_nameservers: list[str]
    host_routes: list[str]
    enable_dhcp: bool
    ipv6_address_mode: None
    ipv6_ra_mode: None
    subnetpool_id: None
    tags: list[str]


@closed
class SubnetList(TypedDict):
    """Subnets by the name of their network."""

    subnets: list[SubnetShown]
    subnets_links: NotRequired[list[Link]]


@closed
class SubnetAnswer(TypedDict):
    """One subnet."""

    subnet: SubnetShown


@closed
class FixedIp(TypedDict):
    """An address of a port."""

    subnet_id: str
    ip_address: str


@closed
class PortShown(_Binding):
    """An interface of a server."""

    id: str
    name: str
    tenant_id: str
    project_id: str
    description: str
    network_id: str
    mac_address: str
    admin_state_up: bool
    status: Literal["ACTIVE", "DOWN"]
    fixed_ips: list[FixedIp]
    device_id: str
    device_owner: Literal["compute:nova"]
    security_groups: list[str]
    allowed_address_pairs: list[str]
    extra_dhcp_opts: list[str]
    port_security_enabled: bool
    tags: list[str]


@closed
class PortList(TypedDict):
    """Ports by server and place."""

    ports: list[PortShown]
    ports_links: NotRequired[list[Link]]


@closed
class PortAnswer(TypedDict):
    """One port."""

    port: PortShown


@closed
class SecurityGroupList(TypedDict):
    """No security groups."""

    security_groups: list[str]


@closed
class Extension(TypedDict):
    """An extension of the API."""

    alias: str
    name: str
    description: str
    updated: str
    links: list[Link]


@closed
class ExtensionList(TypedDict):
    """Every extension."""

    extensions: list[Extension]


@closed
class ExtensionAnswer(TypedDict):
    """One extension."""

    extension: Extension


@closed
class Quota(TypedDict):
    """How many of each a project may make: none, except that a server makes ports."""

    floatingip: int
    network: int
    port: int
    rbac_policy: int
    router: int
    security_group: int
    security_group_rule: int
    subnet: int
    subnetpool: int


@closed
class QuotaAnswer(TypedDict):
    """The quota of a project."""

    quota: Quota


@closed
class QuotaUse(TypedDict):
    """A limit, -1 for none, and how much of it a project has."""

    limit: int
    used: int
    reserved: int


@closed
class QuotaInDetail(TypedDict):
    """The quota of a project with what it has, by resource."""

    quota: dict[str, QuotaUse]

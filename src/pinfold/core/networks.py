"""Networks that hosts offer to guests, and guests' ports on them. Pure. `config.networks` reads a host's file; `store.ports` keeps ports.

A port is a guest's network interface in the words of OpenStack's Network API.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from enum import Enum
from ipaddress import IPv4Address, IPv4Network
from typing import Annotated, Final

from msgspec import Meta, Struct

from pinfold.core.bounds import CellIndex, Uuid
from pinfold.core.errors import InvalidRequest

MOST_NETWORKS: Final = 64
"""The most networks of a host, and the most ports of a guest."""
MOST_INTERFACES: Final = 16
"""The most interfaces that a server may ask for: the emulated machine has slots for them beside its other devices."""
MOST_DNS: Final = 8
MOST_ADDRESSES: Final = 65_536
"""The most addresses of a static range."""

NetworkName = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,62}\Z")]
"""The name of a network. It is safe in a path, in XML and as a shell word."""
DeviceName = Annotated[str, Meta(pattern=r"\A([A-Za-z0-9][A-Za-z0-9._:-]{0,63})?\Z")]
"""The name of a bridge, a device or a libvirt network; '' for none."""
Mac = Annotated[str, Meta(pattern=r"\A[0-9a-f]{2}(:[0-9a-f]{2}){5}\Z")]
Address = Annotated[str, Meta(pattern=r"\A[0-9]{1,3}(\.[0-9]{1,3}){3}\Z")]
"""An IPv4 address."""
MaybeAddress = Annotated[str, Meta(pattern=r"\A([0-9]{1,3}(\.[0-9]{1,3}){3})?\Z")]
Mtu = Annotated[int, Meta(ge=576, le=65_535)]

_IDS: Final = uuid.UUID("2f0dbb0e-6f6c-5c0e-9f5b-2a7c6c3a8d11")
"""The namespace of the ids of networks and subnets."""


class NetworkKind(Enum):
    """How a guest is connected."""

    BRIDGE = "bridge"
    """to a Linux bridge"""
    OVS = "ovs"
    """to a bridge of Open vSwitch"""
    MACVTAP = "macvtap"
    """to a device of the host, by a macvtap in bridge mode"""
    LIBVIRT = "libvirt"
    """to a network that libvirt manages"""
    USER = "user"
    """through QEMU's user mode: the guest reaches out, nobody reaches it, and the host needs no rights"""


class StaticRange(Struct, frozen=True, kw_only=True):
    """The addresses that the service gives to guests: `first` to `last` of the subnet `cidr`. `gateway` is '' for none."""

    cidr: Annotated[str, Meta(max_length=32)]
    first: Address
    last: Address
    gateway: MaybeAddress = ""
    dns: Annotated[tuple[Address, ...], Meta(max_length=MOST_DNS)] = ()

    @property
    def netmask(self) -> str:
        """The mask of the subnet, such as 255.255.255.0."""
        return str(IPv4Network(self.cidr).netmask)

    def addresses(self) -> Iterator[str]:
        """The addresses of the range, ascending."""
        return (str(IPv4Address(number)) for number in range(int(IPv4Address(self.first)), int(IPv4Address(self.last)) + 1))

    def holds(self, address: str) -> bool:
        """Whether the address is in the range.

        >>> StaticRange(cidr="192.0.2.0/24", first="192.0.2.9", last="192.0.2.20").holds("192.0.2.10")
        True
        """
        try:
            return IPv4Address(self.first) <= IPv4Address(address) <= IPv4Address(self.last)
        except ValueError:
            return False


class HostNetwork(Struct, frozen=True, kw_only=True):
    """One network that a host offers. `source` is the bridge, device or libvirt network, '' for user mode. `mtu` is 0 for the device's own,
    `vlan` 0 for none. `cell` is the host cell of the physical interface, if it is known. Without `static`, guests ask a DHCP server.
    """

    name: NetworkName
    kind: NetworkKind
    source: DeviceName = ""
    mtu: Annotated[int, Meta(ge=0, le=65_535)] = 0
    vlan: Annotated[int, Meta(ge=0, le=4094)] = 0
    cell: CellIndex | None = None
    static: StaticRange | None = None

    def sentence(self) -> str:
        """What guests are connected to, and their addresses, without its name.

        >>> HostNetwork(name="lan", kind=NetworkKind.BRIDGE, source="br0", vlan=5).sentence()
        'bridge br0, VLAN 5; guests ask a DHCP server for their addresses'
        >>> HostNetwork(name="out", kind=NetworkKind.USER).sentence()
        'user; guests ask a DHCP server for their addresses'
        """
        link = f"{self.kind.value} {self.source}".rstrip() + (f", VLAN {self.vlan}" if self.vlan else "")
        if self.static is None:
            return f"{link}; guests ask a DHCP server for their addresses"
        return f"{link}; guests get addresses from {self.static.first} to {self.static.last} in {self.static.cidr}"

    @property
    def has_queues(self) -> bool:
        """Whether an interface on it can have several queues. QEMU's user mode has one."""
        return self.kind is not NetworkKind.USER


HostNetworks = Annotated[tuple[HostNetwork, ...], Meta(max_length=MOST_NETWORKS)]


class Port(Struct, frozen=True, kw_only=True):
    """A guest's interface on a network. `address` is from the range `static`; it is '' where the guest asks a DHCP server."""

    id: Uuid
    network: NetworkName
    mac: Mac
    mtu: Annotated[int, Meta(ge=0, le=65_535)] = 0
    address: MaybeAddress = ""
    static: StaticRange | None = None


Ports = Annotated[tuple[Port, ...], Meta(max_length=MOST_NETWORKS)]
Macs = Annotated[tuple[Mac, ...], Meta(max_length=2 * MOST_NETWORKS)]


def check_networks(networks: tuple[HostNetwork, ...]) -> None:
    """Check the networks in an agent's report beyond their types. Raises `InvalidRequest` naming the network, the value and what is
    allowed.
    """
    names = [network.name for network in networks]
    if len(set(names)) != len(names):
        raise InvalidRequest(f"networks are {', '.join(names)}; each name is allowed once", key="networks")
    for network in networks:
        if network.static is not None:
            _check_static(network.name, network.static)


def _check_static(name: str, static: StaticRange) -> None:
    try:
        subnet, first, last = IPv4Network(static.cidr), IPv4Address(static.first), IPv4Address(static.last)
        others = [IPv4Address(text) for text in (*static.dns, *filter(None, [static.gateway]))]
    except ValueError as error:
        raise InvalidRequest(f"the static range of network {name} is not valid: {error}", key="networks") from error
    usable = first in subnet and last in subnet and first <= last and int(last) - int(first) < MOST_ADDRESSES
    if not usable or (static.gateway and others[-1] not in subnet):
        raise InvalidRequest(
            f"the static range of network {name} is {first} to {last} of {subnet}; at most {MOST_ADDRESSES} addresses of the subnet, and a "
            "gateway in it, are allowed",
            key="networks",
        )


def network_id(name: str) -> str:
    """The id of a network in the Network API: the same for that name in every fleet and at every time.

    >>> network_id("lan") == network_id("lan") != network_id("wan")
    True
    """
    return str(uuid.uuid5(_IDS, f"network {name}"))


def subnet_id(name: str, static: StaticRange) -> str:
    """The id of a network's subnet; another subnet has another id."""
    return str(uuid.uuid5(_IDS, f"subnet {name} {static.cidr}"))


def mac_of(port: str) -> str:
    """The MAC address of the port of that id. It is locally administered.

    >>> mac_of("0b0e2f26-6a3b-4a4e-8d4c-5f0f3b8a3f11")[:3]
    '02:'
    """
    digits = uuid.uuid5(_IDS, f"mac {port}").hex[:10]
    return ":".join(["02", *(digits[at : at + 2] for at in range(0, 10, 2))])

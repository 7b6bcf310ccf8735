"""`<interface>` of domain XML: write it from an `Interface`, and read it. Pure.

Source: "Network interfaces" in libvirt's documentation of the domain format.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from msgspec import Struct

from pinfold.core.networks import NetworkKind
from pinfold.drivers.libvirt import xmltext
from pinfold.drivers.port import Interface

_HOST_MTU: Final = (NetworkKind.BRIDGE, NetworkKind.OVS, NetworkKind.LIBVIRT)
"""The kinds for which libvirt sets the MTU of the host's side."""
_SOURCE: Final = {"bridge": "bridge", "direct": "dev", "network": "network", "user": ""}
"""The attribute of `<source>` that names what an interface of that type is connected to."""


class DefinedInterface(Struct, frozen=True, kw_only=True):
    """An interface in a definition. `kind` is None and `source` '' for one of a type that pinfold does not write."""

    mac: str
    kind: NetworkKind | None
    source: str = ""
    vlan: int = 0
    mtu: int = 0
    port: str = ""
    queues: int = 1


def element(interface: Interface) -> Element:
    """The `<interface>`, with a virtio device.

    The `<driver>` of several queues names no backend: libvirt takes vhost-net where the host has it, as for one queue, and QEMU's own else.
    """
    network = interface.network
    match network.kind:
        case NetworkKind.BRIDGE | NetworkKind.OVS:
            found = _connected("bridge", {"bridge": network.source})
        case NetworkKind.MACVTAP:
            found = _connected("direct", {"dev": network.source, "mode": "bridge"})
        case NetworkKind.LIBVIRT:
            found = _connected("network", {"network": network.source})
        case NetworkKind.USER:
            found = Element("interface", {"type": "user"})
    found.insert(0, Element("mac", {"address": interface.mac}))
    if network.kind is NetworkKind.OVS:
        if network.vlan:
            SubElement(SubElement(found, "vlan"), "tag", {"id": str(network.vlan)})
        SubElement(SubElement(found, "virtualport", {"type": "openvswitch"}), "parameters", {"interfaceid": interface.port})
    SubElement(found, "model", {"type": "virtio"})
    if interface.queues > 1:
        SubElement(found, "driver", {"queues": str(interface.queues)})
    if network.mtu and network.kind in _HOST_MTU:
        SubElement(found, "mtu", {"size": str(network.mtu)})
    return found


def text(interface: Interface) -> str:
    """The `<interface>` as text."""
    return ElementTree.tostring(element(interface), encoding="unicode")


def defined(domain: Element) -> tuple[DefinedInterface, ...]:
    """The interfaces of a domain, in their order."""
    return tuple(_defined(each) for each in domain.iterfind("devices/interface"))


# An agent reads every guest every few seconds, and definitions hardly ever change.
@lru_cache(maxsize=512)
def macs_of(xml: str) -> tuple[str, ...]:
    """The MAC addresses of the interfaces of a domain XML, in their order. Raises `InvalidRequest` for broken XML."""
    return macs(xmltext.parsed(xml, "domain XML", root="domain"))


def macs(domain: Element) -> tuple[str, ...]:
    """The MAC addresses of the interfaces of a domain, in their order."""
    return tuple(_attribute(each, "mac", "address").lower() for each in domain.iterfind("devices/interface"))


def find(xml: str, mac: str) -> str:
    """The `<interface>` with that MAC address in a domain XML, as text; '' if there is none. Raises `InvalidRequest` for broken XML."""
    for each in xmltext.parsed(xml, "domain XML", root="domain").iterfind("devices/interface"):
        if _attribute(each, "mac", "address").lower() == mac:
            return ElementTree.tostring(each, encoding="unicode")
    return ""


def queues_of(interface: Element) -> int:
    """The queues of an interface in a definition: 1 if it says nothing, or no number."""
    said = _attribute(interface, "driver", "queues")
    return int(said) if said.isascii() and said.isdecimal() and 0 < len(said) < 5 and int(said) else 1


def _connected(kind: str, source: dict[str, str]) -> Element:
    found = Element("interface", {"type": kind})
    SubElement(found, "source", source)
    return found


def _defined(found: Element) -> DefinedInterface:
    kind, port = found.get("type", ""), found.find("virtualport/parameters")
    ovs = found.find("virtualport[@type='openvswitch']") is not None
    kinds = {"bridge": NetworkKind.OVS if ovs else NetworkKind.BRIDGE, "direct": NetworkKind.MACVTAP}
    kinds |= {"network": NetworkKind.LIBVIRT, "user": NetworkKind.USER}
    return DefinedInterface(
        mac=_attribute(found, "mac", "address").lower(),
        kind=kinds.get(kind),
        source=_attribute(found, "source", _SOURCE.get(kind, "")),
        vlan=int(_attribute(found, "vlan/tag", "id") or 0),
        mtu=int(_attribute(found, "mtu", "size") or 0),
        port="" if port is None else port.get("interfaceid", ""),
        queues=queues_of(found),
    )


def _attribute(found: Element, path: str, name: str) -> str:
    node = found.find(path)
    return "" if node is None else node.get(name, "")

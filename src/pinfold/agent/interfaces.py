"""Turn a guest's ports into interfaces on the networks of this host. Pure."""

from __future__ import annotations

from pinfold.core.errors import InvalidRequest
from pinfold.core.networks import HostNetwork, Port
from pinfold.drivers.port import Interface


def interfaces_of(ports: tuple[Port, ...], networks: tuple[HostNetwork, ...]) -> tuple[Interface, ...]:
    """The interfaces, in the order of the ports. Raises `InvalidRequest` for a network that the host does not offer any more."""
    offered = {network.name: network for network in networks}
    for port in ports:
        if port.network not in offered:
            names = ", ".join(offered) or "none"
            raise InvalidRequest(f"this host does not offer the network {port.network}; its networks file has {names}", key="networks")
    return tuple(Interface(network=offered[port.network], mac=port.mac, port=port.id) for port in ports)

"""Turn a guest's ports into interfaces on the networks of this host. Pure."""

from __future__ import annotations

from pinfold.core.errors import InvalidRequest
from pinfold.core.networks import HostNetwork, Port
from pinfold.drivers.port import Interface


def interfaces_of(ports: tuple[Port, ...], networks: tuple[HostNetwork, ...], queues: int) -> tuple[Interface, ...]:
    """The interfaces with so many queues each, in the order of the ports.

    Raises `InvalidRequest` for a network that the host does not offer any more, or in user mode where there are several queues.
    """
    offered = {network.name: network for network in networks}
    for port in ports:
        if port.network not in offered:
            names = ", ".join(offered) or "none"
            raise InvalidRequest(f"this host does not offer the network {port.network}; its networks file has {names}", key="networks")
        if queues > 1 and not offered[port.network].has_queues:
            raise InvalidRequest(
                f"this host offers the network {port.network} in user mode, with one queue for each interface; hw:vif_multiqueue_enabled "
                f"asks for {queues}",
                key="networks",
            )
    return tuple(Interface(network=offered[port.network], mac=port.mac, port=port.id, queues=queues) for port in ports)

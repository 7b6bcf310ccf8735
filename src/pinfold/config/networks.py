"""Read the networks file: TOML in, `HostNetwork` out. Every error is one sentence.

[networks.lan]
kind = "bridge"
source = "br0"
subnet = "192.0.2.0/24"         # only with addresses that pinfold gives out
range = "192.0.2.100-192.0.2.199"
gateway = "192.0.2.1"
dns = ["192.0.2.1"]
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from difflib import get_close_matches
from ipaddress import IPv4Address, IPv4Network
from typing import Annotated, Any, Final

from msgspec import Meta, Struct

from pinfold.config.parse import Values, read_tables
from pinfold.core.bounds import MAX_CELL
from pinfold.core.encoding import reader
from pinfold.core.errors import InvalidRequest
from pinfold.core.networks import (
    MOST_ADDRESSES,
    MOST_DNS,
    MOST_NETWORKS,
    DeviceName,
    HostNetwork,
    Mtu,
    NetworkKind,
    NetworkName,
    StaticRange,
)
from pinfold.core.printable import quoted

DEFAULT_FILE: Final = "/etc/pinfold/networks.toml"
_RESERVED: Final = ("auto", "none")
"""Words of the Compute API that are no names of networks."""
_Text = Annotated[str, Meta(max_length=64)]


class NetworkTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One table `[networks.NAME]`."""

    kind: NetworkKind
    source: DeviceName = ""
    mtu: Mtu | None = None
    vlan: Annotated[int, Meta(ge=1, le=4094)] | None = None
    cell: Annotated[int, Meta(ge=0, le=MAX_CELL)] | None = None
    subnet: _Text = ""
    range: _Text = ""
    gateway: _Text = ""
    dns: Annotated[tuple[_Text, ...], Meta(max_length=MOST_DNS)] = ()


ALLOWED: Final[Mapping[str, str]] = {
    "kind": ", ".join(kind.value for kind in NetworkKind),
    "source": "a name of up to 64 letters, digits and ._:-, beginning with a letter or digit",
    "mtu": "a whole number from 576 to 65535",
    "vlan": "a whole number from 1 to 4094",
    "cell": f"a whole number from 0 to {MAX_CELL}",
    "subnet": "an IPv4 network such as 192.0.2.0/24",
    "range": f"two IPv4 addresses of the subnet such as 192.0.2.100-192.0.2.199, at most {MOST_ADDRESSES} addresses",
    "gateway": "an IPv4 address of the subnet, outside of the range",
    "dns": f"a list of at most {MOST_DNS} IPv4 addresses",
}
"""What each key may be, in the order of the reference."""
HELP: Final[Mapping[str, str]] = {
    "kind": "How guests are connected. Required.",
    "source": "The bridge, the bridge of Open vSwitch, the host's device below the macvtap, or the libvirt network. Required for every "
    "kind except `user`, which has none.",
    "mtu": "The largest packet. Where it is left out, the guest's interface has the bridge's or the device's. Guests learn it from their "
    "config drive; for `bridge`, `ovs` and `libvirt` the host's side of the interface gets it too.",
    "vlan": "The tag of the guests' packets, for kind `ovs` alone. For a Linux bridge, make a bridge for each VLAN.",
    "cell": "The host cell of the physical interface. `pinfold host list --json` shows it; placement does not use it.",
    "subnet": "The subnet of the addresses that the service gives to guests. Without it, guests ask a DHCP server. Goes with `range`.",
    "range": "The addresses that the service gives to guests, from the first to the last. No DHCP server may give out these. Goes with "
    "`subnet`, and is the same on all hosts that offer the network.",
    "gateway": "The router of the subnet. Guests without it have no default route.",
    "dns": "The name servers that guests use.",
}
"""What each key is for."""
_read_name = reader(NetworkName)
_read_table = reader(NetworkTable)


def host_networks(values: Values) -> tuple[HostNetwork, ...]:
    """The networks of the file that the configuration names; none if it names no file and none lies beside it.

    Raises `InvalidRequest` naming the file, the network, the key, the value and what is allowed.
    """
    file = networks_file(values)
    return read_networks(file) if values.given("networks", "file") is not None or os.path.isfile(file) else ()


def networks_file(values: Values) -> str:
    """The path of the networks file: the option's, or networks.toml beside the first configuration file."""
    beside = os.path.join(os.path.dirname(values.files[0]), "networks.toml") if values.files else DEFAULT_FILE
    return values.path("networks", "file", beside)


def read_networks(file: str) -> tuple[HostNetwork, ...]:
    """Every network of the file, by name. Raises `InvalidRequest`."""
    tables = read_tables(file, "networks file", "networks", table="[networks.NAME]", most=MOST_NETWORKS)
    return tuple(_network(f"networks file {file}: network {quoted(name)}", name, tables[name]) for name in sorted(tables))


def _network(where: str, name: str, given: object) -> HostNetwork:
    try:
        _read_name(name, where)
    except InvalidRequest as error:
        raise InvalidRequest(f"{where} has a name that is not allowed; {ALLOWED['source'].replace('64', '63')} is", key=name) from error
    if name in _RESERVED:
        raise InvalidRequest(f"{where} has a name that is not allowed: the word means something else to clients", key=name)
    if not isinstance(given, dict):
        raise InvalidRequest(f"{where} is not a table with {', '.join(ALLOWED)}", key=name)
    table = _table(where, given)
    _check_source(where, table)
    return HostNetwork(
        name=name,
        kind=table.kind,
        source=table.source,
        mtu=table.mtu or 0,
        vlan=table.vlan or 0,
        cell=table.cell,
        static=_static(where, table),
    )


def _table(where: str, given: dict[str, Any]) -> NetworkTable:
    for key, value in given.items():
        if key not in ALLOWED:
            near = get_close_matches(key, ALLOWED, n=1)
            hint = f"{near[0]} is meant" if near else f"{', '.join(ALLOWED)} are"
            raise InvalidRequest(f"{where}: {quoted(key)} is not allowed; {hint}", key=key)
        try:
            _read_table({"kind": "user"} | {key: value}, where)
        except InvalidRequest as error:
            raise _refused(where, key, value) from error
    if "kind" not in given:
        raise InvalidRequest(f"{where} has no kind; {ALLOWED['kind']} are allowed", key="kind")
    return _read_table(given, where)


def _check_source(where: str, table: NetworkTable) -> None:
    if (table.kind is NetworkKind.USER) == bool(table.source):
        what = "has a source, and user mode has none" if table.source else f"has no source; for {table.kind.value} it is required"
        raise InvalidRequest(f"{where} {what}", key="source")
    if table.vlan is not None and table.kind is not NetworkKind.OVS:
        raise InvalidRequest(f"{where}: vlan is {table.vlan}; it is allowed for kind ovs alone, not for {table.kind.value}", key="vlan")


def _static(where: str, table: NetworkTable) -> StaticRange | None:
    """The range, checked against its subnet; None for a network without one."""
    if not table.subnet and not table.range:
        for key in ("gateway", "dns"):
            if getattr(table, key):
                raise InvalidRequest(f"{where}: {key} is only allowed with subnet and range; a DHCP server gives its own", key=key)
        return None
    if not table.subnet or not table.range:
        raise InvalidRequest(f"{where}: subnet and range go together; one of them is missing", key="range")
    if table.kind is NetworkKind.USER:
        raise InvalidRequest(f"{where}: subnet is not allowed for kind user, whose addresses QEMU gives", key="subnet")
    try:
        subnet = IPv4Network(table.subnet)
    except ValueError as error:
        raise _refused(where, "subnet", table.subnet) from error
    first, _, last = (part.strip() for part in table.range.partition("-"))
    low, high = _address(where, "range", first, table.range), _address(where, "range", last or first, table.range)
    usable = low <= high and low in subnet and high in subnet and int(high) - int(low) < MOST_ADDRESSES
    if not usable or (subnet.prefixlen < 31 and (low == subnet.network_address or high == subnet.broadcast_address)):
        raise _refused(where, "range", table.range)
    if table.gateway:
        gateway = _address(where, "gateway", table.gateway, table.gateway)
        if gateway not in subnet or low <= gateway <= high:
            raise _refused(where, "gateway", table.gateway)
    for server in table.dns:
        _address(where, "dns", server, server)
    return StaticRange(cidr=str(subnet), first=str(low), last=str(high), gateway=table.gateway, dns=table.dns)


def _address(where: str, key: str, text: str, shown: str) -> IPv4Address:
    try:
        return IPv4Address(text)
    except ValueError as error:
        raise _refused(where, key, shown) from error


def _refused(where: str, key: str, value: object) -> InvalidRequest:
    return InvalidRequest(f"{where}: {key} is {quoted(str(value))}; {ALLOWED[key]} is allowed", key=key)

"""The networks file."""

from __future__ import annotations

from pathlib import Path

import pytest

from pinfold.config.fleet import load_fleet
from pinfold.config.networks import ALLOWED, HELP, NetworkTable, read_networks
from pinfold.core.errors import InvalidRequest
from pinfold.core.networks import HostNetwork, NetworkKind, StaticRange, check_networks

GOOD = """\
[networks.lan]
kind = "bridge"
source = "br0"
mtu = 9000
cell = 1
subnet = "192.0.2.0/24"
range = "192.0.2.100-192.0.2.199"
gateway = "192.0.2.1"
dns = ["192.0.2.1", "192.0.2.2"]

[networks.tenants]
kind = "ovs"
source = "br-int"
vlan = 100

[networks.direct]
kind = "macvtap"
source = "eth0"

[networks.default]
kind = "libvirt"
source = "default"

[networks.out]
kind = "user"
"""
LAN = HostNetwork(
    name="lan",
    kind=NetworkKind.BRIDGE,
    source="br0",
    mtu=9000,
    cell=1,
    static=StaticRange(cidr="192.0.2.0/24", first="192.0.2.100", last="192.0.2.199", gateway="192.0.2.1", dns=("192.0.2.1", "192.0.2.2")),
)
BRIDGE = '[networks.lan]\nkind = "bridge"\nsource = "br0"\n'
STATIC = BRIDGE + 'subnet = "192.0.2.0/24"\nrange = "192.0.2.100-192.0.2.199"\n'


def _file(folder: Path, text: str) -> str:
    path = folder / "networks.toml"
    path.write_text(text)
    return str(path)


def test_networks_are_read_by_name(tmp_path: Path) -> None:
    found = read_networks(_file(tmp_path, GOOD))
    assert [network.name for network in found] == ["default", "direct", "lan", "out", "tenants"]
    assert found[2] == LAN
    assert found[4] == HostNetwork(name="tenants", kind=NetworkKind.OVS, source="br-int", vlan=100)
    check_networks(found)


def test_a_range_of_one_address_needs_no_end(tmp_path: Path) -> None:
    (found,) = read_networks(_file(tmp_path, BRIDGE + 'subnet = "192.0.2.0/24"\nrange = "192.0.2.7"\n'))
    assert found.static is not None and (found.static.first, found.static.last) == ("192.0.2.7", "192.0.2.7")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[networks.a\n", "is not TOML"),
        ("[network.a]\n", "'network' is not allowed; tables [networks.NAME] are"),
        ("networks = 1\n", "networks is not a table"),
        ("[networks]\nlan = 1\n", "network 'lan' is not a table with kind, source"),
        ('[networks."a b"]\nkind = "user"\n', "network 'a b' has a name that is not allowed"),
        ('[networks.none]\nkind = "user"\n', "network 'none' has a name that is not allowed: the word means something else"),
        ("[networks.lan]\nmtu = 1500\n", "network 'lan' has no kind; bridge, ovs, macvtap, libvirt, user are allowed"),
        ('[networks.lan]\nkind = "tap"\n', "kind is 'tap'; bridge, ovs, macvtap, libvirt, user is allowed"),
        ('[networks.lan]\nkind = "bridge"\n', "has no source; for bridge it is required"),
        ('[networks.lan]\nkind = "user"\nsource = "br0"\n', "has a source, and user mode has none"),
        ('[networks.lan]\nkind = "bridge"\nsource = "../x"\n', "source is '../x'; a name of up to 64"),
        (BRIDGE + "mtus = 1\n", "'mtus' is not allowed; mtu is meant"),
        (BRIDGE + "mtu = 70000\n", "mtu is '70000'; a whole number from 576 to 65535 is allowed"),
        (BRIDGE + 'mtu = "1500"\n', "mtu is '1500'; a whole number"),
        (BRIDGE + "vlan = 5\n", "vlan is 5; it is allowed for kind ovs alone, not for bridge"),
        (BRIDGE + "vlan = 4095\n", "vlan is '4095'; a whole number from 1 to 4094"),
        (BRIDGE + "cell = -1\n", "cell is '-1'; a whole number"),
        (BRIDGE + 'gateway = "192.0.2.1"\n', "gateway is only allowed with subnet and range"),
        (BRIDGE + 'subnet = "192.0.2.0/24"\n', "subnet and range go together; one of them is missing"),
        (STATIC.replace("0/24", "5/24"), "subnet is '192.0.2.5/24'; an IPv4 network"),
        (STATIC.replace("100-192", "250-192"), "range is '192.0.2.250-192.0.2.199'; two IPv4 addresses"),
        (STATIC.replace("192.0.2.100-", "x-"), "range is 'x-192.0.2.199'; two IPv4 addresses"),
        (STATIC.replace("2.199", "3.199"), "range is '192.0.2.100-192.0.3.199'"),
        (STATIC.replace("2.100", "2.0"), "range is '192.0.2.0-192.0.2.199'"),
        (STATIC + 'gateway = "192.0.2.150"\n', "gateway is '192.0.2.150'; an IPv4 address of the subnet, outside of the range"),
        (STATIC + 'dns = ["here"]\n', "dns is 'here'; a list of at most 8 IPv4 addresses"),
        ('[networks.out]\nkind = "user"\nsubnet = "192.0.2.0/24"\nrange = "192.0.2.7"\n', "subnet is not allowed for kind user"),
        ("".join(f'[networks.n{number}]\nkind = "user"\n' for number in range(65)), "has 65 networks, at most 64 are allowed"),
    ],
)
def test_a_mistake_is_named_in_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    file = _file(tmp_path, text)
    with pytest.raises(InvalidRequest) as refused:
        read_networks(file)
    assert sentence in str(refused.value) and file in str(refused.value) and "\n" not in str(refused.value).split("TOML")[0]


def test_every_key_is_described() -> None:
    assert set(NetworkTable.__struct_fields__) == set(ALLOWED) == set(HELP)


def test_an_agent_reads_the_file_beside_its_configuration_or_the_named_one(tmp_path: Path) -> None:
    config = tmp_path / "pinfold.conf"
    config.write_text("[pinfold]\nstate_dir = state\n")
    assert load_fleet([str(config)]).host.networks == ()
    _file(tmp_path, BRIDGE)
    assert [network.source for network in load_fleet([str(config)]).host.networks] == ["br0"]
    (tmp_path / "other.toml").write_text('[networks.out]\nkind = "user"\n')
    config.write_text("[networks]\nfile = other.toml\n")
    assert [network.name for network in load_fleet([str(config)]).host.networks] == ["out"]
    config.write_text("[networks]\nfile = missing.toml\n")
    with pytest.raises(InvalidRequest, match=r"missing.toml cannot be read"):
        load_fleet([str(config)])


@pytest.mark.parametrize(
    "static",
    [
        StaticRange(cidr="999.0.2.0/24", first="192.0.2.1", last="192.0.2.2"),
        StaticRange(cidr="192.0.2.0/24", first="192.0.2.9", last="192.0.2.2"),
        StaticRange(cidr="0.0.0.0/0", first="1.0.0.0", last="2.0.0.0"),
        StaticRange(cidr="192.0.2.0/24", first="192.0.2.1", last="192.0.2.2", gateway="192.0.3.1"),
    ],
)
def test_an_impossible_range_in_an_agents_report_is_refused(static: StaticRange) -> None:
    with pytest.raises(InvalidRequest, match="static range of network lan"):
        check_networks((HostNetwork(name="lan", kind=NetworkKind.BRIDGE, source="br0", static=static),))


def test_a_name_that_a_report_has_twice_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="networks are lan, lan; each name is allowed once"):
        check_networks((LAN, LAN))

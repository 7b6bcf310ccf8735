"""Network interfaces in domain XML, written and read."""

from __future__ import annotations

from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import pytest

from pinfold.core.networks import HostNetwork, NetworkKind
from pinfold.drivers.libvirt.definition import host_guest
from pinfold.drivers.libvirt.guest_memory import HostPages
from pinfold.drivers.libvirt.hardware import device_counts
from pinfold.drivers.libvirt.interfaces import DefinedInterface, defined, element, queues_of
from pinfold.drivers.port import GuestState, Interface

MAC, PORT = "02:00:00:00:00:01", "5f1f2e0a-0000-4000-8000-000000000001"
GOLDEN = {
    "bridge": (
        HostNetwork(name="lan", kind=NetworkKind.BRIDGE, source="br0", mtu=9000),
        (
            '<interface type="bridge"><mac address="02:00:00:00:00:01" /><source bridge="br0" /><model type="virtio" />'
            '<mtu size="9000" /></interface>'
        ),
    ),
    "ovs": (
        HostNetwork(name="lan", kind=NetworkKind.OVS, source="br-int", vlan=100),
        (
            '<interface type="bridge"><mac address="02:00:00:00:00:01" /><source bridge="br-int" /><vlan><tag id="100" /></vlan>'
            '<virtualport type="openvswitch"><parameters interfaceid="5f1f2e0a-0000-4000-8000-000000000001" /></virtualport>'
            '<model type="virtio" /></interface>'
        ),
    ),
    "macvtap": (
        HostNetwork(name="lan", kind=NetworkKind.MACVTAP, source="eth0", mtu=1500),
        (
            '<interface type="direct"><mac address="02:00:00:00:00:01" /><source dev="eth0" mode="bridge" />'
            '<model type="virtio" /></interface>'
        ),
    ),
    "libvirt": (
        HostNetwork(name="lan", kind=NetworkKind.LIBVIRT, source="default"),
        '<interface type="network"><mac address="02:00:00:00:00:01" /><source network="default" /><model type="virtio" /></interface>',
    ),
    "user": (
        HostNetwork(name="lan", kind=NetworkKind.USER),
        '<interface type="user"><mac address="02:00:00:00:00:01" /><model type="virtio" /></interface>',
    ),
}


@pytest.mark.parametrize("kind", GOLDEN)
def test_an_interface_of_each_kind_is_written_and_read_back(kind: str) -> None:
    network, xml = GOLDEN[kind]
    made = element(Interface(network=network, mac=MAC, port=PORT))
    assert ElementTree.tostring(made, encoding="unicode") == xml
    domain = Element("domain")
    devices = Element("devices")
    devices.append(made)
    domain.append(devices)
    ovs = network.kind is NetworkKind.OVS
    mtu = network.mtu if network.kind is NetworkKind.BRIDGE else 0
    expected = DefinedInterface(mac=MAC, kind=network.kind, source=network.source, vlan=network.vlan, mtu=mtu, port=PORT if ovs else "")
    assert defined(domain) == (expected,)


@pytest.mark.parametrize("kind", [kind for kind in GOLDEN if kind != "user"])
def test_several_queues_are_written_and_read_back_and_libvirt_chooses_vhost(kind: str) -> None:
    network, xml = GOLDEN[kind]
    made = element(Interface(network=network, mac=MAC, port=PORT, queues=4))
    model = '<model type="virtio" />'
    assert ElementTree.tostring(made, encoding="unicode") == xml.replace(model, f'{model}<driver queues="4" />')
    assert queues_of(made) == 4


@pytest.mark.parametrize(("said", "queues"), [("queues='8'", 8), ("name='vhost'", 1), ("queues='x'", 1), ("queues='0'", 1)])
def test_the_queues_of_others_interfaces_are_read(said: str, queues: int) -> None:
    assert queues_of(ElementTree.fromstring(f"<interface type='bridge'><driver {said}/></interface>")) == queues


def test_a_template_counts_the_queues_of_its_interfaces() -> None:
    text = "<domain><devices><interface type='bridge'><driver queues='4'/></interface><interface type='user'/></devices></domain>"
    assert device_counts(text) == (0, 5)


def test_a_guest_of_others_counts_them_too() -> None:
    devices = "<interface type='bridge'><driver queues='4'/></interface><interface type='user'/>"
    text = f"<domain><name>theirs</name><uuid>{PORT}</uuid><vcpu>4</vcpu><devices>{devices}</devices></domain>"
    guest = host_guest(text, state=GuestState.RUNNING, persistent=True, pid=1, pages=HostPages(cells=(0,)))
    assert (guest.disks, guest.nics) == (0, 5)


def test_every_kind_has_a_golden_form() -> None:
    assert {network.kind for network, _ in GOLDEN.values()} == set(NetworkKind)


def test_interfaces_of_others_are_read_with_what_is_known() -> None:
    text = (
        "<domain><devices><interface type='vhostuser'><mac address='52:54:00:AA:BB:CC'/><source type='unix' path='/x' mode='server'/>"
        "</interface><interface type='bridge'/></devices></domain>"
    )
    assert defined(ElementTree.fromstring(text)) == (
        DefinedInterface(mac="52:54:00:aa:bb:cc", kind=None),
        DefinedInterface(mac="", kind=NetworkKind.BRIDGE),
    )

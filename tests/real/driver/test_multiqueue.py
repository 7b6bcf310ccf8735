"""Interfaces with several queues of a real guest, on a bridge of a network namespace: from its start, and attached while it runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import libvirt
import pytest
from msgspec.structs import replace
from tests.real.driver.conftest import driver_on
from tests.real.driver.guests import pinned
from tests.rig.network_namespace import NetworkNamespace, network_namespace

from pinfold.core.errors import InvalidRequest
from pinfold.core.networks import HostNetwork, NetworkKind
from pinfold.core.overhead import masks
from pinfold.drivers.kvm import thread_moves
from pinfold.drivers.libvirt.driver import LibvirtDriver
from pinfold.drivers.port import Interface
from pinfold.host.survey import pick
from pinfold.lab.daemon import LabHost

LAN = HostNetwork(name="lan", kind=NetworkKind.BRIDGE, source="br0")
FIRST = Interface(network=LAN, mac="02:00:00:00:00:01", port="p1", queues=2)
SECOND = replace(FIRST, mac="02:00:00:00:00:02", port="p2")
OUT = Interface(network=HostNetwork(name="out", kind=NetworkKind.USER), mac="02:00:00:00:00:03", port="p3", queues=2)


@pytest.fixture(scope="module")
def bridged(lab_name: str, lab_possible: None) -> Iterator[tuple[NetworkNamespace, LabHost]]:
    """A lab host in a network namespace with the bridge `br0`. Its guests are emulated, so that they use no vhost-net."""
    with network_namespace("br0") as namespace:
        with namespace.inside():
            lab = LabHost(f"{lab_name}-queues", kvm=False, cgroups=False).up()
        try:
            yield namespace, lab
        finally:
            lab.down()


def _taps(namespace: NetworkNamespace) -> dict[str, Any]:
    """Whether each tap in the bridge may have several queues, and how many it has, by the end of the guest's MAC address.

    QEMU opens all of them, and holds all but the first back until a driver in the guest uses them.
    """
    found = {}
    for one in namespace.members("br0"):
        told = one["linkinfo"]["info_data"]
        found[one["address"][-2:]] = (told["multi_queue"], told.get("numqueues", 0) + told.get("numdisabled", 0))
    return found


def test_interfaces_of_a_guest_have_their_queues_from_its_start_and_when_they_come_later(
    bridged: tuple[NetworkNamespace, LabHost], idle_rom: Path
) -> None:
    namespace, lab = bridged
    with driver_on(lab) as driver:
        spec = replace(pinned(idle_rom, vcpus="0,1", emulator="0"), interfaces=(FIRST,))
        driver.start(spec)
        driver.resume(spec.id)
        assert _taps(namespace) == {"01": (True, 2)}, namespace.members("br0")
        driver.attach(spec.id, SECOND)
        assert _taps(namespace) == {"01": (True, 2), "02": (True, 2)}
        driver.attach(spec.id, replace(SECOND, mac="02:00:00:00:00:04", queues=1))
        assert _taps(namespace)["04"][0] is False
        guest = pick(driver.guests(), spec.id)
        assert thread_moves.misplaced(driver.observe(guest), masks(spec.record.fit)) == ()
        kept = _definition(driver, spec.id)
        assert kept.count("<driver queues='2'/>") == 2
        with pytest.raises(InvalidRequest, match=r"(?i)multiqueue .*not supported for.* user"):
            driver.attach(spec.id, OUT)
        assert OUT.mac not in _definition(driver, spec.id)


def _definition(driver: LibvirtDriver, guest: str) -> str:
    connection = libvirt.open(driver.uri)
    try:
        text: str = connection.lookupByUUIDString(guest).XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
        return text
    finally:
        connection.close()

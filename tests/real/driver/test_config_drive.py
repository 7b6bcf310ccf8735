"""The config drive of real guests, on each bus that an image may ask for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import libvirt
import pytest
from msgspec.structs import replace
from tests.real.driver.conftest import driver_on
from tests.real.driver.guests import floating

from pinfold.core import host_features
from pinfold.core.request.guest_hardware import GuestHardware
from pinfold.core.request.hardware import CD_ROM_BUSES
from pinfold.lab.daemon import LabHost


@pytest.fixture(scope="module")
def emulating_lab(lab_name: str, lab_possible: None) -> Iterator[LabHost]:
    """One lab host without KVM."""
    with LabHost(f"{lab_name}-drives", kvm=False) as host:
        yield host


@pytest.mark.parametrize(("machine", "bus"), [("pc", bus) for bus in CD_ROM_BUSES] + [("q35", bus) for bus in CD_ROM_BUSES if bus != "ide"])
def test_a_guest_has_its_config_drive_on_the_bus_of_its_image(
    emulating_lab: LabHost, idle_rom: Path, tmp_path: Path, machine: str, bus: str
) -> None:
    tmp_path.chmod(0o777)
    drive = tmp_path / "drive.iso"
    drive.write_bytes(bytes(65536))
    spec = floating(idle_rom)
    hardware = GuestHardware(machine=machine, cd_rom_bus=bus)
    spec = replace(spec, request=replace(spec.request, hardware=hardware), boot=replace(spec.boot, config_drive=str(drive)))
    with driver_on(emulating_lab) as driver:
        assert host_features.cd_rom(bus) in driver.features()
        driver.start(spec)
        connection = libvirt.open(emulating_lab.uri)
        domain = ElementTree.fromstring(connection.lookupByUUIDString(spec.id).XMLDesc(0))
        connection.close()
    (disk,) = domain.findall("devices/disk")
    target, source = disk.find("target"), disk.find("source")
    assert target is not None and source is not None
    assert (target.get("bus"), source.get("file"), disk.find("readonly") is not None) == (bus, str(drive), True)
    controllers = {(one.get("type"), one.get("model", "")) for one in domain.iterfind("devices/controller")}
    assert not any("lsi" in model or model.startswith(("piix3-uhci", "ich9")) for _, model in controllers), controllers

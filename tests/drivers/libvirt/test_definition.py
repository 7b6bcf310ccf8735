"""Domain XML from a fit: golden files for every row of the policy table and beyond, and the rules that hold for all of them."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest
from msgspec import structs
from msgspec.structs import replace
from tests.build.specs import SPECS
from tests.golden import check

from pinfold.core.cpuset import CpuSet
from pinfold.core.errors import InvalidRequest, InvariantViolation
from pinfold.core.overhead import masks
from pinfold.drivers.libvirt import definition, hardware
from pinfold.drivers.libvirt.capabilities import BuildContext, Platform
from pinfold.drivers.libvirt.guest_memory import HostPages
from pinfold.drivers.port import GuestState

MAKE = BuildContext(platform=Platform(emulator="/usr/bin/qemu-system-x86_64"))
GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("name", SPECS)
def test_each_guest_has_the_domain_that_was_reviewed(name: str) -> None:
    check(GOLDEN / f"{name}.xml", definition.definition(SPECS[name], MAKE))


@pytest.mark.parametrize("name", SPECS)
def test_what_is_emitted_is_read_back_as_it_was_meant(name: str) -> None:
    spec = SPECS[name]
    text = definition.definition(spec, MAKE)
    pages = HostPages(cells=(0, 1))
    guest = definition.host_guest(text, state=GuestState.STOPPED, persistent=True, pid=None, pages=pages)
    wanted = masks(spec.record.fit)
    assert (guest.id, guest.name, guest.record, guest.problem) == (spec.id, spec.name, spec.record, "")
    assert tuple(cpus for _, cpus in guest.pins.vcpus) == wanted.vcpus
    assert guest.pins.emulator == wanted.overhead
    assert guest.pins.placement == wanted.overhead
    assert guest.pins.realtime == wanted.realtime
    assert [cpus for _, cpus in guest.pins.iothreads] == [wanted.overhead] * spec.boot.iothreads
    assert guest.huge_mib == sum(item.size_kib * item.count for item in guest.pages) // 1024
    assert guest.memory_mib == spec.record.fit.memory_mib


@pytest.mark.parametrize("name", SPECS)
def test_no_cpuset_is_ever_empty(name: str) -> None:
    domain = ElementTree.fromstring(definition.definition(SPECS[name], MAKE))
    for element in domain.iter():
        for attribute in ("cpuset", "nodeset", "vcpus", "cpus"):
            if attribute in element.attrib and not element.tag.startswith("{"):
                assert CpuSet.parse(element.attrib[attribute])


@pytest.mark.parametrize(("arch", "target"), [("x86_64", ("hda", "ide")), ("aarch64", ("sda", "scsi"))])
def test_a_config_drive_is_a_cd_rom_that_counts_as_no_disk(arch: str, target: tuple[str, str]) -> None:
    spec = replace(SPECS["unset"], boot=replace(SPECS["unset"].boot, config_drive="/var/lib/pinfold/overlays/x.iso"))
    text = definition.definition(spec, BuildContext(platform=Platform(arch=arch)))
    (drive,) = (disk for disk in ElementTree.fromstring(text).iterfind("devices/disk") if disk.get("device") == "cdrom")
    place, source = drive.find("target"), drive.find("source")
    assert place is not None and source is not None and drive.find("readonly") is not None
    assert ((place.get("dev"), place.get("bus")), source.get("file")) == (target, "/var/lib/pinfold/overlays/x.iso")
    assert hardware.device_counts(text) == hardware.device_counts(definition.definition(SPECS["unset"], MAKE))


def test_an_empty_emulator_set_is_a_bug_of_ours() -> None:
    spec = SPECS["unset"]
    broken = replace(spec, record=replace(spec.record, fit=structs.replace(spec.record.fit, emulator=CpuSet())))
    with pytest.raises(InvariantViolation, match="emulator threads"):
        definition.definition(broken, MAKE)


def test_the_same_spec_gives_the_same_text() -> None:
    assert definition.definition(SPECS["mixed"], MAKE) == definition.definition(SPECS["mixed"], MAKE)


def test_realtime_vcpus_get_the_configured_priority_and_no_pit() -> None:
    text = definition.definition(SPECS["realtime-share"], BuildContext(platform=Platform(), realtime_priority=42))
    assert '<vcpusched vcpus="1-2" scheduler="fifo" priority="42" />' in text
    assert '<timer name="pit" present="no" />' in text


def test_a_page_of_the_host_s_small_size_is_no_huge_page() -> None:
    power = BuildContext(platform=Platform(arch="ppc64le", small_page_kib=64))
    cells = tuple(structs.replace(cell, page_kib=64) for cell in SPECS["unset"].record.fit.cells)
    spec = replace(SPECS["unset"], record=replace(SPECS["unset"].record, fit=structs.replace(SPECS["unset"].record.fit, cells=cells)))
    text = definition.definition(spec, power)
    assert "hugepages" not in text
    assert "machine=" not in text


def test_a_host_without_kvm_emulates_unless_kvm_was_asked_for() -> None:
    emulating = BuildContext(platform=Platform(virt_types=("qemu",)))
    assert '<domain xmlns:pinfold="urn:pinfold:guest:2" type="qemu">' in definition.definition(SPECS["unset"], emulating)
    with pytest.raises(InvalidRequest, match="virt_type 'kvm' is not to be had on this host; it has qemu"):
        definition.definition(replace(SPECS["unset"], virt_type="kvm"), emulating)

"""The processor of a real guest under KVM: chosen once, kept by its definition, and refused with the features that the host lacks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import libvirt
import pytest
from tests.real.driver.guests import pinned

from pinfold.core.cpu_model import DEFAULT_CPU, CpuMode, CpuModel, cpu_flag
from pinfold.core.errors import InvalidRequest
from pinfold.drivers.libvirt.driver import LibvirtDriver
from pinfold.lab.daemon import LabHost
from pinfold.wiring.agent import processor_refused


@pytest.fixture(scope="module")
def kvm_lab(lab_name: str, lab_possible: None) -> Iterator[LabHost]:
    """One lab host with KVM."""
    if not os.path.exists("/dev/kvm"):
        pytest.skip("this machine has no /dev/kvm")
    with LabHost(f"{lab_name}-processors", kvm=True, cgroups=False) as host:
        yield host


def _cpu(lab: LabHost, guest: str) -> str:
    """The `<cpu>` of the definition that the next start uses."""
    connection = libvirt.open(lab.uri)
    try:
        text: str = connection.lookupByUUIDString(guest).XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
    finally:
        connection.close()
    start = text.find("<cpu ")
    return "" if start < 0 else text[start : text.index("</cpu>") + 6] if "</cpu>" in text else text[start : text.index(">", start) + 1]


def test_a_guest_keeps_the_processor_that_was_chosen_when_it_was_defined(kvm_lab: LabHost, idle_rom: Path) -> None:
    spec = pinned(idle_rom, emulator="0")
    driver = LibvirtDriver(kvm_lab.uri)
    driver.start(spec)
    chosen = _cpu(kvm_lab, spec.id)
    assert "mode='custom'" in chosen
    assert "<model" in chosen
    driver.resume(spec.id)
    driver.save(spec.id)
    driver.stop(spec.id, remove=False)
    driver.close()
    later = LibvirtDriver(kvm_lab.uri, cpu=CpuModel(mode=CpuMode.NONE))
    later.restart(spec.id)
    assert _cpu(kvm_lab, spec.id) == chosen
    later.stop(spec.id, remove=True)
    later.start(spec)
    assert ">qemu64<" in _cpu(kvm_lab, spec.id), "QEMU's default"
    later.stop(spec.id, remove=True)
    later.close()


def test_a_processor_that_the_host_cannot_give_is_refused_with_the_missing_feature(kvm_lab: LabHost, idle_rom: Path) -> None:
    driver = LibvirtDriver(kvm_lab.uri, cpu=CpuModel(flags=(cpu_flag("svm"),)))
    with pytest.raises(InvalidRequest, match="required features: svm"):
        driver.processor()
    assert "required features: svm" in processor_refused(driver)
    with pytest.raises(InvalidRequest, match="svm"):
        driver.start(pinned(idle_rom, emulator="0"))
    assert driver.guests() == ()
    driver.close()


@pytest.mark.parametrize("wanted", [DEFAULT_CPU, CpuModel(mode=CpuMode.HOST_PASSTHROUGH), CpuModel(mode=CpuMode.NONE)])
def test_what_the_host_can_give_is_told_in_words(kvm_lab: LabHost, wanted: CpuModel) -> None:
    driver = LibvirtDriver(kvm_lab.uri, cpu=wanted)
    assert driver.processor()
    assert processor_refused(driver) == ""
    driver.close()

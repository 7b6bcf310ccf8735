"""The processor of a real guest under KVM: chosen once, kept by its definition, and refused with the features that the host lacks."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import libvirt
import libvirt_qemu
import pytest
from msgspec.structs import replace
from tests.real.driver.guests import pinned

from pinfold.agent.events import HostFacts
from pinfold.agent.report import host_report
from pinfold.core.cpu_model import DEFAULT_CPU, CpuMode, CpuModel, cpu_flag
from pinfold.core.encoding import plain
from pinfold.core.errors import InvalidRequest
from pinfold.core.fit.answer import Strategy
from pinfold.core.processor_traits import PROCESSOR_TRAITS, processor_traits
from pinfold.core.settings import HostSettings
from pinfold.drivers.libvirt.driver import LibvirtDriver
from pinfold.host.survey import survey
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


@pytest.fixture(scope="module")
def emulated_lab(lab_name: str, lab_possible: None) -> Iterator[LabHost]:
    """One lab host whose guests are emulated."""
    with LabHost(f"{lab_name}-emulated", kvm=False, cgroups=False) as host:
        yield host


_FEATURES = ("aes", "avx", "avx2", "avx512f", "bmi1", "fma", "mmx", "pcid", "pclmulqdq", "pni", "sha-ni", "sse2", "sse4.1", "sse4.2", "svm")
"""Features that have the same name in QEMU."""


def _has(lab: LabHost, guest: str) -> set[str]:
    """Those of the features that QEMU says its guest has."""
    connection = libvirt.open(lab.uri)

    def ask(command: str, **arguments: str) -> Any:
        text = json.dumps({"execute": command, **({"arguments": arguments} if arguments else {})})
        return json.loads(libvirt_qemu.qemuMonitorCommand(connection.lookupByUUIDString(guest), text, 0))["return"]

    try:
        (cpu,) = ask("query-cpus-fast")
        return {name for name in _FEATURES if ask("qom-get", path=cpu["qom-path"], property=name)}
    finally:
        connection.close()


def _traits_are_true(lab: LabHost, rom: Path, wanted: CpuModel) -> set[str]:
    """The features of a real guest, which has all that the host's traits promise, and nothing else where its model was named."""
    driver, spec = LibvirtDriver(lab.uri, cpu=wanted), pinned(rom, emulator="0")
    try:
        told = driver.processor_traits()
        assert told is not None
        assert told == driver.processor_traits(), "and again, from memory"
        driver.start(spec)
        found = _has(lab, spec.id)
        promised, had = set(told) & set(processor_traits(_FEATURES)), set(processor_traits(tuple(found)))
        assert promised == had if wanted.mode is CpuMode.CUSTOM else promised <= had
        assert PROCESSOR_TRAITS.issuperset(told)
        return found
    finally:
        driver.stop(spec.id, remove=True)
        driver.close()


@pytest.mark.parametrize(
    ("wanted", "has", "lacks"),
    [
        (CpuModel(mode=CpuMode.CUSTOM, models=("Nehalem",)), {"sse4.2", "pni"}, {"avx2", "avx512f"}),
        (CpuModel(mode=CpuMode.CUSTOM, models=("Nehalem",), flags=(cpu_flag("+avx2"), cpu_flag("-sse4.2"))), {"avx2"}, {"sse4.2"}),
        (CpuModel(mode=CpuMode.HOST_MODEL), {"sse2", "mmx"}, {"avx512f"}),
    ],
    ids=["a model by name", "a feature more and one less", "host-model"],
)
def test_a_host_has_the_traits_of_what_qemu_gives_its_guests(
    emulated_lab: LabHost, idle_rom: Path, wanted: CpuModel, has: set[str], lacks: set[str]
) -> None:
    found = _traits_are_true(emulated_lab, idle_rom, wanted)
    assert has <= found
    assert not lacks & found


@pytest.mark.parametrize("mode", [CpuMode.DEFAULT, CpuMode.HOST_PASSTHROUGH])
def test_under_kvm_a_host_has_the_traits_of_what_qemu_gives_its_guests(kvm_lab: LabHost, idle_rom: Path, mode: CpuMode) -> None:
    assert {"mmx", "sse2"} <= _traits_are_true(kvm_lab, idle_rom, CpuModel(mode=mode))


@pytest.mark.parametrize("mode", [CpuMode.DEFAULT, CpuMode.HOST_PASSTHROUGH])
def test_under_kvm_a_feature_that_is_taken_away_is_no_trait(kvm_lab: LabHost, mode: CpuMode) -> None:
    driver = LibvirtDriver(kvm_lab.uri, cpu=CpuModel(mode=mode, flags=(cpu_flag("-mmx"),)))
    told = driver.processor_traits()
    driver.close()
    assert told and "HW_CPU_X86_MMX" not in told and "HW_CPU_X86_SSE2" in told


def test_a_survey_has_the_traits_and_an_agent_reports_them(emulated_lab: LabHost, tmp_path: Path) -> None:
    driver = LibvirtDriver(emulated_lab.uri, cpu=CpuModel(mode=CpuMode.CUSTOM, models=("Nehalem",)))
    seen = survey(driver, HostSettings(uri=driver.uri, state_dir=str(tmp_path)))
    told = driver.processor_traits()
    driver.close()
    assert told and seen.processor_traits == told
    assert seen.state.traits.issuperset(told)
    facts = HostFacts(host_boot="b")
    assert host_report(seen, frozenset(), strategy=Strategy.PACK, any_cell=True, facts=facts).processor_traits == told
    silent = host_report(replace(seen, processor_traits=None), frozenset(), strategy=Strategy.PACK, any_cell=True, facts=facts)
    assert "processor_traits" not in plain(silent)


def test_a_host_promises_nothing_of_qemus_default_processor_and_nothing_that_it_cannot_give(emulated_lab: LabHost) -> None:
    for wanted in (DEFAULT_CPU, CpuModel(mode=CpuMode.CUSTOM, models=("Icelake-Server",))):
        driver = LibvirtDriver(emulated_lab.uri, cpu=wanted)
        assert driver.processor_traits() == ()
        driver.close()


@pytest.mark.parametrize("wanted", [DEFAULT_CPU, CpuModel(mode=CpuMode.HOST_PASSTHROUGH), CpuModel(mode=CpuMode.NONE)])
def test_what_the_host_can_give_is_told_in_words(kvm_lab: LabHost, wanted: CpuModel) -> None:
    driver = LibvirtDriver(kvm_lab.uri, cpu=wanted)
    assert driver.processor()
    assert processor_refused(driver) == ""
    driver.close()

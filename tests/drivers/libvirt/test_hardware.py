"""The hardware of a guest in domain XML: a golden file, and libvirt's own schema."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.build.hardware import EVERY_HARDWARE
from tests.build.specs import SPECS
from tests.golden import check

from pinfold.core import host_features
from pinfold.core.errors import InvalidRequest
from pinfold.core.request.guest_hardware import GuestHardware, SecureBoot
from pinfold.core.request.hardware import CD_ROM_BUSES
from pinfold.drivers.libvirt import definition, firmware, hardware
from pinfold.drivers.libvirt.capabilities import BuildContext, Platform
from pinfold.drivers.libvirt.guest_memory import HostPages
from pinfold.drivers.libvirt.template import merged
from pinfold.drivers.port import GuestSpec, GuestState

GOLDEN = Path(__file__).parent / "golden"
MAKE = BuildContext(platform=Platform(emulator="/usr/bin/qemu-system-x86_64"))


def _spec(wanted: GuestHardware, name: str = "share-with-pool") -> GuestSpec:
    spec = SPECS[name]
    boot = replace(spec.boot, config_drive="/var/lib/x.iso", rom="", kernel="/var/lib/vmlinuz")
    return replace(spec, request=replace(spec.request, hardware=wanted), boot=boot)


def test_hardware_is_written_as_reviewed() -> None:
    check(GOLDEN / "hardware.xml", definition.definition(_spec(EVERY_HARDWARE), MAKE))


@pytest.mark.parametrize(
    "wanted",
    [
        EVERY_HARDWARE,
        GuestHardware(watchdog="none"),
        GuestHardware(random=True),
        GuestHardware(performance_unit=True),
        GuestHardware(uefi=True),
        GuestHardware(tpm="1.2", tpm_model="tpm-tis"),
        *(GuestHardware(cd_rom_bus=bus) for bus in CD_ROM_BUSES),
    ],
    ids=repr,
)
def test_libvirts_schema_accepts_it(wanted: GuestHardware, tmp_path: Path) -> None:
    if not (shutil.which("xmllint") and shutil.which("virt-xml-validate")):
        pytest.skip("virt-xml-validate needs xmllint (package libxml2-utils)")
    (tmp_path / "domain.xml").write_text(definition.definition(_spec(wanted), MAKE), encoding="utf-8")
    done = subprocess.run(["virt-xml-validate", tmp_path / "domain.xml", "domain"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_definition_that_is_written_anew_keeps_its_hardware_once() -> None:
    spec = _spec(EVERY_HARDWARE)
    text = definition.definition(spec, MAKE)
    again = merged(GuestSpec(name=spec.name, request=spec.request, record=spec.record, template=text), MAKE)
    for part in ("<shares>", "<quota>", "<watchdog", "<rng", "<hidden", "machine=", "secure=", "<tpm", "firmware="):
        assert (text.count(part), again.count(part)) == (1, 1), part


def test_another_architecture_has_the_features_too() -> None:
    text = definition.definition(_spec(GuestHardware(hidden=True, machine="virt-7.2")), BuildContext(platform=Platform(arch="aarch64")))
    assert '<type arch="aarch64" machine="virt-7.2">' in text
    assert '<hidden state="on" />' in text


def test_secure_boot_that_is_optional_is_given_where_the_host_has_it() -> None:
    spec = _spec(GuestHardware(machine="q35", uefi=True, secure_boot=SecureBoot.OPTIONAL))
    with_it, without = (definition.definition(spec, replace(MAKE, secure_boot=available)) for available in (True, False))
    assert '<loader secure="yes"' in with_it
    assert "<loader" not in without
    assert '<feature enabled="no" name="secure-boot"' in without


@pytest.mark.parametrize("bus", CD_ROM_BUSES)
def test_the_config_drive_is_on_the_bus_of_the_image(bus: str) -> None:
    text = definition.definition(_spec(GuestHardware(machine="pc" if bus == "ide" else "q35", cd_rom_bus=bus)), MAKE)
    check(GOLDEN / f"config-drive-{bus}.xml", text)
    seen = definition.host_guest(text, state=GuestState.STOPPED, persistent=True, pid=None, pages=HostPages())
    assert seen.disks == 0


def test_libvirt_says_on_which_buses_a_config_drive_can_be() -> None:
    recorded = (GOLDEN.parent / "recorded" / "domain-capabilities-qemu.xml").read_text(encoding="utf-8")
    assert hardware.cd_rom_buses(recorded) == frozenset(CD_ROM_BUSES)
    assert hardware.cd_rom_buses("<domainCapabilities/>") == frozenset()


def test_a_guest_that_boots_a_rom_has_no_uefi() -> None:
    spec = SPECS["share-with-pool"]
    with pytest.raises(InvalidRequest, match="hw_firmware_type is uefi, but the guest boots the ROM"):
        definition.definition(replace(spec, request=replace(spec.request, hardware=GuestHardware(uefi=True))), MAKE)


_OFFERED = """<domainCapabilities><os><enum name='firmware'>{efi}</enum><loader><enum name='secure'>{secure}</enum></loader></os>
<devices><tpm><enum name='model'><value>tpm-tis</value><value>tpm-crb</value></enum>
<enum name='backendModel'><value>passthrough</value>{swtpm}</enum>{versions}</tpm></devices></domainCapabilities>"""
_EFI, _YES, _SWTPM = "<value>efi</value>", "<value>yes</value><value>no</value>", "<value>emulator</value>"
_VERSIONS = "<enum name='backendVersion'><value>1.2</value><value>2.0</value></enum>"


def test_firmware_and_tpms_are_read_from_what_libvirt_says() -> None:
    everything = _OFFERED.format(efi=_EFI, secure=_YES, swtpm=_SWTPM, versions=_VERSIONS)
    tis, crb = (host_features.tpm("2.0", model) for model in ("tpm-tis", "tpm-crb"))
    assert firmware.of_default_machine(everything) == {host_features.UEFI, host_features.tpm("1.2", "tpm-tis"), tis, crb}
    assert firmware.of_q35(everything) == {host_features.UEFI_Q35, host_features.SECURE_BOOT}
    old = _OFFERED.format(efi=_EFI, secure="<value>no</value>", swtpm=_SWTPM, versions="")
    assert firmware.of_default_machine(old) == {host_features.UEFI, tis, crb}
    assert firmware.of_q35(old) == {host_features.UEFI_Q35}


@pytest.mark.parametrize("kind", ["kvm", "qemu"])
def test_a_host_without_ovmf_and_swtpm_offers_none(kind: str) -> None:
    recorded = (GOLDEN.parent / "recorded" / f"domain-capabilities-{kind}.xml").read_text(encoding="utf-8")
    assert firmware.of_default_machine(recorded) | firmware.of_q35(recorded) == frozenset()

"""UEFI, secure boot and the emulated TPM of real guests: what they boot with, what a stop keeps, and what is left of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import libvirt
import pytest
from msgspec.structs import replace
from tests.real.driver.conftest import driver_on
from tests.real.driver.guests import floating
from tests.real.patience import until

from pinfold.core import host_features
from pinfold.core.request.guest_hardware import GuestHardware, SecureBoot
from pinfold.drivers.libvirt.driver import LibvirtDriver
from pinfold.drivers.port import Boot, GuestSpec
from pinfold.lab.daemon import LabHost
from pinfold.linux import kvm, procfs

_MEMORY_MIB = 128
_SECURE = GuestHardware(machine="q35", uefi=True, secure_boot=SecureBoot.REQUIRED, tpm="2.0", tpm_model="tpm-crb")

_PLAIN = GuestHardware(uefi=True, tpm="1.2", tpm_model="tpm-tis")


@pytest.fixture(scope="module")
def emulating_lab(lab_name: str, lab_possible: None) -> Iterator[LabHost]:
    """One lab host without KVM, with a cpuset cgroup where the machine has one."""
    with LabHost(f"{lab_name}-firmware", kvm=False) as host:
        yield host


@pytest.fixture
def driver(emulating_lab: LabHost) -> Iterator[LibvirtDriver]:
    """A driver on it."""
    with driver_on(emulating_lab) as connected:
        lacking = {host_features.SECURE_BOOT, host_features.tpm("2.0", "tpm-crb")} - set(connected.features())
        if lacking:
            pytest.skip(f"this machine lacks {' and '.join(sorted(lacking))} (packages ovmf, swtpm and swtpm-tools)")
        yield connected


def _guest(wanted: GuestHardware, log: Path) -> GuestSpec:
    spec = floating(Path("unused"))
    record = replace(spec.record, fit=replace(spec.record.fit, memory_mib=_MEMORY_MIB))
    request = replace(spec.request, memory_mib=_MEMORY_MIB, hardware=wanted)
    return replace(spec, request=request, record=record, boot=Boot(serial_log=str(log)))


def _is_swtpm_of(guest: GuestSpec, arguments: tuple[str, ...]) -> bool:
    return arguments[:1] != () and arguments[0].endswith("swtpm") and any(guest.id in one for one in arguments)


def _files(lab: LabHost, guest: GuestSpec) -> list[str]:
    """The names of the files of variables and of the TPM's state that a guest has."""
    state = lab.folder.path / "lib"
    found = [path.name for path in state.glob(f"qemu/nvram/{guest.name}_VARS.*")]
    return sorted(found + [path.name for path in state.glob(f"swtpm/{guest.id}/*/*") if not path.name.startswith(".")])


def test_secure_boot_is_a_feature_under_kvm_only_with_system_management_mode(lab_name: str, lab_possible: None) -> None:
    if not kvm.DEVICE.exists():
        pytest.skip("this machine has no /dev/kvm")
    with LabHost(f"{lab_name}-smm", cgroups=False) as host, driver_on(host) as driver:
        features = driver.features()
    assert host_features.UEFI_Q35 in features
    assert (host_features.SECURE_BOOT in features) is kvm.has_system_management_mode()


def test_a_guest_boots_with_secure_uefi_and_a_tpm_and_leaves_nothing(driver: LibvirtDriver, emulating_lab: LabHost, tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    spec = _guest(_SECURE, tmp_path / "serial.log")
    driver.start(spec)
    connection = libvirt.open(emulating_lab.uri)
    text = connection.lookupByUUIDString(spec.id).XMLDesc(0)
    connection.close()
    for part in ("secure='yes' type='pflash'", "<smm state='on'", "<tpm model='tpm-crb'>", "<backend type='emulator' version='2.0'"):
        assert part in text
    if emulating_lab.cgroups != "none":
        (helper,) = (pid for pid in procfs.process_ids() if _is_swtpm_of(spec, procfs.arguments(pid)))
        assert {thread.allowed for thread in procfs.threads(helper)} == {spec.record.fit.emulator}
    kept = _files(emulating_lab, spec)
    assert kept == ["tpm2-00.permall", f"{spec.name}_VARS.fd"]
    driver.stop(spec.id, remove=False)
    assert _files(emulating_lab, spec) == kept
    driver.restart(spec.id)
    assert _files(emulating_lab, spec) == kept
    driver.stop(spec.id, remove=True)
    assert _files(emulating_lab, spec) == []


@pytest.mark.slow
@pytest.mark.parametrize("wanted", [_SECURE, _PLAIN], ids=["secure", "plain"])
def test_the_firmware_runs(wanted: GuestHardware, driver: LibvirtDriver, tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    log = tmp_path / "serial.log"
    spec = _guest(wanted, log)
    driver.start(spec)
    driver.resume(spec.id)
    # It finds no disk, and says on the serial line what it tries instead.
    until(lambda: log.exists() and b"BdsDxe" in log.read_bytes())


@pytest.mark.slow
def test_a_guest_without_secure_boot_has_plain_uefi(driver: LibvirtDriver, emulating_lab: LabHost, tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    spec = _guest(_PLAIN, tmp_path / "serial.log")
    driver.start(spec)
    connection = libvirt.open(emulating_lab.uri)
    text = connection.lookupByUUIDString(spec.id).XMLDesc(0)
    connection.close()
    assert "type='pflash'" in text
    assert "secure='yes'" not in text
    assert _files(emulating_lab, spec) == ["tpm-00.permall", f"{spec.name}_VARS.fd"]

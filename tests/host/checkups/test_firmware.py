"""Which firmware and TPMs `pinfold doctor` finds, beside what the flavors ask for."""

from __future__ import annotations

from pinfold.core import host_features
from pinfold.core.request.compile import compile_request
from pinfold.core.request.model import Flavor
from pinfold.drivers.checkup import Health
from pinfold.host.checkups.firmware import firmware_checkups

_UEFI = (host_features.HARDWARE, host_features.UEFI)
_ALL = (*_UEFI, host_features.SECURE_BOOT, host_features.tpm("2.0", "tpm-tis"))


def test_a_host_that_has_all_is_good() -> None:
    (found,) = firmware_checkups(_ALL, ())
    assert (found.health, found.words) == (Health.GOOD, "guests can have UEFI, secure boot, an emulated TPM")


def test_what_is_lacking_is_named_with_its_packages_and_matters_if_a_flavor_asks_for_it() -> None:
    (found,) = firmware_checkups(_UEFI, ())
    assert (found.health, found.words) == (Health.UNUSED, "guests cannot have secure boot nor an emulated TPM")
    assert found.advice.startswith(
        "on Debian, install the packages swtpm swtpm-tools; secure boot needs a UEFI firmware for q35 that has it"
    )
    asks = compile_request(Flavor(vcpus=1, memory_mib=64, extra_specs=(("hw:tpm_version", "2.0"),)))
    assert firmware_checkups(_UEFI, (asks,))[0].health is Health.POOR


def test_a_host_without_any_firmware_needs_the_package() -> None:
    (found,) = firmware_checkups((host_features.HARDWARE, host_features.tpm("2.0", "tpm-tis")), ())
    assert (found.words, found.advice) == ("guests cannot have UEFI nor secure boot", "on Debian, install the packages ovmf")


def test_a_kvm_without_system_management_mode_is_not_a_matter_of_packages() -> None:
    (found,) = firmware_checkups((*_UEFI, host_features.tpm("2.0", "tpm-tis")), ())
    assert found.words == "guests cannot have secure boot"
    assert "install" not in found.advice
    assert "System Management Mode" in found.advice


def test_a_driver_that_starts_no_guests_has_no_answer() -> None:
    assert firmware_checkups((), ()) == []

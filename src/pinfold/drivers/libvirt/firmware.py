"""UEFI, secure boot and the emulated TPM in domain XML, and which of them libvirt says that guests can have here. Pure.

libvirt chooses the firmware's files by the descriptions in `/usr/share/qemu/firmware`, makes a file of variables for each guest, starts
swtpm, and removes the variables and the TPM's state with the definition. It puts swtpm into the cgroup of the guest's emulator threads, so
where guests have a cpuset cgroup it runs on their pCPUs; elsewhere it runs where libvirt's daemon runs.
"""

from __future__ import annotations

from typing import Final
from xml.etree.ElementTree import Element, SubElement

from pinfold.core import host_features
from pinfold.core.errors import InvalidRequest
from pinfold.core.request.guest_hardware import GuestHardware, SecureBoot
from pinfold.drivers.libvirt import xmltext
from pinfold.drivers.port import Boot

_WHAT: Final = "domain capabilities XML"
_TIS_ONLY: Final = "1.2"
"""The version of TPM that only the model tpm-tis has."""


def of_default_machine(text: str) -> frozenset[str]:
    """The features in the domain capabilities of the default machine: UEFI, and the TPMs, which are the same for every machine.

    A libvirt that does not list versions (before 8.6) is taken to have 2.0 alone. Raises `InvalidRequest` for a text that is not libvirt's.
    """
    domain = xmltext.parsed(text, _WHAT, root="domainCapabilities")
    found = {host_features.UEFI} if "efi" in _values(domain, "os", "firmware") else set()
    if "emulator" in _values(domain, "devices/tpm", "backendModel"):
        versions = _values(domain, "devices/tpm", "backendVersion") or {"2.0"}
        found |= {
            host_features.tpm(version, model)
            for model in _values(domain, "devices/tpm", "model")
            for version in versions
            if version != _TIS_ONLY or model == "tpm-tis"
        }
    return frozenset(found)


def of_q35(text: str) -> frozenset[str]:
    """The features in the domain capabilities of the machine q35: UEFI and secure boot. Raises `InvalidRequest`."""
    domain = xmltext.parsed(text, _WHAT, root="domainCapabilities")
    if "efi" not in _values(domain, "os", "firmware"):
        return frozenset()
    secure = "yes" in _values(domain, "os/loader", "secure")
    return frozenset({host_features.UEFI_Q35, host_features.SECURE_BOOT} if secure else {host_features.UEFI_Q35})


def _values(domain: Element, path: str, name: str) -> set[str]:
    return {value.text or "" for value in domain.iterfind(f"{path}/enum[@name='{name}']/value")}


def is_secure(wants: GuestHardware, *, available: bool) -> bool:
    """Whether the guest gets secure boot; `available` says whether its host has it."""
    return wants.secure_boot is SecureBoot.REQUIRED or (wants.secure_boot is SecureBoot.OPTIONAL and wants.is_q35 and available)


def choose(os: Element, boot: Boot, *, secure: bool) -> None:
    """Let libvirt choose a UEFI firmware for the guest. With `secure` it boots only what is signed, because keys are enrolled.

    Raises `InvalidRequest` for a guest that boots a ROM.
    """
    if boot.rom:
        raise InvalidRequest(
            f"hw_firmware_type is uefi, but the guest boots the ROM {boot.rom}, which takes the place of the firmware; it must be bios",
            key="hw_firmware_type",
        )
    os.set("firmware", "efi")
    wanted = SubElement(os, "firmware")
    for name in ("secure-boot", "enrolled-keys") if secure else ("secure-boot",):
        SubElement(wanted, "feature", {"enabled": "yes" if secure else "no", "name": name})
    if secure:
        SubElement(os, "loader", {"secure": "yes"})


def tpm(wants: GuestHardware) -> Element:
    """`<tpm>`."""
    device = Element("tpm", {"model": wants.tpm_model})
    SubElement(device, "backend", {"type": "emulator", "version": wants.tpm})
    return device

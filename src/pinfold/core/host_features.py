"""What a host must have for a guest beyond pools, memory, traits and networks, named as a refusal says it.

An agent reports the features of its host. A guest that needs one is never placed where it is not reported, so an older agent gets none of
these guests.
"""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta

from pinfold.core.request.guest_hardware import SecureBoot
from pinfold.core.request.model import GuestRequest

Feature = Annotated[str, Meta(max_length=128)]
Features = Annotated[tuple[Feature, ...], Meta(max_length=1024)]
HARDWARE: Final = "an agent that gives guests the hardware that they ask for"
UEFI: Final = "UEFI firmware"
UEFI_Q35: Final = "UEFI firmware for the machine q35"
SECURE_BOOT: Final = "UEFI firmware with secure boot"
SHARED_MEMORY: Final = "guest memory that other processes can share"
CPU_CONTROLLER: Final = "the cpu controller of cgroups"
INTERFACES: Final = "an agent that attaches and detaches interfaces of servers"

MULTIQUEUE: Final = "an agent that gives network interfaces several queues"


def queues(network: str) -> str:
    """The feature of a host that offers a network on which interfaces can have several queues. No agent reports it: it follows from the
    kind of the network.
    """
    return f"several queues on the network {network}"


def machine(name: str) -> str:
    """The feature of a host that has this machine."""
    return f"the machine {name}"


def tpm(version: str, model: str) -> str:
    """The feature of a host that emulates this TPM.

    >>> tpm("2.0", "tpm-crb")
    'an emulated TPM 2.0 with the model tpm-crb'
    """
    return f"an emulated TPM {version} with the model {model}"


def cd_rom(bus: str) -> str:
    """The feature of a host that can put a config drive on this bus."""
    return f"a config drive on the bus {bus}"


def template(name: str) -> str:
    """The feature of a host that has a template of this name."""
    return f"the template {name}"


def needed(request: GuestRequest) -> frozenset[str]:
    """The features that the guest needs of its host; none for a guest that asks for no hardware.

    >>> needed(GuestRequest(vcpus=1, memory_mib=64))
    frozenset()
    """
    hardware = request.wants
    if hardware == type(hardware)():
        return frozenset()
    found = {HARDWARE}
    if hardware.template:
        found.add(template(hardware.template))
    if hardware.shared_memory:
        found.add(SHARED_MEMORY)
    if hardware.machine:
        found.add(machine(hardware.machine))
    if hardware.uefi:
        found.add(UEFI_Q35 if hardware.is_q35 else UEFI)
    if hardware.secure_boot is SecureBoot.REQUIRED:
        found.add(SECURE_BOOT)
    if hardware.cd_rom_bus:
        found.add(cd_rom(hardware.cd_rom_bus))
    if hardware.tpm:
        found.add(tpm(hardware.tpm, hardware.tpm_model))
    if hardware.multiqueue:
        found.add(MULTIQUEUE)
    if hardware.limits_cpu:
        found.add(CPU_CONTROLLER)
    return frozenset(found)

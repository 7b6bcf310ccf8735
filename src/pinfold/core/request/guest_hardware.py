"""What a guest has beside its CPUs, amount of memory, disks and networks: machine, firmware, TPM, watchdog, random numbers, CPU time,
and whether other processes can share its memory.

`hardware` reads them from flavor and image; a driver writes them into the definition. `core.host_features` says what a host must have.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Annotated, Final

from msgspec import Meta, Struct
from msgspec.structs import replace

MachineName = Annotated[str, Meta(max_length=64)]
"""A machine of QEMU, '' for the driver's default."""


TEMPLATE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", re.ASCII)
"""The name of a template, which becomes the name of a file."""


MOST_QUEUES: Final = 256
"""The most queues of a network interface: those of a tap device of Linux."""


def interface_queues(vcpus: int, *, multiqueue: bool) -> int:
    """The queues of each network interface of a guest, in pairs of one for each direction.

    >>> interface_queues(16, multiqueue=True), interface_queues(300, multiqueue=True), interface_queues(16, multiqueue=False)
    (16, 256, 1)
    """
    return min(vcpus, MOST_QUEUES) if multiqueue else 1


class SecureBoot(Enum):
    """`os:secure_boot`. OPTIONAL is secure boot where the host has it."""

    DISABLED = "disabled"
    OPTIONAL = "optional"
    REQUIRED = "required"


class GuestHardware(Struct, frozen=True, kw_only=True):
    """What a guest gets; the defaults are what a guest gets that asks for nothing.

    `template` names the domain XML that brings everything else, '' for none. `uefi` is whether it has UEFI instead of a BIOS.
    `shared_memory` is whether other processes of the host, such as a vhost-user switch, can map its memory.
    `cd_rom_bus` is the bus of the config drive, '' for that of CD-ROM drives on the machine.
    `tpm` is the version of its emulated TPM, '' for none, and `tpm_model` its model. `watchdog` is its action, '' for no watchdog.
    `random_bytes` in each `random_ms` limit the random numbers, 0 for no limit. `cpu_shares`,
    `cpu_period_us` and `cpu_quota_us` are the weight and the limit of each vCPU's time, 0 for the hypervisor's default. `multiqueue` is
    whether its network interfaces have a queue for each vCPU.
    """

    machine: MachineName = ""
    template: str = ""
    shared_memory: bool = False
    uefi: bool = False
    secure_boot: SecureBoot = SecureBoot.DISABLED
    tpm: str = ""
    tpm_model: str = ""
    cd_rom_bus: str = ""
    watchdog: str = ""
    random: bool = False
    random_bytes: int = 0
    random_ms: int = 0
    performance_unit: bool | None = None
    hidden: bool = False
    cpu_shares: int = 0
    cpu_period_us: int = 0
    cpu_quota_us: int = 0
    multiqueue: bool = False

    @property
    def is_q35(self) -> bool:
        """Whether the machine is one of QEMU's q35. No other machine of x86 has secure boot."""
        return "q35" in self.machine

    @property
    def beside_template(self) -> GuestHardware:
        """What it asks for that a template brings, and that is refused beside one. The memory is pinfold's also beside a template."""
        return replace(self, template="", shared_memory=False)

    @property
    def limits_cpu(self) -> bool:
        """Whether it says something about CPU time."""
        return bool(self.cpu_shares or self.cpu_period_us or self.cpu_quota_us)


PLAIN: Final = GuestHardware()
"""The hardware of a guest that asks for none."""

"""Which driver serves an address: the only place that knows the drivers. All others know `drivers.port`."""

from __future__ import annotations

import re
from typing import Final

from pinfold.core.cpu_model import DEFAULT_CPU, CpuModel
from pinfold.drivers.driver_kind import DriverKind, Witness
from pinfold.drivers.kvm.machine import machine_of
from pinfold.drivers.port import Driver

__all__ = ["DEFAULT_URI", "kind_of", "machine_of", "open_driver", "refusal"]

DEFAULT_URI: Final = "qemu:///system"
"""Where guests are placed if no configuration says otherwise."""


def kind_of(uri: str) -> DriverKind:
    """The kind of driver for an address. Every address that no other driver claims is a libvirt URI."""
    if uri.partition(":")[0] == "processes":
        from pinfold.drivers.processes.kind import ProcessesKind

        return ProcessesKind()
    from pinfold.drivers.libvirt.kind import LibvirtKind

    return LibvirtKind()


def open_driver(uri: str, *, witness: Witness | None = None, realtime_priority: int = 1, cpu: CpuModel = DEFAULT_CPU) -> Driver:
    """A driver that is connected to the hypervisor at an address.

    `witness` is another witness than procfs, `realtime_priority` that of realtime vCPUs, `cpu` the processor of new guests. Raises
    `Unavailable` if the hypervisor is away, `InvalidRequest` for an address that cannot be used.
    """
    return kind_of(uri).open(uri, witness=witness, realtime_priority=realtime_priority, cpu=cpu)


def refusal(uri: str) -> str:
    """What an address has to be so that guests can be placed there, as the rest of a sentence; '' if `uri` is one.

    >>> refusal("qemu:///system"), refusal("processes:")
    ('', 'is not allowed; a libvirt URI of QEMU is, such as qemu:///system')
    """
    placing = re.fullmatch(r"qemu(\+[a-z0-9]+)?://\S{1,1000}", uri)
    return "" if placing else f"is not allowed; a libvirt URI of QEMU is, such as {DEFAULT_URI}"

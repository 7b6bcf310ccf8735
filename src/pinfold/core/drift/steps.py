"""`Step`: what has to be done to undo a finding, as a value. A driver turns steps into the shell command that an operator runs.

`remedy` holds the advice that names commands of pinfold's own.
"""

from __future__ import annotations

from enum import Enum

import msgspec

from pinfold.core.cpuset import CpuSet
from pinfold.core.overhead import ObservedThread


class Pinned(Enum):
    """What a pin is about."""

    VCPU = "vcpu"
    EMULATOR = "emulator"
    IOTHREAD = "iothread"


class Pin(msgspec.Struct, frozen=True, kw_only=True):
    """Pin `what` (vCPU or iothread `index`, or the emulator) to `cpus`, of which `online` are online now.

    `live` means that the pin of the running guest is wrong, `kept` that the pin in its persistent definition is. `threads` are the
    threads to move. A hypervisor may move some of them with the pin.
    """

    what: Pinned
    cpus: CpuSet
    online: CpuSet
    index: int = 0
    live: bool = False
    kept: bool = False
    threads: tuple[ObservedThread, ...] = ()


class Move(msgspec.Struct, frozen=True, kw_only=True):
    """Move single threads to `cpus`, and out of a cgroup that would hold them elsewhere."""

    threads: tuple[ObservedThread, ...]
    cpus: CpuSet


class MoveProcess(msgspec.Struct, frozen=True, kw_only=True):
    """Move every thread of a process to `cpus`."""

    pid: int
    cpus: CpuSet


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """Give threads SCHED_FIFO with that priority, or the ordinary scheduler with priority 0."""

    tids: tuple[int, ...]
    priority: int = 0


class SwitchOn(msgspec.Struct, frozen=True, kw_only=True):
    """Switch pCPUs on."""

    cpus: CpuSet


class ShutDown(msgspec.Struct, frozen=True, kw_only=True):
    """Ask the guest to shut down."""


Step = Pin | Move | MoveProcess | Schedule | SwitchOn | ShutDown

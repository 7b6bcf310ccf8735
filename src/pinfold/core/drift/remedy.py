"""The shell commands that repair findings, as text. Running them does not belong here.

Every command names the libvirt address, quotes what a shell would read, and works when pasted by root on the host. `virsh` is used for what
libvirt moves; `taskset` and `chrt` (util-linux) for threads that it does not.
"""

from __future__ import annotations

import shlex
from typing import Final

from pinfold.core.cpuset import CpuSet
from pinfold.core.drift.finding import Subject

OWNER: Final = "pinfold"
"""The owner in the record of a guest that was started straight on its host, with no service."""


def vcpupin(subject: Subject, vcpu: int, cpus: CpuSet) -> str:
    """Puts one vCPU on `cpus`, now (where the guest runs) and in the definition.

    >>> vcpupin(Subject(name="web 1"), 0, CpuSet.of(4))
    "virsh -c qemu:///system vcpupin 'web 1' 0 4 --live --config"
    """
    return _virsh(subject, "vcpupin", str(vcpu), str(cpus))


def emulatorpin(subject: Subject, cpus: CpuSet) -> str:
    """Puts the emulator threads on `cpus`. Without a cpuset cgroup libvirt moves the main thread alone."""
    return _virsh(subject, "emulatorpin", str(cpus))


def iothreadpin(subject: Subject, iothread: int, cpus: CpuSet) -> str:
    """Puts one iothread on `cpus`."""
    return _virsh(subject, "iothreadpin", str(iothread), str(cpus))


def taskset(tid: int, cpus: CpuSet) -> str:
    """Puts one thread on `cpus`.

    >>> taskset(71, CpuSet.parse("0-1"))
    'taskset -pc 0-1 71'
    """
    return f"taskset -pc {cpus} {tid}"


def taskset_process(pid: int, cpus: CpuSet) -> str:
    """Puts every thread of a process on `cpus`."""
    return f"taskset -apc {cpus} {pid}"


def chrt_fifo(tid: int, priority: int) -> str:
    """Gives one thread SCHED_FIFO."""
    return f"chrt --fifo --pid {priority} {tid}"


def chrt_other(tid: int) -> str:
    """Gives one thread the ordinary scheduler."""
    return f"chrt --other --pid 0 {tid}"


def shutdown(subject: Subject) -> str:
    """Asks a guest that is not ours to end to shut down."""
    return shlex.join(("virsh", "-c", subject.uri, "shutdown", _domain(subject)))


def bring_online(cpus: CpuSet) -> str:
    """Switches pCPUs on.

    >>> bring_online(CpuSet.of(7))
    'echo 1 | tee /sys/devices/system/cpu/cpu7/online'
    """
    return "echo 1 | tee " + " ".join(f"/sys/devices/system/cpu/cpu{cpu}/online" for cpu in cpus)


def replaced(subject: Subject) -> str:
    """What gives a guest of ours a place in the pools of today, as commands in backquotes; its id and its disk stay.

    >>> replaced(Subject(name="web", owner="pinfold"))
    '`pinfold guest stop web`, `pinfold guest replace web`, `pinfold guest restart web`'
    >>> replaced(Subject(name="instance-1", id="1", active=False, owner="the agent of c01"))
    '`pinfold server start 1 --wait`'
    """
    if subject.owner == OWNER:
        commands = [f"pinfold guest {verb} {shlex.quote(subject.name)}" for verb in ("stop", "replace", "restart")]
    else:
        commands = [f"pinfold server {verb} {subject.id} --wait" for verb in ("stop", "start")]
    return ", ".join(f"`{command}`" for command in (commands if subject.active else commands[1:]))


def _virsh(subject: Subject, verb: str, *arguments: str) -> str:
    scope = ("--live", "--config") if subject.active else ("--config",)
    return shlex.join(("virsh", "-c", subject.uri, verb, _domain(subject), *arguments, *scope))


def _domain(subject: Subject) -> str:
    """The guest as virsh finds it: by name, but by id where virsh would take the name for something else.

    A name of digits is the number of a running domain, most likely another one's; 36 characters are a UUID; a dash begins an option.
    """
    name = subject.name
    misread = name.strip(" \t+").isdigit() or len(name) == 36 or name.startswith("-")
    return subject.id if misread and subject.id else name

"""Read libvirt's status file, its numbers of a domain's state, and what a remote libvirt says of threads. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct, field

from pinfold.core.cpuset import CpuSet
from pinfold.core.overhead import ObservedThread, ThreadClass
from pinfold.drivers.libvirt import xmltext
from pinfold.drivers.port import GuestState

_WHAT: Final = "domain XML"
# virDomainState and virDomainShutoffReason, libvirt's ABI. States that are not listed here count as running.
_STATES: Final = {3: GuestState.PAUSED, 7: GuestState.PAUSED, 5: GuestState.STOPPED, 6: GuestState.CRASHED}
_SHUT_OFF, _BY_A_CRASH = 5, 3


class Status(Struct, frozen=True, kw_only=True):
    """The content of libvirt's status file of a running guest: its process, and the thread of each vCPU (tid -> index)."""

    pid: int
    vcpus: Mapping[int, int] = field(default_factory=dict)


def state_of(state: int, reason: int) -> GuestState:
    """The state of a domain from libvirt's numbers. One that was shut off by a crash is CRASHED."""
    if (state, reason) == (_SHUT_OFF, _BY_A_CRASH):
        return GuestState.CRASHED
    return _STATES.get(state, GuestState.RUNNING)


def status_file(text: str) -> Status:
    """The content of `/run/libvirt/qemu/NAME.xml`. Raises `InvalidRequest` for another text."""
    # The text after the vCPUs is long (QEMU's capabilities, the whole domain). Skip it, since every sweep reads this for every guest.
    head, found, _ = text.partition("<qemuCaps>")
    root = xmltext.parsed(f"{head}</domstatus>" if found else text, "libvirt's status file", root="domstatus")
    vcpus = {
        xmltext.integer(item, "pid", _WHAT): xmltext.integer(item, "id", _WHAT) for item in root.iterfind("vcpus/vcpu") if item.get("pid")
    }
    return Status(pid=xmltext.integer(root, "pid", "libvirt's status file"), vcpus={tid: index for tid, index in vcpus.items() if tid})


def unverified_threads(vcpus: Sequence[CpuSet], emulator: CpuSet, iothreads: Mapping[int, CpuSet]) -> tuple[ObservedThread, ...]:
    """The threads that a remote hypervisor reports, without thread ids: vCPUs, the emulator, iothreads."""
    found = [
        ObservedThread(tid=0, name=f"vCPU {index}", thread_class=ThreadClass.VCPU, allowed=cpus, vcpu=index)
        for index, cpus in enumerate(vcpus)
    ]
    found.append(ObservedThread(tid=0, name="emulator", thread_class=ThreadClass.EMULATOR, allowed=emulator))
    found += [
        ObservedThread(tid=0, name=f"iothread {index}", thread_class=ThreadClass.IOTHREAD, allowed=cpus, iothread=index)
        for index, cpus in sorted(iothreads.items())
    ]
    return tuple(found)

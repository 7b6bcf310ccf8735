"""A guest with its masks and its threads, as a record has them, and its comparison with what a host shows."""

from __future__ import annotations

from typing import Any

from tests.build.hosts import cpus
from tests.build.repairs import repairable

from pinfold.core import drift
from pinfold.core.cpuset import CpuSet
from pinfold.core.drift import Finding, Subject
from pinfold.core.overhead import Masks, ObservedThread, ThreadClass
from pinfold.core.pools import Pools
from pinfold.drivers.kvm.thread_class import of_class
from pinfold.drivers.port import DefinedPins
from pinfold.linux.procfs import Thread

ONLINE = CpuSet.parse("0-15")
WEB = Subject(name="web", id="00000000-0000-0000-0000-000000000001", pid=100, realtime_priority=3, owner="pinfold")
MASKS = Masks(vcpus=(cpus("4"), cpus("5")), overhead=cpus("0-1"))
REALTIME = Masks(vcpus=(cpus("4"), cpus("5")), overhead=cpus("0-1"), realtime=cpus("1"))
POOLS = Pools(shared=cpus("0-3"), dedicated=cpus("4-15"), overhead=cpus("0-3"))


def thread(
    kind: ThreadClass, allowed: str, *, tid: int = 101, name: str = "x", vcpu: int | None = None, sched: str = "other"
) -> ObservedThread:
    return of_class(Thread(tid=tid, comm=name, allowed=cpus(allowed), scheduler=sched), kind, vcpu)


MAIN = thread(ThreadClass.EMULATOR, "0-1", tid=100, name="qemu-system-x86")
VCPU0 = thread(ThreadClass.VCPU, "4", tid=110, name="CPU 0/KVM", vcpu=0)
VCPU1 = thread(ThreadClass.VCPU, "5", tid=111, name="CPU 1/KVM", vcpu=1)
RIGHT = (MAIN, VCPU0, VCPU1)
ASKED = DefinedPins(vcpus=((0, cpus("4")), (1, cpus("5"))), emulator=cpus("0-1"))


def compare(subject: Subject, *rest: Any, uri: str = "qemu:///system", local: bool = True, **more: Any) -> tuple[Finding, ...]:
    """`drift.compare`, with the commands of libvirt."""
    return repairable(subject, drift.compare(subject, *rest, **more), uri=uri, local=local)

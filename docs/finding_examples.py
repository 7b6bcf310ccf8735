"""One example of every finding, made by the code that makes the real ones, on a small host with one thing wrong at a time."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from pinfold.core.cpuset import CpuSet
from pinfold.core.drift import (
    Definitions,
    ExpectedMemory,
    Finding,
    FindingCode,
    Holder,
    Owner,
    Place,
    Process,
    Subject,
    busy_siblings,
    compare,
    foreign_floating,
    foreign_process,
    misplaced_memory,
    outside_pools,
    pools_missing,
    record_unreadable,
    two_owners,
)
from pinfold.core.drift.memory import Area, AreaKind
from pinfold.core.drift.steps import ShutDown
from pinfold.core.errors import InvalidRequest
from pinfold.core.overhead import Masks, ObservedThread, ThreadClass
from pinfold.core.pools import Pools
from pinfold.core.repairs import BY_THE_WATCH, Drifted, undone_finding
from pinfold.drivers.kvm.thread_class import of_class
from pinfold.drivers.libvirt.commands import repair_command
from pinfold.drivers.libvirt.metadata import NAMESPACE, record_of_text
from pinfold.drivers.port import DefinedPins, GuestState, HostGuest, NovaRecord, Observation
from pinfold.host.nova import judged, read
from pinfold.host.undoer import VDSM
from pinfold.linux.procfs import Thread

_URI = "qemu:///system"
_ONLINE = CpuSet.parse("0-7")
_POOLS = Pools(shared=CpuSet.parse("0-1"), dedicated=CpuSet.parse("2-7"), overhead=CpuSet.parse("0-1"))
_WEB = Subject(name="web", id="3f6a1c52-7c1e-4a5e-9d0b-0a4b6f1f2d11", pid=4711, owner="pinfold")
_OTHER = Subject(name="router", id="c2f1b7de-52a0-4a1f-8f0e-6a1f0c3d9b12", pid=5120)
_MASKS = Masks(vcpus=(CpuSet.of(2), CpuSet.of(3)), overhead=CpuSet.parse("0-1"))
_REALTIME = Masks(vcpus=_MASKS.vcpus, overhead=_MASKS.overhead, realtime=CpuSet.of(1))
_VCPUS = (
    ObservedThread(tid=4718, name="CPU 0/KVM", thread_class=ThreadClass.VCPU, allowed=CpuSet.of(2), vcpu=0),
    ObservedThread(tid=4719, name="CPU 1/KVM", thread_class=ThreadClass.VCPU, allowed=CpuSet.of(3), vcpu=1),
)


def examples() -> dict[FindingCode, Finding]:
    """The first finding of each code."""
    found: dict[FindingCode, Finding] = {}
    for finding in (*_threads(), *_definitions(), *_host()):
        subject = _WEB if finding.guest == _WEB.name else _OTHER
        found.setdefault(finding.code, replace(finding, repair=repair_command(_URI, subject, finding.steps)))
    return found


def _threads() -> Iterator[Finding]:
    """What threads show: each is where no record puts it."""
    for tid, name, kind, cpus in (
        (4711, "qemu-system-x86", ThreadClass.EMULATOR, "0-7"),
        (4716, "IO iothread1", ThreadClass.IOTHREAD, "2"),
        (4721, "vhost-4711", ThreadClass.VHOST, "0-7"),
        (4722, "kvm-nx-lpage-re", ThreadClass.KTHREAD, "2"),
    ):
        yield from _of(*_VCPUS, of_class(Thread(tid=tid, comm=name, allowed=CpuSet.parse(cpus)), kind))
    strayed = ObservedThread(tid=4718, name="CPU 0/KVM", thread_class=ThreadClass.VCPU, allowed=CpuSet.parse("2-7"), vcpu=0)
    third = ObservedThread(tid=4720, name="CPU 2/KVM", thread_class=ThreadClass.VCPU, allowed=CpuSet.of(4), vcpu=2)
    worker = ObservedThread(tid=4730, name="worker", thread_class=ThreadClass.EMULATOR, allowed=_MASKS.overhead, scheduler="fifo")
    yield from _of(strayed, _VCPUS[1])
    yield from _of(*_VCPUS, third)
    yield from _of(*_VCPUS, worker)
    yield from _of(_VCPUS[0])
    yield from _of()
    yield from compare(_WEB, _REALTIME, _VCPUS, _ONLINE)
    yield from compare(_WEB, _MASKS, _VCPUS, _ONLINE, stable=False)
    yield from compare(_WEB, _MASKS, _VCPUS, _ONLINE - CpuSet.of(3))


def _of(*threads: ObservedThread) -> tuple[Finding, ...]:
    return compare(_WEB, _MASKS, threads, _ONLINE)


def _definitions() -> Iterator[Finding]:
    """What definitions ask for, ours and Nova's."""
    pins = ((0, CpuSet.of(2)), (1, CpuSet.of(4)))
    for realtime in (CpuSet(), CpuSet.of(1)):
        asked = DefinedPins(vcpus=pins, emulator=_MASKS.overhead, realtime=realtime)
        yield from compare(_WEB, _MASKS, None, _ONLINE, definitions=Definitions(live=asked, kept=asked))
    pins = ((0, CpuSet.of(4)), (1, CpuSet.of(5)))
    specs = (("hw:cpu_policy", "dedicated"), ("hw:emulator_threads_policy", "share"))
    flavor = NovaRecord(flavor="nfv", vcpus=2, memory_mib=2048, extra_specs=specs)
    router = HostGuest(
        id=_OTHER.id,
        name=_OTHER.name,
        state=GuestState.RUNNING,
        vcpus=2,
        memory_mib=2048,
        nova=flavor,
        pins=DefinedPins(vcpus=pins, emulator=CpuSet.parse("4-5")),
    )
    router = replace(router, kept=router.pins)
    worker = ObservedThread(tid=5124, name="worker", thread_class=ThreadClass.EMULATOR, allowed=CpuSet.parse("4-5"))
    main = ObservedThread(tid=5120, name="qemu-system-x86", thread_class=ThreadClass.EMULATOR, allowed=CpuSet.parse("4-5"))
    observation = Observation(threads=(main, worker), witness="procfs")
    yield from judged(_OTHER, router, read(_OTHER, router, _POOLS, _ONLINE), observation, _POOLS, _ONLINE)
    try:
        record_of_text(f'<pinfold:guest xmlns:pinfold="{NAMESPACE}">{{"v":9,"value":{{}}}}</pinfold:guest>')
    except InvalidRequest as error:
        yield record_unreadable(_WEB, str(error), repair_command(_URI, _WEB, (ShutDown(),)))


def _host() -> Iterator[Finding]:
    """What guests, strangers and pools do to each other."""
    router = Holder(name="Nova's guest router", guest="router", owner=Owner.NOVA, cpus=CpuSet.parse("3-4"))
    yield from two_owners([Holder(name="guest web", guest="web", cpus=CpuSet.parse("2-3")), router])
    yield from pools_missing(["router"], "/etc/nova/nova.conf")
    cores = {cpu: CpuSet.of(cpu & ~1, cpu | 1) for cpu in range(8)}
    yield from busy_siblings(_WEB, CpuSet.of(2), cores, [router])
    memory = ExpectedMemory(cells=CpuSet.of(0), huge_mib={})
    yield from misplaced_memory(_WEB, memory, [Area(kind=AreaKind.PLAIN, page_kib=4, pages=((0, 1000), (1, 131_072)))])
    yield from outside_pools(_WEB, Place(alone=CpuSet.parse("1-2")), _POOLS, _ONLINE)
    yield from outside_pools(_WEB, Place(alone=CpuSet.parse("2-3"), pooled=CpuSet.of(0)), _POOLS, _ONLINE)
    loose = ObservedThread(tid=5120, name="qemu-system-x86", thread_class=ThreadClass.EMULATOR, allowed=_ONLINE)
    yield from foreign_floating(_OTHER, [loose], CpuSet(), 1, _POOLS, _ONLINE)
    yield from foreign_process(Process(pid=903, name="irqbalance", allowed=(CpuSet.of(5),)), _POOLS, _ONLINE, _ONLINE)
    yield undone_finding(Drifted(guest_id=_OTHER.id, name=_OTHER.name, pid=5120, undoer=VDSM), BY_THE_WATCH)

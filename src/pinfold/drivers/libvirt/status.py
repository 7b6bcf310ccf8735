"""Read domain XML, libvirt's status file and QMP answers: a guest's definition, and the class of each of its threads. Pure.

Threads are identified by id. Names serve only if no id is known: the kernel cuts them to 15 characters, and they may be set late.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Final
from xml.etree.ElementTree import Element

from pinfold.core.bounds import MAX_AMOUNT, MAX_CELL, MAX_CPU, MAX_GUEST_CELLS, MAX_IOTHREADS, MAX_PAGE_KIB
from pinfold.core.cpuset import CpuSet
from pinfold.core.errors import InvalidRequest
from pinfold.core.host import ForeignMemory
from pinfold.core.overhead import ObservedThread, ThreadClass
from pinfold.drivers.libvirt import metadata, template, xmltext
from pinfold.drivers.port import DefinedPins, GuestState, HostGuest, Record
from pinfold.linux.cgroup import Leaf
from pinfold.linux.procfs import Thread

_WHAT: Final = "domain XML"
# virDomainState and virDomainShutoffReason, libvirt's ABI. States that are not listed here count as running.
_STATES: Final = {3: GuestState.PAUSED, 7: GuestState.PAUSED, 5: GuestState.STOPPED, 6: GuestState.CRASHED}
_SHUT_OFF, _BY_A_CRASH = 5, 3

_MAX_IOTHREAD_ID: Final = 2**32 - 1

_VCPU_NAME: Final = re.compile(r"CPU ([0-9]+)/")
# QEMU names the thread "TC " plus its object's id. libvirt (9.0) derives the id from the memory's: tc-ram-node0, tc-pc.ram, tc-memdimm0.
_CONTEXT_NAME: Final = re.compile(r"TC tc-")
_IOTHREAD_NAME: Final = re.compile(r"IO iothread([0-9]*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """The content of libvirt's status file of a running guest: its process, and the thread of each vCPU (tid -> index)."""

    pid: int
    vcpus: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPages:
    """What a definition takes from the host: its cells, and the huge page size that `<hugepages/>` without a size means."""

    cells: tuple[int, ...] = (0,)
    default_huge_kib: int = 2048


def host_guest(text: str, *, state: GuestState, persistent: bool, pid: int | None, pages: HostPages) -> HostGuest:
    """The guest of a domain XML. If our record cannot be read, `problem` says why. Raises `InvalidRequest` for broken XML."""
    return replace(_defined(text, pages), state=state, persistent=persistent, pid=pid)


# An agent reads every guest every few seconds, and definitions hardly ever change.
@lru_cache(maxsize=512)
def _defined(text: str, pages: HostPages) -> HostGuest:
    """The guest from the XML alone; state, persistence and process are placeholders."""
    domain = xmltext.parsed(text, _WHAT, root="domain")
    uuid = domain.findtext("uuid", default="")
    record, nova, problem = None, None, ""
    notes = domain.find("metadata")
    if notes is not None:
        ours = notes.find(metadata.TAG)
        record, problem = _record(ours, uuid) if ours is not None else (None, "")
        try:
            nova = metadata.nova_record(notes)
        except InvalidRequest as error:
            problem = problem or str(error)
    vcpu = domain.find("vcpu")
    taken, memory_mib = memory(domain, pages)
    disks, nics = template.devices(domain)
    return HostGuest(
        id=uuid,
        name=domain.findtext("name", default=""),
        state=GuestState.STOPPED,
        vcpus=1 if vcpu is None else xmltext.text_integer(vcpu, _WHAT, most=MAX_CPU + 1),
        memory_mib=memory_mib,
        persistent=False,
        pid=None,
        record=record,
        nova=nova,
        pins=asked_pins(domain),
        pages=taken,
        iothreads=len(iothread_ids(domain)),
        disks=disks,
        nics=nics,
        problem=problem,
        huge_mib=-(-sum(amount_kib for _, amount_kib in _guest_cells(domain)) // 1024) - memory_mib,
    )


@lru_cache(maxsize=512)
def pins_of(text: str) -> DefinedPins:
    """The pins that a domain XML asks for. Raises `InvalidRequest`."""
    return asked_pins(xmltext.parsed(text, _WHAT, root="domain"))


def state_of(state: int, reason: int) -> GuestState:
    """The state of a domain from libvirt's numbers. One that was shut off by a crash is CRASHED."""
    if (state, reason) == (_SHUT_OFF, _BY_A_CRASH):
        return GuestState.CRASHED
    return _STATES.get(state, GuestState.RUNNING)


def _record(ours: Element, uuid: str) -> tuple[Record | None, str]:
    """The record, or None and the reason."""
    try:
        record = metadata.record_of(ours)
    except InvalidRequest as error:
        return None, str(error)
    if record.guest != uuid:
        return None, f"pinfold's record in the domain's metadata is of guest {record.guest}: the definition was copied"
    return record, ""


def has_own_nvram(text: str) -> bool:
    """Whether libvirt created and named the domain's firmware variables. A file named by a template must outlive the guest."""
    domain = xmltext.parsed(text, _WHAT, root="domain")
    name, path = domain.findtext("name", default=""), domain.findtext("os/nvram", default="")
    return path.rpartition("/")[2].startswith(f"{name}_VARS.")


def asked_pins(domain: Element) -> DefinedPins:
    """The pins in a domain. Raises `InvalidRequest` for a cpulist that cannot be read."""
    vcpu, tune = domain.find("vcpu"), domain.find("cputune")
    placement = None if vcpu is None or not vcpu.get("cpuset") else xmltext.cpus(vcpu, "cpuset", _WHAT)
    if tune is None:
        return DefinedPins(placement=placement)
    emulator = tune.find("emulatorpin")
    realtime = CpuSet()
    for item in xmltext.children(tune, "vcpusched", MAX_CPU + 1, _WHAT):
        if item.get("scheduler") in ("fifo", "rr"):
            realtime |= xmltext.cpus(item, "vcpus", _WHAT)
    return DefinedPins(
        vcpus=_pins(xmltext.children(tune, "vcpupin", MAX_CPU + 1, _WHAT), "vcpu", MAX_CPU),
        emulator=None if emulator is None else xmltext.cpus(emulator, "cpuset", _WHAT),
        iothreads=_pins(xmltext.children(tune, "iothreadpin", MAX_IOTHREADS, _WHAT), "iothread", _MAX_IOTHREAD_ID),
        placement=placement,
        realtime=realtime,
    )


def iothread_ids(domain: Element) -> tuple[int, ...]:
    """The ids of a domain's iothreads, ascending. libvirt lists all of them in every XML that it prints."""
    items = xmltext.children(domain, "iothreadids/iothread", MAX_IOTHREADS, _WHAT)
    listed = sorted(xmltext.integer(item, "id", _WHAT, most=_MAX_IOTHREAD_ID) for item in items)
    count = domain.find("iothreads")
    return tuple(listed) or tuple(range(1, 1 + (0 if count is None else xmltext.text_integer(count, _WHAT, most=MAX_IOTHREADS))))


def memory(domain: Element, pages: HostPages) -> tuple[tuple[ForeignMemory, ...], int]:
    """The huge pages that a domain takes in each host cell, ordered by cell and size, and its small-page memory in MiB.

    A guest cell without a fixed host cell is spread evenly over the cells that it may use, rounded up.
    """
    huge = _huge_sizes(domain, pages)
    counts: dict[tuple[int, int], int] = {}
    small_kib = 0
    for cell, amount_kib in _guest_cells(domain):
        size = huge.get(cell, huge.get(None, 0))
        if not size:
            small_kib += amount_kib
            continue
        where = _host_cells(domain, cell, pages)
        needed = -(-amount_kib // size)
        for host_cell in where:
            counts[host_cell, size] = counts.get((host_cell, size), 0) + -(-needed // len(where))
    taken = tuple(ForeignMemory(cell=cell, size_kib=size, count=count) for (cell, size), count in sorted(counts.items()))
    return taken, -(-small_kib // 1024)


def status_file(text: str) -> Status:
    """The content of `/run/libvirt/qemu/NAME.xml`. Raises `InvalidRequest` for another text."""
    # The text after the vCPUs is long (QEMU's capabilities, the whole domain). Skip it, since every sweep reads this for every guest.
    head, found, _ = text.partition("<qemuCaps>")
    root = xmltext.parsed(f"{head}</domstatus>" if found else text, "libvirt's status file", root="domstatus")
    vcpus = {
        xmltext.integer(item, "pid", _WHAT): xmltext.integer(item, "id", _WHAT) for item in root.iterfind("vcpus/vcpu") if item.get("pid")
    }
    return Status(pid=xmltext.integer(root, "pid", "libvirt's status file"), vcpus={tid: index for tid, index in vcpus.items() if tid})


def qmp_vcpus(answer: str) -> dict[int, int]:
    """Thread id -> vCPU in a `query-cpus-fast` answer. Thread ids that several vCPUs share (single-threaded TCG) are left out."""
    found: dict[int, list[int]] = {}
    for item in _returned(answer):
        found.setdefault(int(item["thread-id"]), []).append(int(item["cpu-index"]))
    return {tid: indexes[0] for tid, indexes in found.items() if len(indexes) == 1}


def qmp_iothreads(answer: str) -> dict[int, int]:
    """Thread id -> iothread id in a `query-iothreads` answer. The monitor's own iothread has no id and is left out."""
    found = {}
    for item in _returned(answer):
        match = re.fullmatch(r"iothread([0-9]+)", str(item["id"]))
        if match is not None:
            found[int(item["thread-id"])] = int(match[1])
    return found


def _returned(answer: str) -> list[dict[str, Any]]:
    """The return value of a QMP answer; empty for an error and for no answer."""
    returned: list[dict[str, Any]] = json.loads(answer).get("return", []) if answer else []
    return returned


def row(cpus: CpuSet, size: int) -> tuple[bool, ...]:
    """A CPU set as libvirt-python's pin functions take it: `size` booleans, one per pCPU."""
    return tuple(cpu in cpus for cpu in range(size))


def cpus_of(bools: Iterable[bool]) -> CpuSet:
    """The CPU set of such a row."""
    return CpuSet(cpu for cpu, on in enumerate(bools) if on)


def unverified_threads(vcpus: Sequence[CpuSet], emulator: CpuSet, iothreads: Mapping[int, CpuSet]) -> tuple[ObservedThread, ...]:
    """The threads that a remote hypervisor reports, without thread ids: vCPUs, the emulator, iothreads."""
    found = [
        ObservedThread(tid=0, name=f"vCPU {index}", thread_class=ThreadClass.VCPU, allowed=cpus, vcpu=index)
        for index, cpus in enumerate(vcpus)
    ]
    found.append(ObservedThread(tid=0, name="emulator", thread_class=ThreadClass.EMULATOR, allowed=emulator))
    found += [
        ObservedThread(tid=0, name=f"iothread {index}", thread_class=ThreadClass.IOTHREAD, allowed=cpus)
        for index, cpus in sorted(iothreads.items())
    ]
    return tuple(found)


def classified(
    threads: Iterable[Thread], *, vcpus: Mapping[int, int], iothreads: Mapping[int, int], leaves: Mapping[int, Leaf]
) -> tuple[ObservedThread, ...]:
    """Each thread with its class, in the given order. `vcpus` and `iothreads` map thread ids to indexes, `leaves` to cgroup leaves.

    1. io_uring workers are emulator threads. All other threads that never leave the kernel are vhost or KVM's, by the kernel's name.
    2. A vCPU is known by the thread id from libvirt or QEMU; if there are none, by its leaf; if there is no leaf, by name.
    3. An iothread is known by QEMU's thread id or by its leaf; if neither is known, by name.
    4. A thread context is known by name, if its leaf is the emulator's or none. Its id is unknown once libvirt has removed its object.
    5. All others are emulator threads, also a thread in a vCPU's leaf that is not the vCPU.
    """
    return tuple(_observed(thread, vcpus, iothreads, leaves.get(thread.tid)) for thread in threads)


def _observed(thread: Thread, vcpus: Mapping[int, int], iothreads: Mapping[int, int], leaf: Leaf | None) -> ObservedThread:
    kind, index = _class(thread, vcpus, iothreads, leaf)
    return ObservedThread(
        tid=thread.tid, name=thread.comm, thread_class=kind, allowed=thread.allowed, vcpu=index, scheduler=thread.scheduler
    )


def _class(thread: Thread, vcpus: Mapping[int, int], iothreads: Mapping[int, int], leaf: Leaf | None) -> tuple[ThreadClass, int | None]:
    if thread.io_worker:
        return ThreadClass.EMULATOR, None
    if thread.in_kernel:
        return (ThreadClass.VHOST if thread.comm.startswith("vhost-") else ThreadClass.KTHREAD), None
    index = vcpus.get(thread.tid)
    if index is None and not vcpus:
        named = _VCPU_NAME.match(thread.comm) if leaf is None else None
        index = leaf.index if leaf is not None and leaf.kind == "vcpu" else int(named[1]) if named else None
    if index is not None:
        return ThreadClass.VCPU, index
    by_name = leaf is None and not iothreads and _IOTHREAD_NAME.match(thread.comm) is not None
    if thread.tid in iothreads or (leaf is not None and leaf.kind == "iothread") or by_name:
        return ThreadClass.IOTHREAD, None
    if _CONTEXT_NAME.match(thread.comm) and (leaf is None or leaf.kind == "emulator"):
        return ThreadClass.THREAD_CONTEXT, None
    return ThreadClass.EMULATOR, None


def _pins(items: Iterable[Element], attribute: str, most: int) -> tuple[tuple[int, CpuSet], ...]:
    pins = ((xmltext.integer(item, attribute, _WHAT, most=most), xmltext.cpus(item, "cpuset", _WHAT)) for item in items)
    return tuple(sorted(pins, key=lambda pin: pin[0]))


def _huge_sizes(domain: Element, pages: HostPages) -> dict[int | None, int]:
    """Guest cell -> huge page in KiB. The key None stands for all cells not named. Empty without huge pages."""
    element = domain.find("memoryBacking/hugepages")
    if element is None:
        return {}
    sizes: dict[int | None, int] = {}
    for page in xmltext.children(element, "page", MAX_GUEST_CELLS, _WHAT):
        size = xmltext.kib(xmltext.integer(page, "size", _WHAT), page.get("unit"), _WHAT)
        if not 1 <= size <= MAX_PAGE_KIB:
            raise InvalidRequest(f"{_WHAT} has huge pages of {size} KiB, 1 to {MAX_PAGE_KIB} are allowed", key=_WHAT)
        for cell in xmltext.cells(page, "nodeset", MAX_GUEST_CELLS - 1, _WHAT) if page.get("nodeset") else (None,):
            sizes[cell] = size
    return sizes or {None: pages.default_huge_kib}


def _guest_cells(domain: Element) -> list[tuple[int, int]]:
    """`(guest cell, KiB)` for each cell. A guest without cells counts as one cell 0."""
    cells = xmltext.children(domain, "cpu/numa/cell", MAX_GUEST_CELLS, _WHAT)
    if cells:
        return [
            (
                xmltext.integer(cell, "id", _WHAT, default=place, most=MAX_GUEST_CELLS - 1),
                _amount_kib(xmltext.integer(cell, "memory", _WHAT), cell.get("unit")),
            )
            for place, cell in enumerate(cells)
        ]
    whole = domain.find("memory")
    return [(0, 0 if whole is None else _amount_kib(xmltext.text_integer(whole, _WHAT), whole.get("unit")))]


def _amount_kib(amount: int, unit: str | None) -> int:
    kib = xmltext.kib(amount, unit, _WHAT)
    if kib > MAX_AMOUNT * 1024:
        raise InvalidRequest(f"{_WHAT} has {kib} KiB of memory, at most {MAX_AMOUNT} MiB are allowed", key=_WHAT)
    return kib


def _host_cells(domain: Element, cell: int, pages: HostPages) -> tuple[int, ...]:
    for node in xmltext.children(domain, "numatune/memnode", MAX_GUEST_CELLS, _WHAT):
        if xmltext.integer(node, "cellid", _WHAT) == cell and node.get("nodeset"):
            return tuple(xmltext.cells(node, "nodeset", MAX_CELL, _WHAT)) or pages.cells
    whole = domain.find("numatune/memory")
    if whole is not None and whole.get("nodeset"):
        return tuple(xmltext.cells(whole, "nodeset", MAX_CELL, _WHAT)) or pages.cells
    return pages.cells

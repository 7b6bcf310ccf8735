"""Read domain XML and libvirt's status file: a guest's definition, and the threads of its vCPUs. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Final
from xml.etree.ElementTree import Element

from msgspec import Struct, field
from msgspec.structs import replace

from pinfold.core.bounds import MAX_AMOUNT, MAX_CELL, MAX_CPU, MAX_GUEST_CELLS, MAX_IOTHREADS, MAX_PAGE_KIB
from pinfold.core.cpuset import CpuSet
from pinfold.core.errors import InvalidRequest
from pinfold.core.host import ForeignMemory
from pinfold.core.identity import GuestId
from pinfold.core.overhead import ObservedThread, ThreadClass
from pinfold.drivers.libvirt import metadata, template, xmltext
from pinfold.drivers.port import DefinedPins, GuestState, HostGuest, Record

_WHAT: Final = "domain XML"
# virDomainState and virDomainShutoffReason, libvirt's ABI. States that are not listed here count as running.
_STATES: Final = {3: GuestState.PAUSED, 7: GuestState.PAUSED, 5: GuestState.STOPPED, 6: GuestState.CRASHED}
_SHUT_OFF, _BY_A_CRASH = 5, 3

_MAX_IOTHREAD_ID: Final = 2**32 - 1


class Status(Struct, frozen=True, kw_only=True):
    """The content of libvirt's status file of a running guest: its process, and the thread of each vCPU (tid -> index)."""

    pid: int
    vcpus: Mapping[int, int] = field(default_factory=dict)


class HostPages(Struct, frozen=True, kw_only=True):
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
        id=GuestId(uuid),
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
        ObservedThread(tid=0, name=f"iothread {index}", thread_class=ThreadClass.IOTHREAD, allowed=cpus, iothread=index)
        for index, cpus in sorted(iothreads.items())
    ]
    return tuple(found)


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

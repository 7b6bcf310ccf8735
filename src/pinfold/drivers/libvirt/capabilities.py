"""Parse capabilities XML into a `Topology` and the `Platform` for guests. Pure.

The format is libvirt's formatcaps. It omits offline pCPUs (some releases list only their ids), so the caller passes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Final
from xml.etree.ElementTree import Element

from msgspec import Struct
from msgspec.structs import replace

from pinfold.core.bounds import MAX_AMOUNT, MAX_CELL, MAX_CELLS, MAX_CPU, MAX_PAGE_KIB
from pinfold.core.cpu_model import CpuMode, CpuModel
from pinfold.core.cpuset import CpuSet
from pinfold.core.errors import InvalidRequest, InvariantViolation
from pinfold.core.topology import HostCell, PagePool, Topology, check
from pinfold.drivers.libvirt import xmltext
from pinfold.drivers.libvirt.guest_cpu import HostCpu

_WHAT: Final = "capabilities XML"
_MAX_PAGE_SIZES: Final = 64
_MAX_CACHE_ID: Final = 10**15 - 1


class Platform(Struct, frozen=True, kw_only=True):
    """What the host offers to guests: architecture, kinds of virtualization (`kvm`, `qemu`), emulator, the small page's size,
    and the machines that the emulator has.
    """

    arch: str = "x86_64"
    virt_types: tuple[str, ...] = ("kvm", "qemu")
    emulator: str = ""
    small_page_kib: int = 4
    machines: tuple[str, ...] = ()

    @property
    def best_virt_type(self) -> str:
        """`kvm` if the host has it, else `qemu`."""
        return "kvm" if "kvm" in self.virt_types else "qemu"


class BuildContext(Struct, frozen=True, kw_only=True):
    """What a definition needs beside the spec: the host's platform, the priority of realtime vCPUs, whether it has secure boot, and the
    configured processor with what the host can give. Without a host that was asked, guests get QEMU's default processor.
    """

    platform: Platform
    realtime_priority: int = 1
    secure_boot: bool = False
    cpu: CpuModel = CpuModel(mode=CpuMode.NONE)
    host_cpu: HostCpu = HostCpu()


@lru_cache(maxsize=4)
def topology(text: str, *, offline: CpuSet = CpuSet()) -> Topology:
    """The topology in a capabilities XML. `offline` are the pCPUs that exist but are offline.

    Cells are ordered by id, cores by lowest pCPU, pages by size. Raises `InvalidRequest` for a text that is not libvirt's.
    """
    host = xmltext.parsed(text, _WHAT, root="capabilities")
    caches = _last_level_caches(host)
    cells = [_cell(element, offline, caches) for element in xmltext.children(host, "host/topology/cells/cell", MAX_CELLS, _WHAT)]
    if not cells:
        raise InvalidRequest(f"{_WHAT} has no <host><topology><cells>: this hypervisor does not tell its cells", key=_WHAT)
    ordered = _with_whole_distances(sorted(cells, key=lambda cell: cell.id))
    found = Topology(cells=ordered, offline=offline - Topology(cells=ordered).online)
    try:
        check(found)
    except InvariantViolation as error:
        raise InvalidRequest(f"{_WHAT} contradicts itself: {str(error)[:300]}", key=_WHAT) from error
    return found


def _with_whole_distances(cells: list[HostCell]) -> tuple[HostCell, ...]:
    """The cells with only their distances to each other. A cell with an incomplete list gets none.

    libvirt lists the distance to every NUMA node of the kernel, also to nodes that are no cells because they have neither pCPUs nor memory.
    """
    ids = {cell.id for cell in cells}
    told = [tuple(pair for pair in cell.distances if pair[0] in ids) for cell in cells]
    return tuple(
        replace(cell, distances=pairs if {other for other, _ in pairs} == ids else ()) for cell, pairs in zip(cells, told, strict=True)
    )


def platform(text: str) -> Platform:
    """The platform in a capabilities XML. Raises `InvalidRequest` for a text that is not libvirt's."""
    host = xmltext.parsed(text, _WHAT, root="capabilities")
    arch = host.findtext("host/cpu/arch", default="")
    guest = next((item for item in host.iterfind("guest/arch") if item.get("name") == arch), None)
    sizes = [
        xmltext.kib(xmltext.integer(page, "size", _WHAT), page.get("unit"), _WHAT)
        for page in host.iterfind("host/topology/cells/cell/pages")
    ]
    small = min(sizes, default=4)
    if guest is None:
        return Platform(arch=arch, virt_types=(), small_page_kib=small)
    kinds = tuple(sorted({kind.get("type", "") for kind in guest.iterfind("domain")}))
    machines = tuple(sorted({name for one in guest.iterfind("machine") for name in (one.text or "", one.get("canonical", "")) if name}))
    return Platform(arch=arch, virt_types=kinds, emulator=guest.findtext("emulator", default=""), small_page_kib=small, machines=machines)


def _last_level_caches(host: Element) -> dict[int, int]:
    """The id of the last-level cache of each pCPU for which libvirt lists one. libvirt lists the third level, and others with resctrl."""
    found: dict[int, tuple[int, int]] = {}
    for bank in xmltext.children(host, "host/cache/bank", MAX_CPU + 1, _WHAT):
        if bank.get("type") == "code":
            continue
        level = xmltext.integer(bank, "level", _WHAT)
        number = xmltext.integer(bank, "id", _WHAT, most=_MAX_CACHE_ID)
        for cpu in xmltext.cpus(bank, "cpus", _WHAT):
            found[cpu] = max(found.get(cpu, (0, 0)), (level, number))
    return {cpu: number for cpu, (_, number) in found.items()}


def _cell(element: Element, offline: CpuSet, caches: Mapping[int, int]) -> HostCell:
    cores: dict[CpuSet, int] = {}
    cpus = xmltext.children(element, "cpus/cpu", MAX_CPU + 1, _WHAT)
    listed = CpuSet(xmltext.integer(cpu, "id", _WHAT, most=MAX_CPU) for cpu in cpus) - offline
    for cpu in cpus:
        number = xmltext.integer(cpu, "id", _WHAT)
        if number not in listed or (cpu.get("siblings") is None and cpu.get("socket_id") is None):
            # Some releases list an offline pCPU with its id alone.
            continue
        siblings = (xmltext.cpus(cpu, "siblings", _WHAT) & listed) | CpuSet.of(number)
        cores.setdefault(siblings, xmltext.integer(cpu, "socket_id", _WHAT, default=0))
    ordered = sorted(cores, key=lambda core: core.first)
    return HostCell(
        id=xmltext.integer(element, "id", _WHAT, most=MAX_CELL),
        cores=tuple(ordered),
        sockets=tuple(cores[core] for core in ordered),
        caches=tuple(caches[core.first] for core in ordered) if all(core.first in caches for core in ordered) else (),
        memory_mib=_memory_mib(element),
        pages=_pages(element),
        distances=tuple(
            sorted(
                (xmltext.integer(item, "id", _WHAT), xmltext.integer(item, "value", _WHAT))
                for item in element.iterfind("distances/sibling")
            )
        ),
    )


def _memory_mib(cell: Element) -> int:
    memory = cell.find("memory")
    mib = 0 if memory is None else xmltext.kib(xmltext.text_integer(memory, _WHAT), memory.get("unit"), _WHAT) // 1024
    if mib > MAX_AMOUNT:
        raise InvalidRequest(f"{_WHAT} has a cell of {mib} MiB, at most {MAX_AMOUNT} are allowed", key=_WHAT)
    return mib


def _pages(cell: Element) -> tuple[PagePool, ...]:
    pools = [_page_pool(page) for page in xmltext.children(cell, "pages", _MAX_PAGE_SIZES, _WHAT)]
    return tuple(sorted(pools, key=lambda pool: pool.size_kib))


def _page_pool(page: Element) -> PagePool:
    size_kib = xmltext.kib(xmltext.integer(page, "size", _WHAT), page.get("unit"), _WHAT)
    total = xmltext.text_integer(page, _WHAT)
    if not 1 <= size_kib <= MAX_PAGE_KIB or size_kib * total > MAX_AMOUNT * 1024:
        raise InvalidRequest(
            f"{_WHAT} has {total} pages of {size_kib} KiB; pages of 1 to {MAX_PAGE_KIB} KiB and {MAX_AMOUNT} MiB in all are allowed",
            key=_WHAT,
        )
    return PagePool(size_kib=size_kib, total=total)

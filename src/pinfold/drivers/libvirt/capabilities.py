"""Capabilities XML -> `Topology`, and what the hypervisor can run. Pure; asking libvirt for the XML does not belong here.

The format is libvirt's formatcaps. It leaves out offline pCPUs (some releases list them bare), so these come from elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from xml.etree.ElementTree import Element

from pinfold.core.cpuset import CpuSet
from pinfold.core.errors import InvalidRequest
from pinfold.core.topology import HostCell, PagePool, Topology
from pinfold.drivers.libvirt import xmltext

_WHAT: Final = "capabilities XML"


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """What guests of this host are made of: architecture, kinds of virtualization (`kvm`, `qemu`), emulator, and the small page."""

    arch: str = "x86_64"
    virt_types: tuple[str, ...] = ("kvm", "qemu")
    emulator: str = ""
    small_page_kib: int = 4

    @property
    def best_virt_type(self) -> str:
        """`kvm` where the host has it, else `qemu`."""
        return "kvm" if "kvm" in self.virt_types else "qemu"


def topology(text: str, *, offline: CpuSet = CpuSet()) -> Topology:
    """The host of a capabilities XML; `offline` are the pCPUs that exist but do not run.

    Cells are ordered by id, cores by lowest pCPU, pages by size. Raises `InvalidRequest` for a text that is not libvirt's.
    """
    host = xmltext.parsed(text, _WHAT, root="capabilities")
    cells = [_cell(element, offline) for element in host.findall("host/topology/cells/cell")]
    if not cells:
        raise InvalidRequest(f"{_WHAT} has no <host><topology><cells>: this hypervisor does not tell its cells", key=_WHAT)
    ordered = tuple(sorted(cells, key=lambda cell: cell.id))
    _refuse_repeats(ordered)
    found = Topology(cells=ordered)
    return Topology(cells=ordered, offline=offline - found.online)


def platform(text: str) -> Platform:
    """What guests can be made of. Raises `InvalidRequest` for a text that is not libvirt's."""
    host = xmltext.parsed(text, _WHAT, root="capabilities")
    arch = host.findtext("host/cpu/arch", default="")
    guest = next((item for item in host.iterfind("guest/arch") if item.get("name") == arch), None)
    sizes = [xmltext.integer(page, "size", _WHAT) for page in host.iterfind("host/topology/cells/cell/pages")]
    small = min(sizes, default=4)
    if guest is None:
        return Platform(arch=arch, virt_types=(), small_page_kib=small)
    kinds = tuple(sorted({kind.get("type", "") for kind in guest.iterfind("domain")}))
    return Platform(arch=arch, virt_types=kinds, emulator=guest.findtext("emulator", default=""), small_page_kib=small)


def _cell(element: Element, offline: CpuSet) -> HostCell:
    cores: dict[CpuSet, int] = {}
    listed = CpuSet(xmltext.integer(cpu, "id", _WHAT) for cpu in element.iterfind("cpus/cpu")) - offline
    for cpu in element.iterfind("cpus/cpu"):
        number = xmltext.integer(cpu, "id", _WHAT)
        if number not in listed or (cpu.get("siblings") is None and cpu.get("socket_id") is None):
            # Some releases list an offline pCPU with nothing but its id.
            continue
        siblings = (xmltext.cpus(cpu, "siblings", _WHAT) & listed) | CpuSet.of(number)
        cores.setdefault(siblings, xmltext.integer(cpu, "socket_id", _WHAT, default=0))
    ordered = sorted(cores, key=lambda core: core.first)
    return HostCell(
        id=xmltext.integer(element, "id", _WHAT),
        cores=tuple(ordered),
        sockets=tuple(cores[core] for core in ordered),
        memory_mib=_memory_kib(element) // 1024,
        pages=_pages(element),
        distances=tuple(
            sorted(
                (xmltext.integer(item, "id", _WHAT), xmltext.integer(item, "value", _WHAT))
                for item in element.iterfind("distances/sibling")
            )
        ),
    )


def _memory_kib(cell: Element) -> int:
    memory = cell.find("memory")
    return 0 if memory is None else xmltext.kib(xmltext.text_integer(memory, _WHAT), memory.get("unit"), _WHAT)


def _pages(cell: Element) -> tuple[PagePool, ...]:
    pools = [
        PagePool(
            size_kib=xmltext.kib(xmltext.integer(page, "size", _WHAT), page.get("unit"), _WHAT), total=xmltext.text_integer(page, _WHAT)
        )
        for page in cell.iterfind("pages")
    ]
    return tuple(sorted(pools, key=lambda pool: pool.size_kib))


def _refuse_repeats(cells: tuple[HostCell, ...]) -> None:
    seen = CpuSet()
    for index, cell in enumerate(cells):
        if index and cells[index - 1].id == cell.id:
            raise InvalidRequest(f"{_WHAT} has two cells with the id {cell.id}", key=_WHAT)
        for core in cell.cores:
            if not core.isdisjoint(seen):
                raise InvalidRequest(f"{_WHAT} has pCPU {(core & seen).first} in two cores", key=_WHAT)
            seen |= core

"""Read this machine's topology from sysfs: cells, cores, sockets, caches, memory, huge pages, distances. It needs no hypervisor.

Source: the kernel's ABI of `/sys/devices/system/{cpu,node}`. A kernel without NUMA has no nodes; the machine is then one cell.
"""

from __future__ import annotations

import os
from pathlib import Path

from pinfold.core.cpuset import CpuSet
from pinfold.core.topology import HostCell, PagePool, Topology
from pinfold.linux import procfs, sysfs


def topology(*, sys: Path = sysfs.SYS, proc: Path = procfs.PROC, small_page_kib: int = os.sysconf("SC_PAGE_SIZE") // 1024) -> Topology:
    """The machine as it is now. Raises `Unavailable` if sysfs or procfs cannot be read."""
    online, nodes = sysfs.online(sys=sys), sysfs.nodes(sys=sys)
    huge: dict[int, list[PagePool]] = {}
    for page in sysfs.huge_pages(sys=sys):
        huge.setdefault(page.cell, []).append(PagePool(size_kib=page.size_kib, total=page.total))
    cells = []
    for node in nodes:
        of_node = sysfs.node(node, sys=sys)
        distances = tuple(zip(nodes, of_node.distances, strict=True)) if len(of_node.distances) == len(nodes) else ()
        cells.append(_cell(node, of_node.cpus & online, of_node.memory_kib, tuple(huge.get(node, ())), small_page_kib, sys, distances))
    if not cells:
        cells = [_cell(0, online, procfs.memory_kib(proc=proc), (), small_page_kib, sys, ())]
    return Topology(cells=tuple(cells), offline=sysfs.offline(sys=sys))


def _cell(
    number: int,
    cpus: CpuSet,
    memory_kib: int,
    huge: tuple[PagePool, ...],
    small_page_kib: int,
    sys: Path,
    distances: tuple[tuple[int, int], ...],
) -> HostCell:
    cores: dict[CpuSet, int] = {}
    for cpu in cpus:
        core = sysfs.core(cpu, sys=sys)
        cores.setdefault((core.siblings & cpus) | CpuSet.of(cpu), core.socket)
    ordered = sorted(cores, key=lambda core: core.first)
    small_kib = memory_kib - sum(page.size_kib * page.total for page in huge)
    small = (PagePool(size_kib=small_page_kib, total=small_kib // small_page_kib),) if memory_kib else ()
    caches = [sysfs.last_level_cache(core.first, sys=sys) for core in ordered]
    return HostCell(
        id=number,
        cores=tuple(ordered),
        sockets=tuple(cores[core] for core in ordered),
        caches=() if None in caches else tuple(cache for cache in caches if cache is not None),
        memory_mib=memory_kib // 1024,
        pages=small + huge,
        distances=distances,
    )

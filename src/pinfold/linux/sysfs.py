"""Read the host's pCPUs, cells and huge pages from sysfs, file by file. `topology` puts them together."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pinfold.core.cpuset import CpuSet
from pinfold.core.errors import InvalidRequest, Unavailable

SYS: Final = Path("/sys")

_NODE: Final = re.compile(r"node([0-9]+)\Z")
_HUGE: Final = re.compile(r"hugepages-([0-9]+)kB\Z")
_CACHE: Final = re.compile(r"index([0-9]{1,3})\Z")
_MOST_CACHES: Final = 16
"""More caches than any pCPU has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HugePages:
    """The huge pages of one size in one cell: `total` of them, of which `free` are not in use."""

    cell: int
    size_kib: int
    total: int
    free: int


def online(*, sys: Path = SYS) -> CpuSet:
    """The pCPUs that are online. Raises `Unavailable` when sysfs may not be read."""
    return _cpulist(sys / "devices/system/cpu/online")


def offline(*, sys: Path = SYS) -> CpuSet:
    """The pCPUs that are present but offline. (The kernel's own `offline` file also names pCPUs that are not present.)"""
    return _cpulist(sys / "devices/system/cpu/present") - online(sys=sys)


def isolated(*, sys: Path = SYS) -> CpuSet:
    """The pCPUs that `isolcpus=` excludes from load balancing; empty on kernels that do not report them."""
    path = sys / "devices/system/cpu/isolated"
    return _cpulist(path) if path.exists() else CpuSet()


def huge_pages(*, sys: Path = SYS) -> tuple[HugePages, ...]:
    """The huge pages of every cell, ordered by cell and size; none on a kernel without huge pages.

    Raises `Unavailable` if sysfs may not be read.
    """
    found = []
    for node in _children(sys / "devices/system/node", _NODE):
        for size in _children(sys / f"devices/system/node/node{node}/hugepages", _HUGE):
            folder = sys / f"devices/system/node/node{node}/hugepages/hugepages-{size}kB"
            total, free = int(_text(folder / "nr_hugepages")), int(_text(folder / "free_hugepages"))
            found.append(HugePages(cell=node, size_kib=size, total=total, free=free))
    return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One NUMA node: its pCPUs, its memory, and its distance to every node, in the order of their ids."""

    cpus: CpuSet
    memory_kib: int
    distances: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Core:
    """The core of a pCPU: all its pCPUs, and its socket."""

    siblings: CpuSet
    socket: int


def nodes(*, sys: Path = SYS) -> tuple[int, ...]:
    """The ids of the NUMA nodes, ascending; none on a kernel without NUMA."""
    return tuple(_children(sys / "devices/system/node", _NODE))


def node(number: int, *, sys: Path = SYS) -> Node:
    """One NUMA node. Raises `Unavailable` if sysfs may not be read."""
    folder = sys / f"devices/system/node/node{number}"
    total = re.search(r"MemTotal:\s+([0-9]+) kB", _text(folder / "meminfo"))
    distances = tuple(map(int, _text(folder / "distance").split()))
    return Node(cpus=_cpulist(folder / "cpulist"), memory_kib=int(total[1]) if total else 0, distances=distances)


def core(cpu: int, *, sys: Path = SYS) -> Core:
    """The core of an online pCPU. The kernel writes socket -1 if it does not know it; that counts as 0."""
    folder = sys / f"devices/system/cpu/cpu{cpu}/topology"
    socket = int(_text(folder / "physical_package_id"))
    return Core(siblings=_cpulist(folder / "thread_siblings_list"), socket=0 if socket < 0 else socket)


def last_level_cache(cpu: int, *, sys: Path = SYS) -> int | None:
    """The id of the last-level cache of an online pCPU; None if the host does not tell it, or tells it in a form that is not the kernel's.

    It is the kernel's id if there is one, as in lscpu, else the lowest pCPU of those that share the cache.
    """
    folder = sys / f"devices/system/cpu/cpu{cpu}/cache"
    try:
        found = [(_bounded(folder / f"index{index}/level"), index) for index in _children(folder, _CACHE)[:_MOST_CACHES]]
        if not found:
            return None
        last = folder / f"index{max(found)[1]}"
        if (last / "id").exists():
            return _bounded(last / "id")
        shared = _cpulist(last / "shared_cpu_list")
        return shared.first if cpu in shared else None
    except (InvalidRequest, Unavailable, ValueError):
        return None


def _bounded(path: Path) -> int:
    """The number that a file holds, of at most 15 digits. Raises `ValueError` for anything else."""
    text = _text(path)
    if not (text.isascii() and text.isdigit() and len(text) <= 15):
        raise ValueError(f"{path} holds {text:.60}, a number is expected")
    return int(text)


def _children(folder: Path, pattern: re.Pattern[str]) -> list[int]:
    if not folder.is_dir():
        return []
    return sorted(int(match[1]) for match in map(pattern.match, (entry.name for entry in folder.iterdir())) if match)


def _cpulist(path: Path) -> CpuSet:
    return CpuSet.parse(_text(path))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError as error:
        raise Unavailable(f"{path} cannot be read: {error.strerror}") from error

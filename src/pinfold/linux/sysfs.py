"""Read the host's pCPUs and huge pages from sysfs: online, offline, isolated, free. The topology comes from libvirt."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pinfold.core.cpuset import CpuSet
from pinfold.core.errors import Unavailable

SYS: Final = Path("/sys")

_NODE: Final = re.compile(r"node([0-9]+)\Z")
_HUGE: Final = re.compile(r"hugepages-([0-9]+)kB\Z")


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

"""Read where the memory of a process is, by NUMA node, from `/proc/PID/numa_maps`.

The format is the kernel's (Documentation/filesystems/proc.rst, numa_memory_policy): one line for each area, with its address, its policy
and words such as `anon=5`, `huge`, `file=…`, `N0=3`, `kernelpagesize_kB=4`. Pages are counted by their node, in pages of that size.
"""

from __future__ import annotations

import errno
import re
from pathlib import Path
from typing import Final

from pinfold.core.drift.memory import Area, AreaKind
from pinfold.core.errors import Unavailable
from pinfold.linux.procfs import PROC

_MOST_BYTES: Final = 4 << 20
"""The most bytes that are read. A hypervisor has some hundreds of areas of about 100 bytes each; text beyond is ignored."""
_NODE: Final = re.compile(r"N([0-9]{1,6})=([0-9]{1,18})")
_PAGE: Final = re.compile(r"kernelpagesize_kB=([0-9]{1,9})")
_SHARED: Final = ("file=/memfd:", "file=/dev/zero", "file=/dev/shm/", "file=/var/lib/libvirt/qemu/ram/")
"""Files that hold a guest's memory if its definition asks for shared memory."""


def areas(pid: int, *, proc: Path = PROC) -> tuple[Area, ...]:
    """Every area of process `pid` with pages in memory, by address; none if the process is gone or the kernel has no NUMA.

    Raises `Unavailable` if procfs may not be read.
    """
    try:
        with open(f"{proc}/{pid}/numa_maps", "rb") as file:
            text = file.read(_MOST_BYTES)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ESRCH):
            return ()
        raise Unavailable(f"{proc}/{pid}/numa_maps cannot be read: {error.strerror}") from error
    lines = text[: text.rfind(b"\n") + 1].decode("ascii", errors="replace").splitlines()
    return tuple(area for area in map(_area, lines) if area is not None)


def _area(line: str) -> Area | None:
    """Parse one line; None for an area without pages, and for a line of another form."""
    words = line.split()[2:]
    pages = tuple((int(found[1]), int(found[2])) for found in map(_NODE.fullmatch, words) if found)
    size = next((int(found[1]) for found in map(_PAGE.fullmatch, words) if found), 0)
    return Area(kind=_kind(words), page_kib=size, pages=pages) if pages and size else None


def _kind(words: list[str]) -> AreaKind:
    if "huge" in words:
        return AreaKind.HUGE
    file = next((word for word in words if word.startswith("file=")), "")
    if "heap" in words or "stack" in words or (file and not file.startswith(_SHARED)):
        return AreaKind.OTHER
    return AreaKind.PLAIN

"""Read what the kernel allows a process: realtime scheduling, locked memory and huge pages."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pinfold.core.errors import Unavailable
from pinfold.linux.mount_namespace import seen_by
from pinfold.linux.procfs import PROC

_CAP_SYS_NICE: Final = 23
_CAP_SYS_RESOURCE: Final = 24
_UNITS: Final = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


@dataclass(frozen=True, slots=True, kw_only=True)
class Grants:
    """What one process may do, and its children too.

    `sys_nice` and `sys_resource` are its capabilities of those names. `rtprio` is its limit of realtime priority, `memlock_kib` its hard
    limit of locked memory, None for none (getrlimit(2), capabilities(7)).
    """

    process: str
    pid: int
    sys_nice: bool
    sys_resource: bool
    rtprio: int
    memlock_kib: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class HugePageMount:
    """A mounted hugetlbfs. `size_kib` is None if the mount names no size; then it has the kernel's default size.

    `found` says whether the hypervisor found it when it started, None if that is not known.
    """

    path: str
    size_kib: int | None
    found: bool | None = None


def grants(pid: int, *, proc: Path = PROC) -> Grants | None:
    """What process `pid` may do; None if it is gone. Raises `Unavailable` if procfs may not be read."""
    try:
        status = (proc / str(pid) / "status").read_text(encoding="utf-8", errors="replace")
        limits = (proc / str(pid) / "limits").read_text(encoding="ascii")
    except (FileNotFoundError, ProcessLookupError):
        return None
    except OSError as error:
        raise Unavailable(f"{proc}/{pid} cannot be read: {error.strerror}") from error
    effective = int(_field(status, r"CapEff:\s+([0-9a-f]+)", f"{proc}/{pid}/status"), 16)
    memlock = _field(limits, r"Max locked memory\s+\S+\s+(\S+)", f"{proc}/{pid}/limits")
    rtprio = _field(limits, r"Max realtime priority\s+(\S+)", f"{proc}/{pid}/limits")
    return Grants(
        process=_field(status, r"Name:\s+(.*)", f"{proc}/{pid}/status"),
        pid=pid,
        sys_nice=bool(effective >> _CAP_SYS_NICE & 1),
        sys_resource=bool(effective >> _CAP_SYS_RESOURCE & 1),
        rtprio=99 if rtprio == "unlimited" else int(rtprio),
        memlock_kib=None if memlock == "unlimited" else int(memlock) >> 10,
    )


def realtime_groups(*, proc: Path = PROC, root: Path = Path("/")) -> str:
    """Where cgroup v1 divides the share of realtime threads among its groups, and gives each new one none (CONFIG_RT_GROUP_SCHED).

    '' if it does not. `root` is a prefix of mount points. Raises `Unavailable` if procfs may not be read.
    """
    groups = ""
    for mount_point, kind, options in _mounts(proc):
        if kind == "cgroup" and "cpu" in options and (root / mount_point.lstrip("/") / "cpu.rt_runtime_us").exists():
            groups = mount_point
    return groups


def huge_page_mounts(pid: int | None = None, mark: str = "", *, proc: Path = PROC) -> tuple[HugePageMount, ...]:
    """Every mounted hugetlbfs that process `pid` sees, in the order of the mounts; those of this process where that may not be read.

    A mount is `found` if it holds the folder `mark`, and if that may be seen. Raises `Unavailable` when procfs may not be read.
    """
    try:
        mounts = _mounts(proc, "self" if pid is None else str(pid))
    except Unavailable:
        mounts, pid = _mounts(proc), None
    found = []
    for mount_point, kind, options in mounts:
        if kind == "hugetlbfs":
            sizes = [match for option in options if (match := re.fullmatch(r"pagesize=(\d+)([KMG]?)", option))]
            size = int(sizes[0][1]) * _UNITS[sizes[0][2]] >> 10 if sizes else None
            marked = None if pid is None else _is_there(seen_by(pid, f"{mount_point}/{mark}", proc=proc))
            found.append(HugePageMount(path=mount_point, size_kib=size, found=marked))
    return tuple(found)


def _is_there(path: Path) -> bool | None:
    """Whether the path exists; None if that may not be seen."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return None
    return True


def _mounts(proc: Path, process: str = "self") -> list[tuple[str, str, list[str]]]:
    """`(mount point, kind, options)` of every mount of a process."""
    rows = (line.split() for line in _text(proc / process / "mounts").splitlines())
    return [(row[1], row[2], row[3].split(",")) for row in rows]


def _field(text: str, pattern: str, path: str) -> str:
    match = re.search(rf"^{pattern}", text, re.MULTILINE)
    if match is None:
        raise Unavailable(f"{path} does not say {pattern.partition(':')[0]}")
    return match[1].strip()


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise Unavailable(f"{path} cannot be read: {error.strerror}") from error

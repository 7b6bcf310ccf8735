"""Read the cpuset cgroups of this host: the version, a thread's leaf, the pCPUs of a slice."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

from pinfold.core.cpuset import CpuSet
from pinfold.core.errors import Unavailable
from pinfold.linux import procfs

_LEAF: Final = re.compile(r"(emulator|vcpu|iothread)([0-9]*)\Z")


class CgroupVersion(Enum):
    """The kind of hierarchy that has the cpuset controller."""

    V1 = "cgroup v1"
    V2 = "cgroup v2"
    NONE = "no cpuset cgroup"


@dataclass(frozen=True, slots=True, kw_only=True)
class CpusetHierarchy:
    """Where the cpuset controller is mounted; `root` is empty for NONE."""

    version: CgroupVersion
    root: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """The innermost cgroup that libvirt gave a thread: `emulator`, `vcpu` or `iothread`, with the index of the last two."""

    kind: str
    index: int | None = None


def cpuset_hierarchy(*, proc: Path = procfs.PROC, root: Path = Path("/")) -> CpusetHierarchy:
    """The mounted hierarchy that has the cpuset controller, version 1 before version 2 where a host mounts both.

    `root` is a prefix of the mount points, for recorded hosts. Raises `Unavailable` if procfs may not be read.
    """
    return _hierarchy("cpuset", proc, root)


def has_cpu_controller(*, proc: Path = procfs.PROC, root: Path = Path("/")) -> bool:
    """Whether a mounted hierarchy has the cpu controller, which weighs and limits CPU time. Raises `Unavailable`."""
    return _hierarchy("cpu", proc, root).version is not CgroupVersion.NONE


def _hierarchy(controller: str, proc: Path, root: Path) -> CpusetHierarchy:
    unified = ""
    try:
        mounts = (proc / "self" / "mounts").read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise Unavailable(f"{proc}/self/mounts cannot be read: {error.strerror}") from error
    for line in mounts.splitlines():
        _, mount_point, kind, options = line.split()[:4]
        if kind == "cgroup" and controller in options.split(","):
            return CpusetHierarchy(version=CgroupVersion.V1, root=mount_point)
        if kind == "cgroup2" and controller in _words(_below(root, mount_point) / "cgroup.controllers"):
            unified = mount_point
    if unified:
        return CpusetHierarchy(version=CgroupVersion.V2, root=unified)
    return CpusetHierarchy(version=CgroupVersion.NONE)


def leaf(pid: int, tid: int, *, proc: Path = procfs.PROC) -> Leaf | None:
    """The leaf of the cpuset hierarchy that thread `tid` of process `pid` sits in; None where libvirt made none, or the thread is gone.

    A kernel thread that serves the process may be a process of its own; its leaf counts where it lies beside the process's.
    """
    return leaf_of_path(paths(pid, (tid,), proc=proc)[0])


def paths(pid: int, tids: Sequence[int], *, proc: Path = procfs.PROC) -> tuple[str, ...]:
    """The cgroups in which `leaf` looks for the leaves of those threads, in their order."""
    found = procfs.cpuset_paths(pid, tids, proc=proc)
    for tid in (tid for tid, path in found.items() if not path):
        path, main = procfs.cpuset_path(tid, proc=proc), found.get(pid) or procfs.cpuset_path(pid, proc=proc)
        found[tid] = path if procfs.is_one_scope(main, path) else ""
    return tuple(found[tid] for tid in tids)


def leaf_of_path(path: str) -> Leaf | None:
    """The leaf at the end of a cgroup path; None if it is not one of libvirt's.

    >>> leaf_of_path("/machine.slice/machine-qemu.scope/libvirt/vcpu3")
    Leaf(kind='vcpu', index=3)
    >>> leaf_of_path("/machine/qemu-1-web.libvirt-qemu/emulator"), leaf_of_path("/user.slice")
    (Leaf(kind='emulator', index=None), None)
    """
    match = _LEAF.match(path.rpartition("/")[2])
    if match is None or (match[1] == "emulator") != (match[2] == ""):
        return None
    return Leaf(kind=match[1], index=int(match[2]) if match[2] else None)


def tasks_file(pid: int, *, proc: Path = procfs.PROC) -> str:
    """The tasks file of the cpuset cgroup of a process's main thread."""
    hierarchy = cpuset_hierarchy(proc=proc)
    name = "tasks" if hierarchy.version is CgroupVersion.V1 else "cgroup.threads"
    return str(Path(hierarchy.root) / procfs.cpuset_path(pid, pid, proc=proc).lstrip("/") / name)


def machine_cpus(*, proc: Path = procfs.PROC, root: Path = Path("/")) -> CpuSet | None:
    """All pCPUs that guests may use: the effective cpuset of `machine.slice`.

    Without systemd it is that of `machine`, without either that of the root; None if no cpuset hierarchy is mounted.
    Raises `Unavailable` if procfs may not be read.
    """
    hierarchy = cpuset_hierarchy(proc=proc, root=root)
    if hierarchy.version is CgroupVersion.NONE:
        return None
    top = _below(root, hierarchy.root)
    for folder in (top / "machine.slice", top / "machine", top):
        for name in ("cpuset.cpus.effective", "cpuset.effective_cpus", "cpuset.cpus"):
            words = _words(folder / name)
            if words:
                return CpuSet.parse(words[0])
    return None


def _below(root: Path, mount_point: str) -> Path:
    return root / mount_point.lstrip("/")


def _words(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii").split()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise Unavailable(f"{path} cannot be read: {error.strerror}") from error

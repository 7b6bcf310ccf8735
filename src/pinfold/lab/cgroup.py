"""Create and remove a lab's own cgroup in every hierarchy, so that two libvirtds do not share `/machine`. libvirt owns what is below."""

from __future__ import annotations

import errno
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from pinfold.lab import namespace

_LEAF: Final = "daemons"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hierarchy:
    """One mounted cgroup hierarchy: mount point, `version` 1 or 2, and controllers (for version 2, those available at the mount point).

    `elsewhere` are other mount points of the same tree, such as the `/sys` of a chroot.
    """

    mount: Path
    elsewhere: tuple[Path, ...] = ()
    version: int
    controllers: frozenset[str]


def hierarchies(mountinfo: str | None = None) -> tuple[Hierarchy, ...]:
    """The cgroup hierarchies in the order of `/proc/self/mountinfo` (proc(5)). Tests may give another text.

    >>> hierarchies("30 25 0:26 / /cg/cpuset rw,relatime - cgroup cgroup rw,cpuset")
    (Hierarchy(mount=PosixPath('/cg/cpuset'), elsewhere=(), version=1, controllers=frozenset({'cpuset'})),)
    """
    found: dict[tuple[str, str], Hierarchy] = {}
    for line in (Path("/proc/self/mountinfo").read_text() if mountinfo is None else mountinfo).splitlines():
        before, _, after = line.partition(" - ")
        _, _, device, top, point = before.split()[:5]
        where, tree = Path(point), (device, top)
        kind, _, options = after.split()[:3]
        if tree in found:
            found[tree] = replace(found[tree], elsewhere=(*found[tree].elsewhere, where))
        elif kind == "cgroup":
            names = frozenset(options.split(",")) - {"rw", "ro", "xattr", "noprefix", "clone_children"}
            found[tree] = Hierarchy(mount=where, version=1, controllers=names)
        elif kind == "cgroup2":
            try:
                offered = (where / "cgroup.controllers").read_text().split()
            except FileNotFoundError:
                offered = []
            found[tree] = Hierarchy(mount=where, version=2, controllers=frozenset(offered))
    return tuple(found.values())


def version(found: tuple[Hierarchy, ...]) -> str:
    """The version of the hierarchy with the cpuset controller on this machine: `v1`, `v2`, or `none`."""
    return next((f"v{hierarchy.version}" for hierarchy in found if "cpuset" in hierarchy.controllers), "none")


def create(found: tuple[Hierarchy, ...], group: str) -> None:
    """Create `group` below every mount point, with all CPUs and all controllers. Raises `OSError` if that is not allowed."""
    for hierarchy in found:
        path = hierarchy.mount / group
        if hierarchy.version == 2:
            _offer(hierarchy.mount, hierarchy.controllers)
            (path / _LEAF).mkdir(parents=True)
        else:
            path.mkdir()
        if hierarchy.version == 1 and "cpuset" in hierarchy.controllers:
            for name in ("cpuset.cpus", "cpuset.mems"):
                (path / name).write_text((hierarchy.mount / name).read_text())


def become_root(found: tuple[Hierarchy, ...], group: str) -> None:
    """Give this process a cgroup namespace whose root is `group`.

    Version 2 allows no process in a group that passes controllers to its children, so the process moves into a leaf.
    """
    for hierarchy in found:
        _enter(hierarchy.mount / group)
    namespace.unshare(namespace.CLONE_NEWCGROUP)
    join(found, group)
    for hierarchy in found:
        if hierarchy.version == 2:
            _offer(hierarchy.mount / group, hierarchy.controllers)


def join(found: tuple[Hierarchy, ...], group: str) -> None:
    """Move this process into `group`, or into its leaf in version 2."""
    for hierarchy in found:
        path = hierarchy.mount / group
        _enter(path / _LEAF if hierarchy.version == 2 else path)


def members(group: str) -> set[int]:
    """The processes in `group` and below, over all hierarchies; none if the group does not exist."""
    found: set[int] = set()
    for hierarchy in hierarchies() if group else ():
        for path, _, _ in os.walk(hierarchy.mount / group):
            try:
                found |= {int(pid) for pid in (Path(path) / "cgroup.procs").read_text().split()}
            except OSError as error:
                # The group is gone, or it is a threaded group of version 2, whose processes are listed in its parent.
                if error.errno not in (errno.ENOENT, errno.ENODEV, errno.EOPNOTSUPP):
                    raise
    return found - {0}


def remove(group: str, *, patience_seconds: float = 30.0) -> None:
    """Remove `group` and all below it from every hierarchy. Its processes must have ended. Raises `OSError` if it cannot be removed."""
    deadline = time.monotonic() + patience_seconds
    for hierarchy in hierarchies():
        for path, _, _ in os.walk(hierarchy.mount / group, topdown=False):
            while True:
                try:
                    os.rmdir(path)
                    break
                except FileNotFoundError:
                    break
                except OSError:
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.02)


def _enter(path: Path) -> None:
    (path / "cgroup.procs").write_text(str(os.getpid()))


def _offer(path: Path, controllers: frozenset[str]) -> None:
    enabled = (path / "cgroup.subtree_control").read_text().split()
    for name in sorted(controllers - set(enabled)):
        (path / "cgroup.subtree_control").write_text(f"+{name}")

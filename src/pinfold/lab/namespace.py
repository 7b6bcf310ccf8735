"""Linux calls that Python lacks: mount namespaces, mounts, process options."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import Final

from pinfold.core.errors import Unavailable

CLONE_NEWNS: Final = 0x00020000
CLONE_NEWCGROUP: Final = 0x02000000

_MS_RDONLY: Final = 0x1
_MS_REMOUNT: Final = 0x20
_MS_BIND: Final = 0x1000
_MS_REC: Final = 0x4000
_MS_PRIVATE: Final = 0x40000
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36

_libc = ctypes.CDLL(None, use_errno=True)


def unshare(flags: int) -> None:
    """Give this process namespaces of its own. Raises `OSError` (EPERM without CAP_SYS_ADMIN)."""
    _check(_libc.unshare(flags), "a namespace of one's own")


def private_mounts() -> None:
    """Give this process a mount namespace whose mounts nobody else sees. Raises `Unavailable` in a chroot that is no mount point."""
    unshare(CLONE_NEWNS)
    if not any(line.split()[4] == "/" for line in Path("/proc/self/mountinfo").read_text().splitlines()):
        raise Unavailable("the root of this chroot is no mount point; from outside it, `mount --bind ROOT ROOT` makes it one")
    _check(_libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None), "/ made private")


def bind(source: Path, target: Path) -> None:
    """Show `source` at `target`, which must exist."""
    _check(_libc.mount(bytes(source), bytes(target), None, _MS_BIND | _MS_REC, None), f"{source} bound to {target}")


def make_read_only(target: Path) -> None:
    """Make the bind mount at `target` read-only."""
    _check(_libc.mount(None, bytes(target), None, _MS_REMOUNT | _MS_BIND | _MS_RDONLY, None), f"{target} made read-only")


def mount(filesystem: str, target: Path, options: str = "") -> None:
    """Mount a new file system of that type at `target`."""
    _check(_libc.mount(filesystem.encode(), bytes(target), filesystem.encode(), 0, options.encode() or None), f"{filesystem} on {target}")


def adopt_orphans() -> None:
    """Let orphaned descendants become children of this process, so that it can reap them at once."""
    _check(_libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "PR_SET_CHILD_SUBREAPER")


def die_with_parent(signal: int) -> None:
    """Let the kernel send `signal` to this process when the thread that made it ends."""
    _check(_libc.prctl(_PR_SET_PDEATHSIG, signal, 0, 0, 0), "PR_SET_PDEATHSIG")


def enter(fd: int, kind: int) -> None:
    """Enter the namespace of that kind (`CLONE_NEWNS`, `CLONE_NEWCGROUP`) that `fd` refers to."""
    _check(_libc.setns(fd, kind), "entering a namespace")


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")

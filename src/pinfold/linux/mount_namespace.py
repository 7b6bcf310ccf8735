"""What a path means to another process: where it leads, whether that is the same file as here, and a file's content.

Sources: mount_namespaces(7), and proc(5) about `/proc/PID/root` and `/proc/PID/ns/mnt`.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from pinfold.linux.procfs import PROC


def leads_to_the_same(pid: int, path: str, *, proc: Path = PROC) -> bool:
    """Whether the absolute `path` is the same file to process `pid` as to this process; False where that cannot be seen.

    libvirt gives QEMU a mount namespace for its devices alone, so another namespace does not mean another file.
    """
    try:
        if os.readlink(proc / str(pid) / "ns/mnt") == os.readlink(proc / "self/ns/mnt"):
            return True
        return os.path.samestat(os.stat(seen_by(pid, path, proc=proc)), os.stat(path))
    except OSError:
        return False


def content(pid: int, path: str, *, most_bytes: int, proc: Path = PROC) -> bytes:
    """The content of the regular file that process `pid` sees at the absolute `path`; empty without one, or where it is larger."""
    try:
        fd = os.open(seen_by(pid, path, proc=proc), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return b""
    with os.fdopen(fd, "rb") as stream:
        data = stream.read(most_bytes + 1) if stat.S_ISREG(os.fstat(fd).st_mode) else b""
    return data if len(data) <= most_bytes else b""


def seen_by(pid: int, path: str, *, proc: Path = PROC) -> Path:
    """Where this process finds what process `pid` sees at the absolute `path`.

    >>> seen_by(7, "/run/libvirt").relative_to(PROC).parts
    ('7', 'root', 'run', 'libvirt')
    """
    return proc / str(pid) / "root" / path.lstrip("/")

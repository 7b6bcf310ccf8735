"""Open and empty folders by file descriptor, without following links or crossing mount points."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path
from typing import Final

from pinfold.core.errors import Conflict

_MAX_DEPTH: Final = 100
_NO_FOLDER: Final = (errno.ENOTDIR, errno.ELOOP)
"""Linux's errors for O_DIRECTORY | O_NOFOLLOW on a file and on a link."""


def open_folder(name: str | Path, *, inside: int | None = None) -> int:
    """A file descriptor of a folder, by path or by name inside another. Raises `NotADirectoryError` for anything else, links included."""
    try:
        return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=inside)
    except OSError as error:
        if error.errno in _NO_FOLDER:
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(name)) from error
        raise


def mount_of(fd: int) -> int:
    """The id of the mount that `fd` was opened on (proc(5), fdinfo). It differs for a bind mount of the same file system too."""
    lines = Path(f"/proc/self/fdinfo/{fd}").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("mnt_id:")))


def path_of(fd: int) -> Path:
    """The current path of the folder behind `fd`."""
    return Path(os.readlink(f"/proc/self/fd/{fd}"))


def mount_points(fd: int) -> tuple[Path, ...]:
    """The mount points at or inside the folder behind `fd`, in the order of `/proc/self/mountinfo`."""
    top = path_of(fd)
    points = (Path(_unescaped(line.split()[4])) for line in Path("/proc/self/mountinfo").read_text().splitlines())
    return tuple(point for point in points if point == top or top in point.parents)


def empty(fd: int, *, last: tuple[str, ...] = (), depth: int = 0) -> None:
    """Remove everything in the folder behind `fd`; the names in `last` come last, in that order.

    Links are removed, not followed. Raises `Conflict` at a mount point, which stays. Others may remove files at the same time.
    """
    if depth > _MAX_DEPTH:
        raise Conflict(f"{path_of(fd)} is more than {_MAX_DEPTH} folders deep; remove it yourself")
    found = os.listdir(fd)
    for name in [*(name for name in found if name not in last), *(name for name in last if name in found)]:
        try:
            _remove(fd, name, depth)
        except FileNotFoundError:
            continue
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            raise Conflict(f"{path_of(fd) / name} is a mount point; unmount it") from error


def _remove(fd: int, name: str, depth: int) -> None:
    try:
        inner = open_folder(name, inside=fd)
    except NotADirectoryError:
        os.unlink(name, dir_fd=fd)
        return
    try:
        if mount_of(inner) != mount_of(fd):
            raise Conflict(f"{path_of(fd) / name} is a mount point; unmount it")
        empty(inner, depth=depth + 1)
    finally:
        os.close(inner)
    os.rmdir(name, dir_fd=fd)


def _unescaped(text: str) -> str:
    r"""Decode a path of mountinfo, which writes blanks, tabs, newlines and backslashes in octal."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)

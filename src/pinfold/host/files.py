"""Create, read and delete files in pinfold's own folders when their names come from outside. They can never leave the folder.

A name is one path component, and the folder is held open while it is used, so neither `..` nor a link leads elsewhere.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

from pinfold.core.errors import InvalidRequest

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._ @+-]{0,199}", re.ASCII)


def inside(folder: Path, name: str) -> Path:
    """The path of the file with that name; it may not exist. Raises `InvalidRequest` for a name that leaves the folder or is hidden."""
    if not _NAME.fullmatch(name):
        raise InvalidRequest(
            f"{name[:64]!r} is not allowed as a file's name in {folder}; letters, digits, blanks and ._@+- are, a letter or digit first",
            key="name",
        )
    return folder / name


def remove(folder: Path, name: str) -> None:
    """Delete the file with that name; a link itself is deleted, and a missing file is no error. Raises `InvalidRequest` as `inside`."""
    inside(folder, name)
    with suppress(FileNotFoundError), _opened(folder) as handle:
        os.unlink(name, dir_fd=handle)


def names(folder: Path) -> tuple[str, ...]:
    """The names in the folder, ascending; none if there is no folder."""
    try:
        return tuple(sorted(os.listdir(folder)))
    except FileNotFoundError:
        return ()


def tail(folder: Path, name: str, most_bytes: int) -> bytes | None:
    """The last bytes of the file with that name, None if there is none. Raises `InvalidRequest` as `inside`, and for a link."""
    handle = _open_regular(folder, name, os.O_RDONLY)
    if handle is None:
        return None
    with open(handle, "rb") as stream:
        stream.seek(max(0, os.fstat(handle).st_size - most_bytes))
        return stream.read(most_bytes)


def empty(folder: Path, name: str) -> None:
    """Cut the file with that name to nothing; a missing one is no error. Raises `InvalidRequest` as `tail`."""
    handle = _open_regular(folder, name, os.O_WRONLY)
    if handle is not None:
        try:
            os.ftruncate(handle, 0)
        finally:
            os.close(handle)


def _open_regular(folder: Path, name: str, flags: int) -> int | None:
    """The open file, None if there is none. What is no regular file is refused, and a pipe is not waited for."""
    inside(folder, name)
    try:
        with _opened(folder) as directory:
            handle = os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InvalidRequest(f"{folder / name} cannot be opened: {error.strerror}", key=name) from error
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise InvalidRequest(f"{folder / name} is no regular file", key=name)
    return handle


@contextmanager
def written(folder: Path, name: str, *, check: Callable[[Path], None] = lambda _: None, mode: int = 0o644) -> Iterator[BinaryIO]:
    """A stream into a new file of that mode.

    The file appears under its name, complete, when the block and then `check` of its path succeed. It is flushed to the disk before that,
    and its name after it, so that a power cut leaves the file before or the whole new one.

    It replaces an existing file or link of that name. Raises `InvalidRequest` as `inside`.
    """
    inside(folder, name)
    part = f".{name}.part"
    with _opened(folder) as handle:
        with suppress(FileNotFoundError):
            os.unlink(part, dir_fd=handle)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            with open(os.open(part, flags, mode, dir_fd=handle), "wb") as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            check(folder / part)
            os.replace(part, name, src_dir_fd=handle, dst_dir_fd=handle)
            os.fsync(handle)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(part, dir_fd=handle)


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield handle
    finally:
        os.close(handle)

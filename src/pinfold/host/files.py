"""Files in one of pinfold's own folders whose names are made of something that came from outside: they are made and deleted there alone.

A name is one component, and the folder is held open while it is used: neither `..` nor a link leads anywhere else. What a file means does
not belong here.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

from pinfold.core.errors import InvalidRequest

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._ @+-]{0,199}", re.ASCII)


def inside(folder: Path, name: str) -> Path:
    """Where the file of that name lies, made or not. Raises `InvalidRequest` for a name that could be another folder's, or hidden."""
    if not _NAME.fullmatch(name):
        raise InvalidRequest(
            f"{name[:64]!r} is not allowed as a file's name in {folder}; letters, digits, blanks and ._@+- are, a letter or digit first",
            key="name",
        )
    return folder / name


def remove(folder: Path, name: str) -> None:
    """Delete the file of that name; none is no error, and of a link the link is deleted. Raises `InvalidRequest` as `inside`."""
    inside(folder, name)
    with suppress(FileNotFoundError), _opened(folder) as handle:
        os.unlink(name, dir_fd=handle)


def names(folder: Path) -> tuple[str, ...]:
    """The names in the folder, ascending; none where there is no folder."""
    try:
        return tuple(sorted(os.listdir(folder)))
    except FileNotFoundError:
        return ()


@contextmanager
def written(folder: Path, name: str, *, check: Callable[[Path], None] = lambda _: None) -> Iterator[BinaryIO]:
    """A stream into a new file of that name, which is there, whole, when the block ends well and `check` of its path raised nothing.

    What had the name before is replaced, a link included. Raises `InvalidRequest` as `inside`.
    """
    inside(folder, name)
    part = f".{name}.part"
    with _opened(folder) as handle:
        with suppress(FileNotFoundError):
            os.unlink(part, dir_fd=handle)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            with open(os.open(part, flags, 0o644, dir_fd=handle), "wb") as stream:
                yield stream
            check(folder / part)
            os.replace(part, name, src_dir_fd=handle, dst_dir_fd=handle)
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

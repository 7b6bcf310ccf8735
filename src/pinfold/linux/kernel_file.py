"""`KernelFile`: one small file of procfs or sysfs as it was read, or why it cannot be seen. What it means is judged elsewhere."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from msgspec import Struct

_MOST_BYTES: Final = 64 * 1024
_WRITABLE: Final = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH


class KernelFile(Struct, frozen=True, kw_only=True):
    """A file by its path: its text without white space around it, or in `problem` why it cannot be seen.

    `fixed` means that the kernel lets nobody write it.
    """

    path: str
    text: str = ""
    problem: str = ""
    fixed: bool = False


def read(path: Path) -> KernelFile:
    """The file at `path`, at most its first 64 KiB. A file that cannot be read is a problem, never an error."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(fd, "rb") as file:
            data, mode = file.read(_MOST_BYTES) or b"", os.fstat(fd).st_mode
    except OSError as error:
        return KernelFile(path=str(path), problem=error.strerror or str(error))
    return KernelFile(path=str(path), text=data.decode("ascii", errors="replace").strip(), fixed=not mode & _WRITABLE)

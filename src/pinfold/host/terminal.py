"""`Terminal`: read and write the pseudo terminal of a guest's serial console."""

from __future__ import annotations

import os
import select
import time
import tty
from pathlib import Path
from typing import Final

from pinfold.core.errors import Unavailable

_MOST_READ: Final = 1 << 14
_WRITE_SECONDS: Final = 10.0


class Terminal:
    """A guest's open terminal. One thread may read while another writes. Raises `Unavailable` if it cannot be opened."""

    def __init__(self, path: Path) -> None:
        try:
            self._file = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
            tty.setraw(self._file)
        except OSError as error:
            raise Unavailable(f"the terminal {path} of the guest's console cannot be opened: {error.strerror}") from error

    def read(self, seconds: float) -> bytes | None:
        """What the guest prints, b'' if it prints nothing within so many seconds; None once the guest's process has ended."""
        ready, _, _ = select.select([self._file], [], [], seconds)
        if not ready:
            return b""
        try:
            return os.read(self._file, _MOST_READ) or None
        except BlockingIOError:
            return b""
        except OSError:
            return None

    def write(self, data: bytes) -> None:
        """Type. What a guest does not take within ten seconds is lost."""
        left, until = memoryview(data), time.monotonic() + _WRITE_SECONDS
        while left and (seconds := until - time.monotonic()) > 0:
            select.select([], [self._file], [], seconds)
            try:
                left = left[os.write(self._file, left) :]
            except BlockingIOError:
                continue
            except OSError:
                return

    def close(self) -> None:
        """Close it. The guest goes on."""
        os.close(self._file)

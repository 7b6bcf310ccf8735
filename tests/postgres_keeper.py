"""Stops a PostgreSQL and removes its folder once it gets SIGTERM, or once its parent has ended, however that was.

`python postgres_keeper.py PARENT FOLDER`. It imports the standard library alone, so that it starts quickly.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import time
from pathlib import Path

LOOK_SECONDS = 0.5
"""How often it looks whether its parent is there."""
_TRIES_SECONDS = 60.0


def postmaster(folder: Path) -> int | None:
    """The process id of the server whose cluster is in `folder`; None if none has begun there."""
    try:
        first, *_ = (folder / "data" / "postmaster.pid").read_text().splitlines()
    except (FileNotFoundError, ValueError):
        return None
    return int(first)


def runs(pid: int) -> bool:
    """Whether there is such a process that is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def end(folder: Path) -> None:
    """Stop the server at once and remove the folder. Tries again where one began in between, or its making still writes files."""
    deadline = time.monotonic() + _TRIES_SECONDS
    while folder.exists() and time.monotonic() < deadline:
        server = postmaster(folder)
        if server is not None and runs(server):
            with contextlib.suppress(ProcessLookupError):
                os.kill(server, signal.SIGQUIT)  # the server's immediate shutdown, which ends its children, too
            time.sleep(0.02)
        else:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    while os.getppid() == int(sys.argv[1]) and signal.sigtimedwait({signal.SIGTERM}, LOOK_SECONDS) is None:
        pass
    end(Path(sys.argv[2]))

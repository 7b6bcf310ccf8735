"""Find the processes inside a lab, and end them."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from pinfold.lab import cgroup, tree

_MACHINES_OWN: Final = "/run/libvirt"


def inside(folder: int, group: str) -> tuple[int, ...]:
    """Every process inside the lab whose folder is behind that file descriptor, ascending.

    A process is inside if it sees the lab's `run` as `/run/libvirt`, or if it is in the lab's cgroups. A `run` that is a link, a mount
    point, or this process's own `/run/libvirt` does not count.
    """
    found = cgroup.members(group)
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        run = tree.open_folder("run", inside=folder)
        try:
            if tree.mount_of(run) == tree.mount_of(folder) and not _is(Path(_MACHINES_OWN), os.fstat(run)):
                own = os.fstat(run)
                processes = (int(entry) for entry in os.listdir("/proc") if entry.isdigit())
                found |= {pid for pid in processes if _is(Path("/proc", str(pid), "root", "run/libvirt"), own)}
        finally:
            os.close(run)
    return tuple(sorted(found - {os.getpid()}))


def end(find: Callable[[], tuple[int, ...]], *, asked_seconds: float = 2.5, killed_seconds: float = 60.0) -> tuple[int, ...]:
    """End the processes that `find` returns, with SIGTERM and later SIGKILL. Returns the ids of those that did not end.

    Each is held by a pidfd and checked once more, so that a reused id never hits another process.
    """
    handles: dict[int, int] = {}
    for pid in find():
        with contextlib.suppress(ProcessLookupError):
            handles[pid] = os.pidfd_open(pid)
    for pid in handles.keys() - set(find()):
        os.close(handles.pop(pid))
    try:
        for sent, seconds in ((signal.SIGTERM, asked_seconds), (signal.SIGKILL, killed_seconds)):
            _signal_and_wait(handles, sent, seconds)
        return tuple(handles)
    finally:
        for fd in handles.values():
            os.close(fd)


def _is(path: Path, own: os.stat_result) -> bool:
    try:
        return os.path.samestat(path.stat(), own)
    except OSError:
        return False


def _signal_and_wait(handles: dict[int, int], sent: signal.Signals, patience_seconds: float) -> None:
    """Signal every process and remove from `handles` those that end in time. A zombie counts as ended."""
    for fd in handles.values():
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(fd, sent)
    poll = select.poll()
    for fd in handles.values():
        poll.register(fd, select.POLLIN)
    deadline = time.monotonic() + patience_seconds
    while handles and (left := deadline - time.monotonic()) > 0:
        ended = {fd for fd, _ in poll.poll(left * 1000)}
        for pid, fd in list(handles.items()):
            if fd in ended:
                poll.unregister(fd)
                os.close(handles.pop(pid))

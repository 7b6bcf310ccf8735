"""Await and end a QEMU process, and say why it does not answer. `witness` reads its threads."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import Final

from pinfold.drivers.kvm import deadline
from pinfold.linux import procfs

END_SECONDS: Final = 15.0
_DOING: Final = {
    "T": "is stopped by a signal (SIGCONT lets it go on)",
    "t": "is stopped by a debugger",
    "D": "waits in the kernel, for a disk or the network most likely",
}
"""By the state letter of proc(5)."""


def ended(pid: int, start_ticks: int) -> bool:
    """Wait at most 15 seconds for the process that began at `start_ticks` to end. Returns whether it has ended."""
    return deadline.until(lambda: procfs.start_ticks(pid) != start_ticks, END_SECONDS)


def doing(pid: int) -> str:
    """Why a process does not answer, as far as the kernel shows; the predicate of a sentence about the process."""
    return _DOING.get(procfs.state(pid), "does not answer")


def is_stopped(pid: int) -> bool:
    """Whether a signal or a debugger has stopped the process, so that it does not react to SIGTERM."""
    return procfs.state(pid) in ("T", "t")


def end_now(pid: int, start_ticks: int) -> None:
    """Send SIGKILL to the process that began at `start_ticks`; one that has ended is no error."""
    if procfs.start_ticks(pid) == start_ticks:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def kill(guest: str) -> None:
    """End the QEMU of the guest with that id, and wait for its end.

    QEMU is started with `-uuid ID`. The id alone is not enough, because other commands about the guest may contain it.
    """
    for pid in procfs.processes_with("-uuid", guest):
        ticks = procfs.start_ticks(pid)
        if ticks is not None:
            end_now(pid, ticks)
            ended(pid, ticks)

"""A guest's QEMU process: found by libvirt's pid file, awaited, ended; and libvirt's own. Threads belong in `witness` and `moves`."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Final

from pinfold.drivers.libvirt import deadline
from pinfold.drivers.libvirt.status import Status, status_file
from pinfold.linux import procfs

END_SECONDS: Final = 15.0
_DOING: Final = {
    "T": "is stopped by a signal (SIGCONT lets it go on)",
    "t": "is stopped by a debugger",
    "D": "waits in the kernel, for a disk or the network most likely",
}
"""By the letter of proc(5)."""


def pid_of(state_dir: str, name: str) -> int | None:
    """The live process of guest `name`, from the pid file in `state_dir`; None when there is none, or it is not ours to read."""
    if not state_dir:
        return None
    return _pid_in(Path(state_dir) / f"{name}.pid")


def _pid_in(path: Path) -> int | None:
    try:
        words = path.read_text(encoding="ascii").split()
    except (FileNotFoundError, PermissionError):
        return None
    pid = int(words[0]) if words and words[0].isdigit() else None
    return pid if pid is not None and procfs.start_ticks(pid) is not None else None


def daemon_pid(state_dir: str) -> int | None:
    """The live process of the libvirt whose guests' files are in `state_dir`, by its pid file; None when there is none to be found.

    It lies beside the sockets' folder (`/run/libvirtd.pid`, or `/run/virtqemud.pid` of a daemon for QEMU alone), or in it.
    """
    if not state_dir:
        return None
    run = Path(state_dir).parent
    for path in (run.parent / "virtqemud.pid", run.parent / "libvirtd.pid", *sorted(run.glob("libvirtd*.pid"))):
        pid = _pid_in(path)
        if pid is not None:
            return pid
    return None


def defined_before_start(state_dir: str, name: str) -> bool:
    """Whether guest `name` runs, and its persistent definition was last written before it started; False where that cannot be told.

    libvirt of the system keeps definitions in `/etc/libvirt/qemu`, as its daemon sees it, and writes a guest's pid file at its start.
    """
    daemon = daemon_pid(state_dir)
    if daemon is None:
        return False
    try:
        defined = os.stat(f"/proc/{daemon}/root/etc/libvirt/qemu/{name}.xml").st_mtime_ns
        return defined < (Path(state_dir) / f"{name}.pid").stat().st_mtime_ns
    except OSError:
        return False


def status_of(state_dir: str, name: str) -> Status | None:
    """What libvirt's status file of guest `name` tells; None when there is none, or it is not ours to read (it is root's)."""
    try:
        return status_file((Path(state_dir) / f"{name}.xml").read_text(encoding="utf-8"))
    except (FileNotFoundError, PermissionError):
        return None


def ended(pid: int, start_ticks: int) -> bool:
    """Whether the process that began at `start_ticks` is gone, waiting for it at most 15 seconds."""
    return deadline.until(lambda: procfs.start_ticks(pid) != start_ticks, END_SECONDS)


def doing(pid: int) -> str:
    """What keeps a process from answering, as far as the kernel tells; for a sentence whose subject it is."""
    return _DOING.get(procfs.state(pid), "does not answer")


def is_stopped(pid: int) -> bool:
    """Whether a signal or a debugger has stopped the process: it does not even hear SIGTERM."""
    return procfs.state(pid) in ("T", "t")


def end_now(pid: int, start_ticks: int) -> None:
    """SIGKILL for the process that began then; one that has ended is no error."""
    if procfs.start_ticks(pid) == start_ticks:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def kill(guest: str) -> None:
    """End the QEMU of the guest with that id, and wait for its end.

    It is known by `-uuid ID`, as libvirt starts it: the id alone may be in the command line of whoever just asks for the guest.
    """
    for pid in procfs.processes_with("-uuid", guest):
        ticks = procfs.start_ticks(pid)
        if ticks is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            ended(pid, ticks)

"""Find, await and end a guest's QEMU process, and find libvirt's own. Threads are in `witness` and `thread_moves`."""

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
"""By the state letter of proc(5)."""


def pid_of(state_dir: str, name: str) -> int | None:
    """The live process of guest `name`, from the pid file in `state_dir`; None if there is none or the file may not be read."""
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
    """The live process of the libvirt with this `state_dir`, from its pid file; None if none is found.

    The pid file is beside the folder of the sockets (`/run/libvirtd.pid`, or `/run/virtqemud.pid` of the QEMU daemon), or in it.
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
    """Whether guest `name` runs and its persistent definition was last written before it started; False if unknown.

    The system's libvirt stores definitions in `/etc/libvirt/qemu`, as its daemon sees it, and writes a guest's pid file at the start.
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
    """The content of libvirt's status file of guest `name`; None if there is none or only root may read it."""
    try:
        return status_file((Path(state_dir) / f"{name}.xml").read_text(encoding="utf-8"))
    except (FileNotFoundError, PermissionError):
        return None


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

    libvirt starts it with `-uuid ID`. The id alone is not enough, because other commands about the guest may contain it.
    """
    for pid in procfs.processes_with("-uuid", guest):
        ticks = procfs.start_ticks(pid)
        if ticks is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            ended(pid, ticks)

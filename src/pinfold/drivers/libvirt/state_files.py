"""Read what libvirt stores about running guests in files: a guest's process and vCPU threads, and libvirt's own process."""

from __future__ import annotations

from pathlib import Path

from pinfold.drivers.libvirt.status import Status, status_file
from pinfold.linux import procfs
from pinfold.linux.mount_namespace import seen_by


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
        defined = seen_by(daemon, f"/etc/libvirt/qemu/{name}.xml").stat().st_mtime_ns
        return defined < (Path(state_dir) / f"{name}.pid").stat().st_mtime_ns
    except OSError:
        return False


def status_of(state_dir: str, name: str) -> Status | None:
    """The content of libvirt's status file of guest `name`; None if there is none or only root may read it."""
    try:
        return status_file((Path(state_dir) / f"{name}.xml").read_text(encoding="utf-8"))
    except (FileNotFoundError, PermissionError):
        return None

"""Read what libvirt stores about guests in files: processes, vCPU threads, when a definition was written, and libvirt's own process."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TypeVar

from msgspec import Struct

from pinfold.drivers.libvirt.address import Address
from pinfold.drivers.libvirt.status import Status, status_file
from pinfold.linux import procfs
from pinfold.linux.mount_namespace import seen_by

Stamp = tuple[int, int, int, int]
"""Inode, size, and the times of the last write and the last change. libvirt writes a new file and renames it."""
Value = TypeVar("Value")


class Marks(Struct, frozen=True, kw_only=True):
    """What changes when libvirt writes a definition of a guest anew: `definition` for the persistent one, `status` for the live one.

    `process` is the guest's process and when it began. Both are None for a guest that does not run.
    """

    definition: Stamp
    status: Stamp | None = None
    process: tuple[int, int] | None = None


class StateFiles:
    """Reads the files of one libvirt, and reads a file again only when its stamp has changed. Any thread may use it."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._pids: dict[str, tuple[Stamp, int | None]] = {}
        self._statuses: dict[str, tuple[Stamp, Status]] = {}

    def pid(self, name: str) -> int | None:
        """The live process of guest `name`; None if there is none or its pid file may not be read."""
        pid = self._content(self._pids, name, "pid", _number)
        return pid if pid is not None and procfs.start_ticks(pid) is not None else None

    def status(self, name: str) -> Status | None:
        """The content of the status file of guest `name`; None if there is none or only root may read it."""
        return self._content(self._statuses, name, "xml", status_file)

    def daemon(self) -> int | None:
        """The live process of this libvirt; None if it is not found. See `daemon_pid`."""
        return daemon_pid(self._address.state_dir)

    def marks(self, name: str, daemon: int | None) -> Marks | None:
        """The marks of guest `name`, with `daemon` as the libvirt that keeps it; None if it has no definition that can be seen."""
        try:
            definition = self._definition_stamp(name, daemon)
            status = _stamp(f"{self._address.state_dir}/{name}.xml")
        except OSError:
            return None
        if definition is None:
            return None
        pid = None if status is None else self._content(self._pids, name, "pid", _number)
        ticks = None if pid is None else procfs.start_ticks(pid)
        return Marks(definition=definition, status=status, process=None if pid is None or ticks is None else (pid, ticks))

    def defined_before_start(self, name: str) -> bool:
        """Whether guest `name` runs and its persistent definition was last written before it started; False if unknown.

        libvirt writes a guest's pid file at the start.
        """
        try:
            defined, started = self._definition_stamp(name, self.daemon()), _stamp(f"{self._address.state_dir}/{name}.pid")
        except OSError:
            return False
        return defined is not None and started is not None and defined[2] < started[2]

    def keep(self, names: Collection[str]) -> None:
        """Forget the files of all other guests."""
        for kept in (self._pids, self._statuses):
            for name in tuple(kept):
                if name not in names:
                    kept.pop(name, None)

    def _definition_stamp(self, name: str, daemon: int | None) -> Stamp | None:
        """The stamp of a persistent definition; None if there is none, or its folder is unknown. Raises `OSError`.

        The folder is seen as the daemon sees it, because that of a lab has its own.
        """
        folder = self._address.config_dir
        return _stamp(str(seen_by(daemon, f"{folder}/{name}.xml"))) if folder and daemon is not None else None

    def _content(self, kept: dict[str, tuple[Stamp, Value]], name: str, suffix: str, read: Callable[[str], Value]) -> Value | None:
        """The content of a file of guest `name`, from `kept` if the file has not changed; None if it may not be read."""
        if not self._address.state_dir:
            return None
        path = f"{self._address.state_dir}/{name}.{suffix}"
        try:
            # Take the stamp first: a file that is written after that has another one.
            now, known = _stamp(path), kept.get(name)
            if now is None:
                return None
            if known is not None and known[0] == now:
                return known[1]
            text = Path(path).read_text(encoding="utf-8")
        except (FileNotFoundError, PermissionError):
            return None
        kept[name] = now, read(text)
        return kept[name][1]


def daemon_pid(state_dir: str) -> int | None:
    """The live process of the libvirt with this `state_dir`, from its pid file; None if none is found.

    The pid file is beside the folder of the sockets (`/run/libvirtd.pid`, or `/run/virtqemud.pid` of the QEMU daemon), or in it.
    """
    if not state_dir:
        return None
    run = Path(state_dir).parent
    for path in (run.parent / "virtqemud.pid", run.parent / "libvirtd.pid", *sorted(run.glob("libvirtd*.pid"))):
        try:
            pid = _number(path.read_text(encoding="ascii"))
        except (FileNotFoundError, PermissionError):
            continue
        if pid is not None and procfs.start_ticks(pid) is not None:
            return pid
    return None


def _number(text: str) -> int | None:
    words = text.split()
    return int(words[0]) if words and words[0].isdigit() else None


def _stamp(path: str) -> Stamp | None:
    """The stamp of a file; None without one. Raises `OSError` if it cannot be seen."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns

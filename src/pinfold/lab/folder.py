"""The lab's folder: where its files are, who holds it, and the end of what was left behind. Starting daemons does not belong here."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import select
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from pinfold.core.errors import Conflict, InvalidRequest
from pinfold.lab import cgroup

_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,23}")
_SOCKET_PATH_LIMIT: Final = 107


def root() -> Path:
    """Where labs live: `$PINFOLD_LAB_ROOT`, else `/run/pinfold-lab`."""
    return Path(os.environ.get("PINFOLD_LAB_ROOT", "/run/pinfold-lab"))


@dataclass(frozen=True, slots=True, kw_only=True)
class LabSpec:
    """What was asked of one lab host. `topology` is the text for people; `sysfs` whether there is a synthetic one."""

    name: str
    synthetic: bool
    topology: str = "the machine's own"
    cgroups: bool = True
    kvm: bool = True
    online: str = ""
    huge_page_kib: tuple[int, ...] = ()
    group: str = ""


@dataclass(frozen=True, slots=True)
class LabFolder:
    """The folder of one lab host.

    >>> LabFolder(Path("/run/pinfold-lab/a")).uri
    'qemu+unix:///system?socket=/run/pinfold-lab/a/run/libvirt-sock'
    """

    path: Path

    @classmethod
    def named(cls, name: str) -> LabFolder:
        """The folder for that name. Raises `InvalidRequest` for a name that cannot be one."""
        if not _NAME.fullmatch(name):
            raise InvalidRequest(
                f"lab name {name!r}: a name starts with a lower-case letter and has up to 24 letters, digits and '-'", key="NAME"
            )
        folder = cls(root() / name)
        if len(bytes(folder.run / "libvirt-sock")) > _SOCKET_PATH_LIMIT:
            raise InvalidRequest(f"the path {folder.path} is too long for a socket; set PINFOLD_LAB_ROOT to a shorter one", key="NAME")
        return folder

    @property
    def run(self) -> Path:
        """What the lab sees as `/run/libvirt`; the socket is here."""
        return self.path / "run"

    @property
    def records(self) -> Path:
        """Where the shim writes what was asked per thread (a synthetic lab alone)."""
        return self.run / "fakecpu"

    @property
    def uri(self) -> str:
        """The libvirt URI."""
        return f"qemu+unix:///system?socket={self.run}/libvirt-sock"

    @property
    def control(self) -> Path:
        """The keeper's own socket."""
        return self.path / "control"

    @property
    def configuration(self) -> Path:
        """A `pinfold.conf` that names the URI and pools that suit the topology."""
        return self.path / "pinfold.conf"

    def spec(self) -> LabSpec:
        """What was asked of it. Raises `InvalidRequest` when there is no such lab."""
        try:
            found: dict[str, Any] = json.loads((self.path / "lab.json").read_text())
        except FileNotFoundError:
            raise InvalidRequest(f"there is no lab {self.path.name!r} in {self.path.parent}", key="NAME") from None
        return LabSpec(**{**found, "huge_page_kib": tuple(found["huge_page_kib"])})

    def write_spec(self, spec: LabSpec) -> None:
        """Write down what is asked of it."""
        (self.path / "lab.json").write_text(json.dumps(asdict(spec)) + "\n")

    def hold(self) -> int:
        """A file descriptor that holds the folder for as long as it is open, in whichever process. Raises `Conflict` when it is held."""
        fd = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            raise Conflict(f"lab {self.path.name!r} is up already") from None
        return fd

    def held(self) -> bool:
        """Whether a keeper runs for it. Somebody may be removing the folder meanwhile: nothing is made in it."""
        try:
            fd = os.open(self.path / "lock", os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(fd)
        return False

    def processes(self) -> tuple[int, ...]:
        """Every process inside the lab: those that see its run folder as `/run/libvirt`, and those in its cgroups. Ascending."""
        found: set[int] = set()
        with contextlib.suppress(FileNotFoundError, InvalidRequest):
            found |= cgroup.members(self.spec().group)
            own = os.stat(self.run)
            found |= {int(entry) for entry in os.listdir("/proc") if entry.isdigit() and self._sees(int(entry), own)}
        return tuple(sorted(found))

    def end_processes(self, *, asked_seconds: float = 2.5, killed_seconds: float = 60.0) -> tuple[int, ...]:
        """End every process inside the lab, by SIGTERM and, where that takes longer, by SIGKILL. Returns the ids of those that did not end.

        Each is held by a pidfd and looked at once more, so that no other process is hit when an id is used again.
        """
        handles: dict[int, int] = {}
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                handles[pid] = os.pidfd_open(pid)
        for pid in handles.keys() - set(self.processes()):
            os.close(handles.pop(pid))
        try:
            for sent, seconds in ((signal.SIGTERM, asked_seconds), (signal.SIGKILL, killed_seconds)):
                _signal_and_wait(handles, sent, seconds)
            return tuple(handles)
        finally:
            for fd in handles.values():
                os.close(fd)

    def remove(self) -> None:
        """End what runs inside, and remove cgroups and folder. The folder's holder alone may call this."""
        left = self.end_processes()
        if left:
            raise Conflict(f"lab {self.path.name!r}: processes {', '.join(map(str, left))} do not end")
        with contextlib.suppress(InvalidRequest):
            group = self.spec().group
            if group:
                cgroup.remove(group)
        while self.path.exists():
            with contextlib.suppress(FileNotFoundError):  # the keeper may be clearing up at the same time
                shutil.rmtree(self.path)

    @staticmethod
    def _sees(pid: int, own: os.stat_result) -> bool:
        try:
            return os.path.samestat(os.stat(Path("/proc", str(pid), "root", "run", "libvirt")), own)
        except OSError:
            return False


@contextlib.contextmanager
def guarded() -> Iterator[None]:
    """Keep others from making or removing labs for the length of the block."""
    root().mkdir(parents=True, exist_ok=True, mode=0o755)
    with open(root() / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def labs() -> tuple[LabFolder, ...]:
    """The folder of every lab that was begun, by name, whether it is up or was left behind."""
    return tuple(folder for folder in _folders() if (folder.path / "lab.json").exists())


def reap() -> tuple[str, ...]:
    """Remove every lab whose keeper has ended without doing so. Returns their names."""
    found = []
    for folder in _folders():
        try:
            with guarded():
                fd = folder.hold()
                try:
                    folder.remove()
                finally:
                    os.close(fd)
        except (Conflict, FileNotFoundError):
            continue
        found.append(folder.path.name)
    return tuple(found)


def _folders() -> tuple[LabFolder, ...]:
    try:
        found = sorted(entry for entry in root().iterdir() if entry.is_dir() and not entry.name.startswith("."))
    except FileNotFoundError:
        return ()
    return tuple(map(LabFolder, found))


def _signal_and_wait(handles: dict[int, int], sent: signal.Signals, patience_seconds: float) -> None:
    """Signal every process and drop from `handles` those that end in time; a zombie that nobody waits for has ended too."""
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

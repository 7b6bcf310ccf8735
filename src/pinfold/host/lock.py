"""One writer per host: the lock around survey, fit and define, and the mark of an agent that owns the host.

The lock is `flock` on a file in the state directory, named by a digest of the hypervisor's address. Two configurations with different
state directories do not exclude each other. Then only the check for other owners before a guest runs (`host.start`) protects.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from pinfold.core.errors import Conflict, InvalidRequest, Unavailable
from pinfold.core.file_mode import refusal
from pinfold.core.settings import HostSettings

WAIT_SECONDS: Final = 60.0
"""How long a start waits for the lock. A start holds it for less than a second."""

_POLL_SECONDS: Final = 0.02


def state_folder(settings: HostSettings, *parts: str) -> Path:
    """A folder below the state directory, created if missing (mode 0711: QEMU can pass through it, nobody can list it).

    Raises `InvalidRequest` naming the folder if it cannot be created, or if everybody can write to the state directory, which holds
    disks, tokens and accounts.
    """
    folder, top = Path(settings.state_dir, *parts), Path(settings.state_dir)
    try:
        folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        sentence = refusal(str(top), top.stat().st_mode, 0o775, "0711 or 0755")
    except OSError as error:
        raise InvalidRequest(f"the state directory {folder} cannot be made: {error.strerror}", key=str(folder)) from error
    if sentence:
        raise InvalidRequest(f"the state directory {sentence}", key=str(top))
    return folder


@contextmanager
def host_lock(settings: HostSettings, *, wait_seconds: float = WAIT_SECONDS) -> Iterator[None]:
    """Holds the host's lock for the block. Raises `Unavailable`, naming the holder, if it is not free within `wait_seconds`.

    The kernel releases it when the process ends, also after a crash.
    """
    path = _path(settings, "lock")
    handle = _open(path)
    try:
        _acquire(handle, path, wait_seconds)
        os.ftruncate(handle, 0)
        os.pwrite(handle, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(handle)


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise InvalidRequest(f"{path} cannot be opened: {error.strerror}", key=str(path)) from error


def _acquire(handle: int, path: Path, wait_seconds: float) -> None:
    deadline = time.monotonic() + wait_seconds
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EINTR):
                raise
        else:
            return
        if time.monotonic() >= deadline:
            holder = os.pread(handle, 32, 0).decode(errors="replace") or "unknown"
            raise Unavailable(f"process {holder} has held the host's lock {path} for {wait_seconds:.0f} s")
        time.sleep(_POLL_SECONDS)


def owner(settings: HostSettings) -> str:
    """The name of the agent that owns the host, '' if none does."""
    path = _path(settings, "owner")
    try:
        return path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise InvalidRequest(f"{path} cannot be read: {error.strerror}", key=str(path)) from error


def take_ownership(settings: HostSettings, name: str) -> None:
    """Marks the host as owned by the agent `name`, until `give_up_ownership`; an agent that dies still owns it.

    Raises `InvalidRequest` if another agent owns it.
    """
    present = owner(settings)
    if present not in ("", name):
        raise InvalidRequest(
            f"the host is owned by {present}, not by {name}; remove {_path(settings, 'owner')} if that one is gone for good"
        )
    path = _path(settings, "owner")
    fresh = path.with_suffix(f".{os.getpid()}")
    try:
        fresh.write_text(name + "\n", encoding="utf-8")
        fresh.replace(path)
    except OSError as error:
        raise InvalidRequest(f"{path} cannot be written: {error.strerror}", key=str(path)) from error


def give_up_ownership(settings: HostSettings) -> None:
    """Removes the mark; a missing one is no error."""
    _path(settings, "owner").unlink(missing_ok=True)


@contextmanager
def owning(settings: HostSettings, name: str) -> Iterator[None]:
    """Owns the host as the agent `name` for the block; one process at a time.

    The mark of a killed process stays, and the next process with the same name takes it over. Raises `Conflict` naming the process that
    is already this host's agent, `InvalidRequest` if an agent with another name owns the host.
    """
    path = _path(settings, "agent")
    handle = _open(path)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(handle, 32, 0).decode(errors="replace") or "unknown"
            raise Conflict(f"process {holder} is the agent of {settings.uri} already; it holds {path}") from error
        os.ftruncate(handle, 0)
        os.pwrite(handle, str(os.getpid()).encode(), 0)
        take_ownership(settings, name)
        try:
            yield
        finally:
            give_up_ownership(settings)
    finally:
        os.close(handle)


def running_agent(settings: HostSettings) -> str:
    """The process that is this host's agent now, '' if none runs. The mark of a killed process does not count."""
    handle = _open(_path(settings, "agent"))
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.pread(handle, 32, 0).decode(errors="replace") or "unknown"
    else:
        return ""
    finally:
        os.close(handle)


def refuse_if_owned(settings: HostSettings, action: str, *, by: str = "", instead: str = "ask its service instead") -> None:
    """Raises `InvalidRequest` if an agent other than `by` owns the host, because two deciders would undo each other's work.

    `instead` ends the sentence: what to do.
    """
    present = owner(settings)
    if present not in ("", by):
        raise InvalidRequest(f"{action} is refused: the host {settings.uri} is owned by {present}; {instead}", key="owner")


def host_key(settings: HostSettings) -> str:
    """The hypervisor's address as part of a file name, so that two hypervisors can share a state directory."""
    return hashlib.sha256(settings.uri.encode()).hexdigest()[:16]


def _path(settings: HostSettings, kind: str) -> Path:
    return state_folder(settings) / f"host-{host_key(settings)}.{kind}"

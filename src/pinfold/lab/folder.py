"""The lab's folder: its files, who holds it, and the removal of labs left behind. `keeper` starts the daemons.

Only a folder that a lab marked as its own (`record`) is ever removed. Folders are opened without following links and used by file
descriptor, so that nobody can replace them. A mount point is an error that names it, and stays.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pinfold.core.errors import Conflict, InvalidRequest, PinfoldError, Unavailable
from pinfold.lab import cgroup, processes, record, tree
from pinfold.lab.record import LabSpec, NoRecordError

_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,23}")
_SOCKET_PATH_LIMIT: Final = 107
_LOCK: Final = "lock"


def root() -> Path:
    """The folder of all labs: `$PINFOLD_LAB_ROOT`, else `/run/pinfold-lab`."""
    return Path(os.path.abspath(os.environ.get("PINFOLD_LAB_ROOT") or "/run/pinfold-lab"))


@dataclass(frozen=True, slots=True)
class LabFolder:
    """The folder of one lab host.

    >>> LabFolder(Path("/run/pinfold-lab/a")).uri
    'qemu+unix:///system?socket=/run/pinfold-lab/a/run/libvirt-sock'
    """

    path: Path

    @classmethod
    def named(cls, name: str) -> LabFolder:
        """The folder for that name. Raises `InvalidRequest` for an invalid name."""
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
        """The folder that the lab sees as `/run/libvirt`, with the socket."""
        return self.path / "run"

    @property
    def records(self) -> Path:
        """Where the shim writes the requested mask of each thread (only in a synthetic lab)."""
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
        """The lab's `pinfold.conf`, with the URI and pools for the topology."""
        return self.path / "pinfold.conf"

    def spec(self, *, anyones: bool = False) -> LabSpec:
        """The lab's specification; with `anyones` also of another user's lab.

        Raises `InvalidRequest` if there is no such lab or its record is untrusted.
        """
        with self._open() as fd:
            return record.read(fd, self.path, anyones=anyones)

    def begin(self, spec: LabSpec) -> int:
        """Create the folder, mark it, and return its lock: a file descriptor that holds the lab while any process has it open.

        Raises `Conflict` if a lab or another folder has the name.
        """
        with guarded() as top:
            try:
                os.mkdir(self.path.name, 0o755, dir_fd=top)
            except FileExistsError:
                raise self._taken(spec) from None
            with self._open() as fd:
                try:
                    record.write(fd, spec)
                    lock = _lock_of(fd, os.O_CREAT)
                except OSError as error:
                    tree.empty(fd)
                    os.rmdir(self.path.name, dir_fd=top)
                    raise Unavailable(f"{self.path} cannot be written: {error.strerror}") from error
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock

    def held(self) -> bool:
        """Whether a keeper runs for the lab. Creates nothing; the folder may have gone."""
        try:
            with self._open() as fd:
                lock = _lock_of(fd)
        except (NoRecordError, FileNotFoundError):
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(lock)
        return False

    def processes(self, spec: LabSpec) -> tuple[int, ...]:
        """Every process inside the lab, ascending."""
        try:
            with self._open() as fd:
                return processes.inside(fd, spec.group)
        except NoRecordError:
            return ()

    def remove(self, spec: LabSpec, lock: int) -> None:
        """End all processes inside, and remove cgroups and folder. Call it with the lab's `lock`, within `guarded`.

        Raises `Conflict` if the lock is another folder's, for a mount point, and for processes that do not end.
        """
        with self._open() as fd, opened(self.path.parent) as top:
            if not os.path.samestat(os.fstat(lock), os.stat(_LOCK, dir_fd=fd, follow_symlinks=False)):
                raise Conflict(f"{self.path} is not the folder that was held; it is left as it is")
            left = processes.end(lambda: processes.inside(fd, spec.group))
            if left:
                raise Conflict(f"processes {', '.join(map(str, left))} of lab {self.path.name} do not end")
            if spec.group:
                cgroup.remove(spec.group)
            points = tree.mount_points(fd)
            if points or tree.mount_of(fd) != tree.mount_of(top):
                point = points[0] if points else self.path
                raise Conflict(f"{point} is a mount point in lab {self.path.name}; unmount it, then `pinfold lab status` removes the lab")
            tree.empty(fd, last=(_LOCK, record.NAME))
            with contextlib.suppress(FileNotFoundError):
                os.rmdir(self.path.name, dir_fd=top)

    @contextlib.contextmanager
    def _open(self) -> Iterator[int]:
        try:
            with opened(self.path.parent) as top:
                fd = tree.open_folder(self.path.name, inside=top)
        except (FileNotFoundError, NotADirectoryError):
            raise NoRecordError(f"there is no lab {self.path.name!r} in {self.path.parent}", key="NAME") from None
        try:
            yield fd
        finally:
            os.close(fd)

    def _taken(self, asked: LabSpec) -> Conflict:
        name = self.path.name
        try:
            there = self.spec()
        except InvalidRequest:
            return Conflict(f"{self.path} is there already, and no lab made it; choose another name, or remove it yourself")
        if there.kvm != asked.kvm:
            way = "with KVM" if there.kvm else "with emulated guests (--tcg)"
            return Conflict(
                f"lab {name!r} is up already, {way}, at {self.uri}; to switch, end it and all that is in it with "
                f"`pinfold lab down {there.fleet or name}`, then repeat this command"
            )
        return Conflict(f"lab {name!r} is up already, at {self.uri}")


@contextlib.contextmanager
def opened(path: Path) -> Iterator[int]:
    """A file descriptor of the folder of all labs. Raises `FileNotFoundError`, and `InvalidRequest` for a link or a file."""
    try:
        fd = tree.open_folder(path)
    except NotADirectoryError:
        wrong = "is a link; name the folder that it points to" if path.is_symlink() else "is no folder"
        raise InvalidRequest(f"PINFOLD_LAB_ROOT: {path} {wrong}", key="PINFOLD_LAB_ROOT") from None
    except PermissionError as error:
        raise Unavailable(f"{path} cannot be read: {error.strerror}") from error
    try:
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def guarded() -> Iterator[int]:
    """Keep others from creating or removing labs during the block. Yields a file descriptor of the folder of all labs."""
    path = root()
    if not path.is_symlink():
        path.mkdir(parents=True, exist_ok=True, mode=0o755)
    with opened(path) as top:
        lock = os.open(".lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=top)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield top
        finally:
            os.close(lock)


@dataclass(frozen=True, slots=True, kw_only=True)
class LabListing:
    """The labs with their specifications, by name, and a sentence for each untrusted record."""

    labs: tuple[tuple[LabFolder, LabSpec], ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReapResult:
    """The names of the removed labs, and a sentence for each that could not be removed."""

    removed: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def list_labs(*, anyones: bool = False) -> LabListing:
    """Every lab, running or left behind. Folders that no lab marked are ignored.

    With `anyones`, it lists labs of other users too, to name them but never to remove them.
    """
    try:
        with opened(root()) as top:
            names = sorted(name for name in os.listdir(top) if _NAME.fullmatch(name))
    except FileNotFoundError:
        return LabListing()
    seen: list[tuple[LabFolder, LabSpec]] = []
    problems = []
    for name in names:
        folder = LabFolder(root() / name)
        try:
            seen.append((folder, folder.spec(anyones=anyones)))
        except NoRecordError:
            continue
        except InvalidRequest as error:
            problems.append(str(error))
    return LabListing(labs=tuple(seen), problems=tuple(problems))


def labs() -> tuple[LabFolder, ...]:
    """The folder of every lab, running or left behind, by name."""
    return tuple(folder for folder, _ in list_labs().labs)


def reap() -> ReapResult:
    """Remove every lab that its keeper left behind."""
    before = list_labs()
    removed, problems = [], list(before.problems)
    for folder, _ in before.labs:
        if folder.held():
            continue
        try:
            if remove_dead(folder):
                removed.append(folder.path.name)
        except PinfoldError as error:
            problems.append(str(error))
    return ReapResult(removed=tuple(removed), problems=tuple(problems))


def remove_dead(folder: LabFolder) -> bool:
    """Remove one lab that nobody holds. Returns False if somebody holds it or has removed it. Reads everything again under the lock.

    Raises `InvalidRequest` for an untrusted record, and what `LabFolder.remove` raises.
    """
    with guarded():
        try:
            with folder._open() as fd:
                spec = record.read(fd, folder.path)
                lock = _lock_of(fd, os.O_CREAT)
        except NoRecordError:
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            folder.remove(spec, lock)
        except BlockingIOError:
            return False
        finally:
            os.close(lock)
    return True


def _lock_of(folder: int, flags: int = 0) -> int:
    """Open the lab's lock file. Raises `FileNotFoundError`, and `Conflict` for a link in its place."""
    try:
        return os.open(_LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | flags, 0o600, dir_fd=folder)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise Conflict(f"{tree.path_of(folder)}/{_LOCK} is a link; remove it yourself") from error
        if isinstance(error, PermissionError):
            raise Unavailable(f"{tree.path_of(folder)} is root's lab; labs need root") from error
        raise

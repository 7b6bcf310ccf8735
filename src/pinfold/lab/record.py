"""`lab.json`: a lab's specification, and the mark that its folder belongs to a lab. `folder` removes folders."""

from __future__ import annotations

import errno
import os
import re
import stat
from pathlib import Path
from typing import Final

import msgspec

from pinfold.core.encoding import json_reader
from pinfold.core.errors import InvalidRequest

NAME: Final = "lab.json"
_VERSION: Final = 1
_MAX_BYTES: Final = 64 * 1024
_GROUP: Final = "pinfold-lab-{name}-[0-9]{{1,10}}"


class LabSpec(msgspec.Struct, frozen=True, kw_only=True):
    """The specification of one lab host. `topology` is a text for people; `synthetic` says whether it is a synthetic one.

    `fleet` is the common name of several hosts started together, empty for a single one. `group` is the name of its cgroup, or empty.
    """

    name: str
    synthetic: bool
    topology: str = "the machine's own"
    cgroups: bool = True
    kvm: bool = True
    online: str = ""
    huge_page_kib: tuple[int, ...] = ()
    group: str = ""
    fleet: str = ""


class _Record(LabSpec, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file: its version, the inode of the folder that it was written for, and the specification."""

    pinfold_lab: int
    inode: int


_read_record = json_reader(_Record)


class NoRecordError(InvalidRequest):
    """The folder has no `lab.json`: no lab made it, or the lab is still being created."""


def write(folder: int, spec: LabSpec) -> None:
    """Mark the folder behind that file descriptor as the lab's. The file is written atomically."""
    record = _Record(pinfold_lab=_VERSION, inode=os.fstat(folder).st_ino, **msgspec.structs.asdict(spec))
    part = f".{NAME}.part"
    fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644, dir_fd=folder)
    with os.fdopen(fd, "wb") as stream:
        stream.write(msgspec.json.encode(record) + b"\n")
    os.rename(part, NAME, src_dir_fd=folder, dst_dir_fd=folder)


def read(folder: int, path: Path, *, anyones: bool = False) -> LabSpec:
    """Read the record in the folder behind that file descriptor. `path` is the folder's path, for errors.

    A record is trusted only if this user owns it and it was written for this very folder, because folders are removed and processes ended
    by it. With `anyones` another user's record is read too, to name the lab.

    Raises `NoRecordError` if there is no record, `InvalidRequest` for an untrusted one.
    """
    try:
        record = _read_record(_bytes(folder, anyones))
    except FileNotFoundError:
        raise NoRecordError(f"there is no lab {path.name!r} in {path.parent}", key="NAME") from None
    except msgspec.ValidationError as error:
        raise _unbelievable(path, f"is no record of a lab ({error})") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _unbelievable(path, f"is damaged: it is not JSON ({error})") from error
    except _UnfitError as error:
        raise _unbelievable(path, str(error)) from error
    except OSError as error:
        raise _unbelievable(path, "is a link" if error.errno == errno.ELOOP else f"cannot be read: {error.strerror}") from error
    if record.pinfold_lab != _VERSION:
        raise _unbelievable(path, f"is of version {record.pinfold_lab}, this pinfold reads version {_VERSION}")
    if record.name != path.name or record.inode != os.fstat(folder).st_ino:
        raise _unbelievable(path, f"was written for another folder, that of lab {record.name!r}")
    if record.group and not re.fullmatch(_GROUP.format(name=re.escape(record.name)), record.group):
        raise _unbelievable(path, f"names a cgroup that is not the lab's, {record.group[:60]!r}")
    return LabSpec(**{field: getattr(record, field) for field in LabSpec.__struct_fields__})


class _UnfitError(Exception):
    """Why a file must not be read."""


def _bytes(folder: int, anyones: bool) -> bytes:
    fd = os.open(NAME, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    with os.fdopen(fd, "rb") as stream:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise _UnfitError("is no file")
        if found.st_uid != os.geteuid() and not anyones:
            raise _UnfitError("belongs to another user")
        if found.st_mode & 0o022:
            raise _UnfitError("is not to be trusted: others may write it")
        data = stream.read(_MAX_BYTES + 1)
    if len(data) > _MAX_BYTES:
        raise _UnfitError(f"is larger than {_MAX_BYTES >> 10} KiB")
    return data


def _unbelievable(path: Path, why: str) -> InvalidRequest:
    return InvalidRequest(f"{path}/{NAME} {why}; {path} is left as it is, remove it yourself if a lab made it", key=str(path))

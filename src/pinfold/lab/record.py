"""`lab.json`: what was asked of a lab, and the mark by which its folder is known as a lab's. Removing folders does not belong here."""

from __future__ import annotations

import errno
import os
import re
import stat
from pathlib import Path
from typing import Final

import msgspec

from pinfold.core.errors import InvalidRequest

NAME: Final = "lab.json"
_VERSION: Final = 1
_MAX_BYTES: Final = 64 * 1024
_GROUP: Final = "pinfold-lab-{name}-[0-9]{{1,10}}"


class LabSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked of one lab host. `topology` is the text for people; `synthetic` whether it is made up.

    `fleet` is the name that several hosts were started by, empty for a single one. `group` is the name of its cgroup, empty without.
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
    """The file: the version of its form, the inode of the folder that it was written for, and the specification."""

    pinfold_lab: int
    inode: int


class NoRecordError(InvalidRequest):
    """The folder has no `lab.json`: no lab made it, or not yet."""


def write(folder: int, spec: LabSpec) -> None:
    """Mark the folder behind that file descriptor as the lab's; the file is there whole or not at all."""
    record = _Record(pinfold_lab=_VERSION, inode=os.fstat(folder).st_ino, **msgspec.structs.asdict(spec))
    part = f".{NAME}.part"
    fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644, dir_fd=folder)
    with os.fdopen(fd, "wb") as stream:
        stream.write(msgspec.json.encode(record) + b"\n")
    os.rename(part, NAME, src_dir_fd=folder, dst_dir_fd=folder)


def read(folder: int, path: Path, *, anyones: bool = False) -> LabSpec:
    """What the record in the folder behind that file descriptor says; `path` is where the folder is, for sentences.

    Only a lab of this user's own, in the very folder that it was written for, is believed: the folder is removed by it, and processes are
    ended by it. With `anyones` another user's is read too, to name it.

    Raises `NoRecordError` where there is no record, `InvalidRequest` for one that cannot be believed.
    """
    try:
        record = msgspec.json.decode(_bytes(folder, anyones), type=_Record)
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
    """Why a file is not to be read."""


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

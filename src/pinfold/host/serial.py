"""The console logs of guests: `STATE_DIR/serial/GUEST.log`, and the rotated ones beside it (`GUEST.log.0`, `.1` and so on).

Where libvirt uses virtlogd, as Debian's does, virtlogd writes the log, and rotates it at 2 MiB into at most three older ones. Elsewhere
QEMU appends to the log itself, and `trim` shortens it, at each sweep of an agent and at each start of a guest. A log's mode is 0600.
"""

from __future__ import annotations

import errno
import logging
import re
import stat
from pathlib import Path
from typing import Final

from pinfold.core.errors import InvalidRequest
from pinfold.core.identity import GuestId
from pinfold.core.settings import HostSettings
from pinfold.host import files
from pinfold.host.lock import state_folder

_log = logging.getLogger(__name__)

MOST_BYTES: Final = 4 << 20
"""`trim` leaves shorter logs alone. virtlogd rotates a log long before it has this length."""
_KEPT_BYTES: Final = 1 << 20
_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT)
_ROTATED: Final = re.compile(r"\.[0-9]{1,4}", re.ASCII)


def log_of(settings: HostSettings, guest: GuestId) -> Path:
    """The path of the log of the guest with that id. Its folder exists."""
    return files.inside(state_folder(settings, "serial"), f"{guest}.log")


def forget(settings: HostSettings, guest: GuestId) -> None:
    """Delete a guest's log and its rotated logs. Missing ones are no error."""
    folder = _folder(settings)
    for name in files.names(folder):
        if name == f"{guest}.log" or _ROTATED.fullmatch(name.removeprefix(f"{guest}.log")):
            files.remove(folder, name)


def tail(settings: HostSettings, guest: GuestId, *, most_bytes: int, lines: int = 0) -> bytes:
    """The end of a guest's log, at most so many bytes: its last `lines`, or as much as that for 0. A log that was rotated just now goes on
    in the last rotated one.

    Raises `InvalidRequest` if the guest has no log.
    """
    folder, name = _folder(settings), files.inside(_folder(settings), f"{guest}.log").name
    found = files.tail(folder, name, most_bytes)
    if found is None:
        raise InvalidRequest(
            f"guest {guest} has no console log in {folder}: it has not run yet, or was started from a template, with --serial-log or by an "
            "earlier pinfold",
            key="guest",
        )
    if len(found) < most_bytes:
        found = (files.tail(folder, f"{name}.0", most_bytes - len(found)) or b"") + found
    if not lines:
        return found
    return b"".join(found.splitlines(keepends=True)[-lines:])


def trim(settings: HostSettings, *, most_bytes: int = MOST_BYTES) -> None:
    """Rotate the logs that are longer than that: their end becomes `GUEST.log.0`, and the guest goes on with an empty one.

    QEMU appends, so that it does not notice. What a guest prints in the moment between the copy and the cut is lost.
    Never fails: a log that cannot be trimmed is named in pinfold's log, and the others are trimmed.
    """
    folder = _folder(settings)
    try:
        names = files.names(folder)
    except OSError as error:
        _log.warning("the console logs in %s cannot be trimmed: %s", folder, error.strerror)
        return
    for name in names:
        if not name.endswith(".log"):
            continue
        try:
            known = (folder / name).lstat()
            if stat.S_ISREG(known.st_mode) and known.st_size > most_bytes:
                _rotate(folder, name)
        except FileNotFoundError:
            continue  # the guest was removed meanwhile
        except (OSError, InvalidRequest) as error:
            _log.warning("%s cannot be trimmed: %s", folder / name, error)


def _rotate(folder: Path, name: str) -> None:
    """Copy the end of a log and cut the log. On a full disk the older copy makes room; without room even then, the log is only cut."""
    kept = files.tail(folder, name, _KEPT_BYTES)
    if kept is None:
        return
    copy = f"{name}.0"
    if not _written(folder, copy, kept):
        files.remove(folder, copy)
        if not _written(folder, copy, kept):
            _log.warning("%s was cut without a copy of its end: the disk is full", folder / name)
    files.empty(folder, name)


def _written(folder: Path, name: str, content: bytes) -> bool:
    """Whether there was room for a file with that content. Without it, an older file of that name stays."""
    try:
        with files.written(folder, name, mode=0o600) as stream:
            stream.write(content)
    except OSError as error:
        if error.errno in _NO_ROOM:
            return False
        raise
    return True


def _folder(settings: HostSettings) -> Path:
    return Path(settings.state_dir, "serial")

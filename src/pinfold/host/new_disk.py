"""Make the disk and the config drive of a guest anew: first beside the old ones, then in their place.

1. `make` checks the image, and makes `ID.new.qcow2` and `ID.new.iso` in the folder of overlays. The guest may run meanwhile, and whatever
   fails here leaves it as it is.
2. `take` gives them the names of the old ones, once the guest has ended. It writes into `ID.rebuilt` with which boot that was.

A process may die at any point: what `boot_of` returns says whether to begin anew. The guest must not run before `take` has returned, so
that nothing that it wrote is ever made anew again.
"""

from __future__ import annotations

import os
from pathlib import Path

from pinfold.core.errors import InvalidRequest
from pinfold.core.identity import GuestId
from pinfold.core.settings import HostSettings
from pinfold.drivers.port import Boot
from pinfold.host import boot_marks, disk, files
from pinfold.host.boot_marks import BootMark
from pinfold.host.lock import host_key, state_folder


def boot_of(settings: HostSettings, guest: GuestId) -> int:
    """The boot with which the guest's disk was made anew last; 0 if it is the one that the guest was made with.

    Raises `InvalidRequest` for a damaged file.
    """
    return boot_marks.boot_of(settings, guest, BootMark.DISK_MADE_ANEW)


def make(settings: HostSettings, guest: GuestId, boot: Boot, disk_gib: int, drive: bytes | None) -> None:
    """Make the new disk of `disk_gib` GiB (0 means the image's size), if the boot has one, and the new config drive, if it has an image.

    Raises `InvalidRequest` naming the file if the image is missing or unusable, and if there is no space; nothing is left then.
    """
    disk.check(boot)
    folder = state_folder(settings, "overlays", host_key(settings))
    overlay, iso = _path(settings, guest, "new.qcow2"), _path(settings, guest, "new.iso")
    try:
        for path in (overlay, iso):
            files.remove(folder, path.name)
        if boot.disk:
            disk.make_overlay(boot, disk_gib, overlay)
            _flush(overlay)
        if drive is not None:
            with files.written(folder, iso.name, mode=0o600) as stream:
                stream.write(drive)
    except BaseException as error:
        for path in (overlay, iso):
            files.remove(folder, path.name)
        if isinstance(error, OSError):
            raise InvalidRequest(f"the new disk of guest {guest} cannot be written: {error.strerror}", key="disk") from error
        raise


def take(settings: HostSettings, guest: GuestId, boot: int) -> None:
    """Put what `make` made in the place of the old disk and drive, and write down with which boot. What it did not make is gone then.

    All of it is on the disk when this returns. Raises `OSError` if it cannot be written: the disk may be the new one by then, so the caller
    begins anew, before the guest runs.
    """
    folder = state_folder(settings, "overlays", host_key(settings))
    for new, old in (("new.iso", "iso"), ("new.qcow2", "qcow2")):
        made = _path(settings, guest, new)
        if made.exists():
            made.replace(_path(settings, guest, old))
        else:
            files.remove(folder, _path(settings, guest, old).name)
    disk.settled(settings, guest)
    boot_marks.write(settings, guest, BootMark.DISK_MADE_ANEW, boot)


def _path(settings: HostSettings, guest: GuestId, suffix: str) -> Path:
    overlay = disk.overlay_path(settings, guest)
    return files.inside(overlay.parent, f"{guest}.{suffix}")


def _flush(path: Path) -> None:
    """Flush a file to the disk."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

"""Prepare a guest's boot files: check that they exist, and give its disk an overlay.

Overlays are qcow2 files `STATE_DIR/overlays/HOST/ID.qcow2`; the image below is only read. An empty file `ID.starting` beside an overlay
means that its guest never ran. Without it the guest may have written to the overlay, and only `remove` deletes it.
Formats are never guessed from content, because a raw image can pretend to be a qcow2 image with any file of the host as backing file.
"""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from pinfold.core.errors import InvalidRequest, Unavailable
from pinfold.core.identity import GuestId
from pinfold.core.settings import HostSettings
from pinfold.drivers.port import Boot, GuestState, HostGuest
from pinfold.host import files
from pinfold.host.lock import host_key, state_folder

FORMATS: Final = ("raw", "qcow2")
_GIB: Final = 1024**3
_SECONDS: Final = 60.0
_EXTERNAL_DATA: Final = 1 << 2
"""The incompatible feature bit of a qcow2 image with its content in another file."""
_ID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)

_log = logging.getLogger(__name__)


def overlay_path(settings: HostSettings, guest: GuestId) -> Path:
    """The path of the overlay of the guest with that id; it may not exist. Raises `InvalidRequest` if the id is no UUID in plain form."""
    return files.inside(_folder(settings), f"{_checked(guest)}.qcow2")


def drive_path(settings: HostSettings, guest: GuestId) -> Path:
    """The path of the guest's config drive; it may not exist."""
    return files.inside(_folder(settings), f"{_checked(guest)}.iso")


def prepare(
    settings: HostSettings,
    guest: GuestId,
    boot: Boot,
    disk_gib: int,
    *,
    again: bool = False,
    drive: bytes | None = None,
) -> Boot:
    """The boot with its disk replaced by the guest's overlay, and with its config drive, of which `drive` is the image.

    Uses the existing overlay, else creates one of `disk_gib` GiB (0 means the image's size). Raises `InvalidRequest` naming the file if
    it is missing or unusable, and if the state directory is full; a new overlay is then removed. A guest that starts `again` must have
    its overlay: a missing one is an error, so that it never starts with an empty disk. The same goes for its config drive.
    """
    boot = _with_overlay(settings, guest, boot, disk_gib, again=again)
    if drive is not None:
        folder = state_folder(settings, "overlays", host_key(settings))
        try:
            with files.written(folder, drive_path(settings, guest).name, mode=0o600) as stream:
                stream.write(drive)
        except OSError as error:
            raise InvalidRequest(f"the config drive of guest {guest} cannot be written: {error.strerror}", key="config_drive") from error
        return replace(boot, config_drive=str(drive_path(settings, guest)))
    if boot.config_drive and not drive_path(settings, guest).is_file():
        raise InvalidRequest(f"the config drive of guest {guest}, which ran before, is not at {boot.config_drive}", key="config_drive")
    return boot


def _with_overlay(settings: HostSettings, guest: GuestId, boot: Boot, disk_gib: int, *, again: bool) -> Boot:
    check(boot)
    if not boot.disk:
        return boot
    overlay = overlay_path(settings, guest)
    if overlay.is_symlink():
        raise InvalidRequest(f"{overlay} is a link; a guest's disk is a file in that folder", key=str(overlay))
    if overlay.exists():
        # If somebody removed only the guest's definition, its disk is still there: use it.
        return replace(boot, disk=str(overlay), disk_format="qcow2")
    if again:
        raise InvalidRequest(f"the disk of guest {guest}, which ran before, is not at {overlay}", key=str(overlay))
    state_folder(settings, "overlays", host_key(settings))
    _starting(settings, guest).touch(mode=0o600)
    try:
        make_overlay(boot, disk_gib, overlay)
    except BaseException:
        discard(settings, guest, (overlay,))
        raise
    return replace(boot, disk=str(overlay), disk_format="qcow2")


def check(boot: Boot) -> None:
    """Raises `InvalidRequest` naming the file if one is missing or is no file, and for an unknown format of the disk."""
    for what, path in (("ROM", boot.rom), ("kernel", boot.kernel), ("initrd", boot.initrd), ("image", boot.disk)):
        if path:
            _check_file(what, path)
    if boot.disk and boot.disk_format not in FORMATS:
        raise InvalidRequest(f"disk format {boot.disk_format!r} is not known, allowed are {' and '.join(FORMATS)}", key="disk_format")


def make_overlay(boot: Boot, disk_gib: int, path: Path) -> None:
    """Makes an overlay of the boot's disk, of `disk_gib` GiB (0 means the image's size).

    Raises `InvalidRequest` if the image is unusable or larger; a part of the overlay may be left then.
    """
    size = _size(boot, disk_gib)
    _qemu_img("create", "-q", "-f", "qcow2", "-F", boot.disk_format, "-b", boot.disk, str(path), str(size))
    path.chmod(0o600)


def remove(settings: HostSettings, guest: GuestId) -> None:
    """Deletes the guest's overlay and config drive, new ones and marks beside them; missing ones are no error."""
    for suffix in ("qcow2", "iso", "new.qcow2", "new.iso", "rebuilt", "resumed"):
        files.remove(_folder(settings), f"{_checked(guest)}.{suffix}")
    settled(settings, guest)


def lacking(settings: HostSettings, guest: GuestId) -> tuple[Path, ...]:
    """Those of its overlay and its config drive that the guest does not have yet. If its first start fails, `discard` deletes them."""
    return tuple(path for path in (overlay_path(settings, guest), drive_path(settings, guest)) if not os.path.lexists(path))


def discard(settings: HostSettings, guest: GuestId, made: Iterable[Path]) -> None:
    """Deletes files that a start of the guest made, and the mark of its overlay with it; missing ones are no error."""
    for path in made:
        files.remove(path.parent, path.name)
        if path == overlay_path(settings, guest):
            settled(settings, guest)


def settled(settings: HostSettings, guest: GuestId) -> None:
    """Mark the overlay as kept, because the guest is about to run or is gone. `sweep` no longer deletes it."""
    files.remove(_folder(settings), f"{_checked(guest)}.starting")


def has_run(settings: HostSettings, guest: GuestId) -> bool:
    """Whether the guest has an overlay that it may have written to."""
    return overlay_path(settings, guest).exists() and not _starting(settings, guest).exists()


def sweep(settings: HostSettings, guests: Iterable[HostGuest]) -> None:
    """Deletes overlays of starts that were killed before libvirt knew the guest. Call it under the host's lock, with every guest.

    It never deletes a settled overlay: that is somebody's disk, even without a definition. If a guest is no longer paused as its start
    left it, somebody may have resumed it by hand; then its overlay is settled too.
    """
    known = {guest.id: guest for guest in guests}
    for name in files.names(_folder(settings)):
        started = GuestId(name.removesuffix(".starting"))
        if started == name or not _ID.fullmatch(started):
            continue
        guest = known.get(started)
        if guest is None:
            _log.warning("the start of guest %s was killed; its overlay is deleted", started)
            remove(settings, started)
        elif guest.state is not GuestState.PAUSED:
            settled(settings, started)


def refuse_references(path: Path) -> None:
    """Raises `InvalidRequest` for a qcow2 image that needs another file, because that could be any file of the host.

    Reads only the header (interop/qcow2 in the documentation of QEMU), because qemu-img would open the other file.
    """
    with path.open("rb") as stream:
        header = stream.read(80)
    if header[:4] != b"QFI\xfb" or len(header) < 72:
        raise InvalidRequest("the image is not qcow2, as its suffix says", key="image")
    version, backing = int.from_bytes(header[4:8], "big"), int.from_bytes(header[8:16], "big")
    features = int.from_bytes(header[72:80], "big") if version >= 3 else 0
    if backing or features & _EXTERNAL_DATA:
        raise InvalidRequest("the image names another file; only a self-contained image is allowed", key="image")


def _folder(settings: HostSettings) -> Path:
    return Path(settings.state_dir, "overlays", host_key(settings))


def _checked(guest: GuestId) -> str:
    if not _ID.fullmatch(guest):
        raise InvalidRequest(f"guest id {guest[:64]!r} is not a UUID in its plain form", key="id")
    return guest


def _starting(settings: HostSettings, guest: GuestId) -> Path:
    return overlay_path(settings, guest).with_suffix(".starting")


def _check_file(what: str, path: str) -> None:
    if not path.startswith("/"):
        raise InvalidRequest(f"{what} {path} is not an absolute path", key=path)
    if not Path(path).exists():
        raise InvalidRequest(f"{what} {path} does not exist", key=path)
    if not Path(path).is_file():
        raise InvalidRequest(f"{what} {path} is not a file", key=path)


def _size(boot: Boot, disk_gib: int) -> int:
    """The overlay's size in bytes. Raises `InvalidRequest` if the image is larger than the requested disk."""
    answer = json.loads(_qemu_img("info", "--output=json", "-f", boot.disk_format, boot.disk))
    image = int(answer["virtual-size"])
    if disk_gib == 0:
        return image
    if image > disk_gib * _GIB:
        raise InvalidRequest(f"image {boot.disk} is {-(-image // _GIB)} GiB large, the flavor's disk only {disk_gib} GiB", key=boot.disk)
    return disk_gib * _GIB


def _qemu_img(*arguments: str) -> str:
    command: Sequence[str] = ("qemu-img", *arguments)
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False, stdin=subprocess.DEVNULL)
    except FileNotFoundError as error:
        raise InvalidRequest("qemu-img is not installed; it makes the guest's disk (package qemu-utils)", key="qemu-img") from error
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"qemu-img {arguments[0]} gave no answer within {_SECONDS:.0f} s") from error
    if done.returncode != 0:
        said = " ".join(done.stderr.split()).removeprefix("qemu-img: ") or f"status {done.returncode}"
        raise InvalidRequest(f"the guest's disk cannot be made: {said}", key=arguments[-1])
    return done.stdout

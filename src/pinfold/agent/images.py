"""Find the image of an order: in the agent's own image directory, or downloaded once from the service."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from pinfold.agent.client import ServiceClient
from pinfold.core.errors import InvalidRequest
from pinfold.core.identity import GuestId
from pinfold.core.settings import HostSettings
from pinfold.drivers.port import Boot
from pinfold.host import disk, files, serial
from pinfold.host.lock import state_folder

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._ @+-]{0,127}")
_SUFFIXES: Final = (".rom", ".kernel", ".qcow2", ".raw", ".img")
_fetching: Final = threading.Lock()
"""Held during a download, so that two starts from one image download it once."""


def boot_of(settings: HostSettings, service: ServiceClient, image: str, guest: GuestId) -> Boot:
    """What a guest of that image boots; an empty `Boot` for ''. Its serial console is written to `STATE_DIR/serial/GUEST.log`.

    Raises `InvalidRequest` when no directory has the image, `Unavailable` when it must be downloaded and the service is away.
    """
    log = str(serial.log_of(settings, guest))
    if not image:
        return Boot(serial_log=log)
    path = _find(settings, service, image)
    match path.suffix:
        case ".rom":
            return Boot(rom=str(path), serial_log=log)
        case ".kernel":
            initrd = path.with_suffix(".initrd")
            return Boot(
                kernel=str(path),
                initrd=str(initrd) if initrd.is_file() and not initrd.is_symlink() else "",
                cmdline="console=ttyS0",
                serial_log=log,
            )
        case ".qcow2":
            return Boot(disk=str(path), disk_format="qcow2", serial_log=log)
        case _:
            return Boot(disk=str(path), disk_format="raw", serial_log=log)


def _find(settings: HostSettings, service: ServiceClient, image: str) -> Path:
    if not _NAME.fullmatch(image):
        raise InvalidRequest(f"image {image[:64]!r} is no image's name", key="image")
    here = _here(settings, image)
    if here is not None:
        return here
    with _fetching:
        return _here(settings, image) or _fetched(settings, service, image)


def _fetched(settings: HostSettings, service: ServiceClient, image: str) -> Path:
    """Download and check the image. The file appears whole or not at all."""
    folder = state_folder(settings, "fetched")
    with service.image(image) as coming:
        if coming.suffix not in _SUFFIXES:
            raise InvalidRequest(f"image {image}: the service named the suffix {coming.suffix[:32]!r}, not one of {', '.join(_SUFFIXES)}")
        with files.written(folder, f"{image}{coming.suffix}", check=_look_at(coming.suffix)) as stream:
            coming.copy_to(stream)
    return files.inside(folder, f"{image}{coming.suffix}").resolve()


def _look_at(suffix: str) -> Callable[[Path], None]:
    """Check a downloaded image: a raw one is only bytes, but a qcow2 one may name other files."""

    def look(path: Path) -> None:
        if suffix == ".qcow2":
            disk.refuse_references(path)

    return look


def _here(settings: HostSettings, image: str) -> Path | None:
    for folder in (Path(settings.images_dir), Path(settings.state_dir, "fetched")):
        for suffix in _SUFFIXES:
            path = folder / f"{image}{suffix}"
            if path.is_file() and not path.is_symlink():
                return path.resolve()
    return None

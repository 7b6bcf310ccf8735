"""An order's image as something to boot: from the agent's own image directory, or fetched from the service once."""

from __future__ import annotations

import re
import threading
from pathlib import Path
from typing import Final

from pinfold.agent.client import ServiceClient
from pinfold.core.errors import InvalidRequest
from pinfold.core.settings import HostSettings
from pinfold.drivers.port import Boot
from pinfold.host.lock import state_folder

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._ @+-]{0,127}")
_SUFFIXES: Final = (".rom", ".kernel", ".qcow2", ".raw", ".img")
_fetching: Final = threading.Lock()
"""Held while an image is fetched: two starts of one image fetch it once."""


def boot_of(settings: HostSettings, service: ServiceClient, image: str, guest: str) -> Boot:
    """What a guest of that image boots; nothing at all for ''. Its serial console goes to `STATE_DIR/serial/GUEST.log`.

    Raises `InvalidRequest` when the image is nowhere, `Unavailable` when it had to be fetched and the service is away.
    """
    log = str(state_folder(settings, "serial") / f"{guest}.log")
    if not image:
        return Boot(serial_log=log)
    path = _find(settings, service, image)
    match path.suffix:
        case ".rom":
            return Boot(rom=str(path), serial_log=log)
        case ".kernel":
            initrd = path.with_suffix(".initrd")
            return Boot(kernel=str(path), initrd=str(initrd) if initrd.is_file() else "", cmdline="console=ttyS0", serial_log=log)
        case ".qcow2":
            return Boot(disk=str(path), disk_format="qcow2", serial_log=log)
        case _:
            return Boot(disk=str(path), disk_format="raw", serial_log=log)


def forget_serial_log(settings: HostSettings, guest: str) -> None:
    """Delete a guest's serial log; none is no error."""
    Path(settings.state_dir, "serial", f"{guest}.log").unlink(missing_ok=True)


def _find(settings: HostSettings, service: ServiceClient, image: str) -> Path:
    if not _NAME.fullmatch(image):
        raise InvalidRequest(f"image {image[:64]!r} is no image's name", key="image")
    here = _here(settings, image)
    if here is not None:
        return here
    folder = state_folder(settings, "fetched")
    with _fetching:
        return _here(settings, image) or service.download(image, lambda suffix: folder / f"{image}{suffix}")


def _here(settings: HostSettings, image: str) -> Path | None:
    for folder in (Path(settings.images_dir), Path(settings.state_dir, "fetched")):
        for suffix in _SUFFIXES:
            path = folder / f"{image}{suffix}"
            if path.is_file() and not path.is_symlink():
                return path.resolve()
    return None

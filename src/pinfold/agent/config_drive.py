"""Make a guest's config drive: an ISO 9660 image of the files that `core.config_drive` lays out."""

from __future__ import annotations

import io
import os
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any, Final

import pycdlib

from pinfold.agent.client import ServiceClient
from pinfold.agent.wire import GuestOrder
from pinfold.core.config_drive import LABEL, META_DATA, USER_DATA, drive_files, with_kept
from pinfold.core.errors import InvalidRequest

_SEED_BYTES: Final = 512


def fetched_drive(service: ServiceClient, order: GuestOrder, before: Path | None = None) -> bytes:
    """The image of the guest's config drive, with what the service says now, and what the guest keeps of its drive `before`.

    Raises `Unavailable` when the service is away, `InvalidRequest` when it no longer has the configuration, which it forgets when the guest
    runs, and when the drive before cannot be read.
    """
    config = service.config(order.guest)
    if config.kept and before is not None:
        config = with_kept(config, _content(before))
    dedicated = tuple(order.request.dedicated)
    return iso_image(drive_files(order.guest, config, dedicated=dedicated, seed=os.urandom(_SEED_BYTES), ports=order.ports))


def _content(drive: Path) -> dict[str, bytes]:
    """The files of a drive that a guest may keep, by path. Guests cannot write to their drives, so it is as it was made."""
    image: Any = pycdlib.PyCdlib()
    found = {}
    try:
        image.open(str(drive))
        try:
            for name in (META_DATA, USER_DATA):
                written = io.BytesIO()
                with suppress(pycdlib.pycdlibexception.PyCdlibInvalidInput):  # no such file
                    image.get_file_from_iso_fp(written, joliet_path=f"/{name}")
                    found[name] = written.getvalue()
        finally:
            image.close()
    except (OSError, pycdlib.pycdlibexception.PyCdlibException) as error:
        raise InvalidRequest(
            f"the config drive {drive}, of which the guest keeps a part, cannot be read: {error}", key="config_drive"
        ) from error
    return found


def iso_image(content: tuple[tuple[str, bytes], ...]) -> bytes:
    """An image with the label of a config drive and these files, readable by their names with Joliet and with Rock Ridge."""
    image: Any = pycdlib.PyCdlib()
    image.new(interchange_level=4, joliet=3, rock_ridge="1.09", vol_ident=LABEL)
    made: set[PurePosixPath] = set()
    written = io.BytesIO()
    try:
        for name, data in content:
            path = PurePosixPath("/", name)
            for folder in reversed(path.parents[:-1]):
                if folder not in made:
                    image.add_directory(iso_path=str(folder), rr_name=folder.name, joliet_path=str(folder))
                    made.add(folder)
            image.add_fp(io.BytesIO(data), len(data), iso_path=str(path), rr_name=path.name, joliet_path=str(path))
        image.write_fp(written)
    finally:
        image.close()
    return written.getvalue()

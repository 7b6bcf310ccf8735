"""Make a guest's config drive: an ISO 9660 image of the files that `core.config_drive` lays out."""

from __future__ import annotations

import io
import os
from pathlib import PurePosixPath
from typing import Any, Final

import pycdlib

from pinfold.agent.client import ServiceClient
from pinfold.agent.wire import GuestOrder
from pinfold.core.config_drive import LABEL, drive_files

_SEED_BYTES: Final = 512


def fetched_drive(service: ServiceClient, order: GuestOrder) -> bytes:
    """The image of the guest's config drive, with what the service says now. Raises `Unavailable` when the service is away,
    `InvalidRequest` when it no longer has the configuration: it forgets it when the guest runs.
    """
    config = service.config(order.guest)
    dedicated = tuple(order.request.dedicated)
    return iso_image(drive_files(order.guest, config, dedicated=dedicated, seed=os.urandom(_SEED_BYTES), ports=order.ports))


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

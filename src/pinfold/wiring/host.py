"""What a command needs of one host: the driver for its libvirt. What is done with the driver does not belong here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pinfold.core.settings import HostSettings
from pinfold.drivers.port import Driver


@contextmanager
def open_driver(settings: HostSettings) -> Iterator[Driver]:
    """The driver for the host's libvirt, closed when the block ends. Raises `Unavailable` when it cannot be reached."""
    from pinfold.drivers.libvirt.connection import LibvirtDriver

    driver = LibvirtDriver(settings.uri)
    try:
        yield driver
    finally:
        driver.close()

"""What a command needs of one host: the driver for its libvirt, with the right witness. What is done with it does not belong here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a command that needs no host does not pay for it
    from pinfold.core.settings import HostSettings
    from pinfold.drivers.port import Driver


@contextmanager
def open_driver(settings: HostSettings) -> Iterator[Driver]:
    """The driver for the host's libvirt, closed when the block ends. Raises `Unavailable` when it cannot be reached.

    On a synthetic lab procfs shows folded masks, so that the lab's own records are the witness there, and every sight says so.
    """
    from pinfold.drivers.libvirt.driver import LibvirtDriver
    from pinfold.lab.witness import witness_of

    driver = LibvirtDriver(settings.uri, witness=witness_of(settings.uri), realtime_priority=settings.realtime_priority)
    try:
        yield driver
    finally:
        driver.close()

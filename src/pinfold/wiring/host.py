"""Open the driver for a host, with the right witness."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # imported late, because a command without a host does not need it
    from pinfold.core.settings import HostSettings
    from pinfold.drivers.port import Driver


@contextmanager
def open_driver(settings: HostSettings) -> Iterator[Driver]:
    """The driver for the host, closed when the block ends. Raises `Unavailable` when it cannot be reached.

    On a synthetic lab, procfs shows folded masks. There the lab's own records are the witness, and every sight says so.
    """
    from pinfold.drivers import registry
    from pinfold.lab.witness import witness_of

    driver = registry.open_driver(
        settings.uri, witness=witness_of(settings.uri), realtime_priority=settings.realtime_priority, cpu=settings.cpu
    )
    try:
        yield driver
    finally:
        driver.close()

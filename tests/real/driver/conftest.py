"""A driver on a lab host that has no guest, before and after."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pinfold.drivers.libvirt.driver import LibvirtDriver
from pinfold.lab.daemon import LabHost


@contextmanager
def driver_on(lab: LabHost) -> Iterator[LibvirtDriver]:
    """A driver on a lab host, whose guests are removed afterwards."""
    connected = LibvirtDriver(lab.uri)
    try:
        yield connected
    finally:
        for guest in connected.guests():
            connected.stop(guest.id, remove=True)
        connected.close()


@pytest.fixture
def driver(lab: LabHost) -> Iterator[LibvirtDriver]:
    """A driver on one of the four kinds of lab host."""
    with driver_on(lab) as connected:
        yield connected

"""A plugin of pytest for an emulated machine: libvirt is given minutes for an answer that is one of milliseconds elsewhere."""

from __future__ import annotations

import pytest

from pinfold.drivers.libvirt import guests


def pytest_configure(config: pytest.Config) -> None:
    """Set the driver's deadlines, in a run that names this plugin alone: other runs import it for its doctests."""
    guests._READ_SECONDS = guests._LIST_SECONDS = 300.0  # type: ignore[misc]

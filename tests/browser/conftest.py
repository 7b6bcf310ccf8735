"""The application of the stories behind a real socket, and a real Chromium."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.rig.databases import placement_file, sqlite_file
from tests.rig.in_process import Fleet, open_fleet

from pinfold.accounting.embedded import EmbeddedPlacement, load, unload

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

collect_ignore_glob = [] if importlib.util.find_spec("playwright") else ["test_*.py"]
"""Without Playwright, of the development packages, there is nothing to collect here."""

__all__ = ["placement_file", "sqlite_file"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium for a module: while it is open, its thread has an event loop."""
    from tests.rig.browser import chromium

    with chromium() as one:
        yield one


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, sqlite_file: Path, placement_file: Path) -> Iterator[Fleet]:
    """The application without hosts, for all tests of a module."""
    folder = tmp_path_factory.mktemp("fleet")
    shutil.copy(placement_file, folder / "placement.db")
    with open_fleet(folder, sqlite_file, load(EmbeddedPlacement(url=f"sqlite:///{folder}/placement.db"))) as made:
        yield made
    unload()


@pytest.fixture(scope="module")
def url(fleet: Fleet) -> Iterator[str]:
    """The fleet behind a real socket."""
    from tests.rig.served_fleet import served_fleet

    with served_fleet(fleet) as where:
        yield where


@pytest.fixture
def page(browser: Browser, url: str) -> Iterator[Page]:
    """A page, signed in as an admin."""
    from tests.rig.browser import opened, sign_in

    with opened(browser, url) as one:
        sign_in(one)
        yield one

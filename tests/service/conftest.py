"""The fleet's fixtures, and a scheduler on them."""

from __future__ import annotations

import pytest
from tests.fleet_fixtures import database, embedded, placement_file, postgresql, postgresql_url, sqlite_file
from tests.service.claiming import EAGER

from pinfold.accounting.client import Placement
from pinfold.accounting.embedded import Embedded
from pinfold.service.schedule import Scheduler
from pinfold.store.database import Database

__all__ = ["database", "embedded", "placement_file", "postgresql", "postgresql_url", "sqlite_file"]


@pytest.fixture
def placement(embedded: Embedded) -> Placement:
    return embedded.client


@pytest.fixture
def scheduler(database: Database, placement: Placement) -> Scheduler:
    made = Scheduler(database, placement, EAGER)
    made.start()
    return made

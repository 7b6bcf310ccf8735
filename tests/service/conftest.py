"""The fleet's fixtures, and a scheduler on them."""

from __future__ import annotations

import pytest
from tests.rig.databases import database, embedded, placement_file, postgresql, postgresql_url, sqlite_file
from tests.service.claiming import EAGER

from pinfold.accounting.client import Placement
from pinfold.accounting.embedded import Embedded
from pinfold.service.fleet import Fleet, assemble
from pinfold.store.database import Database

__all__ = ["database", "embedded", "placement_file", "postgresql", "postgresql_url", "sqlite_file"]


@pytest.fixture
def placement(embedded: Embedded) -> Placement:
    return embedded.client


@pytest.fixture
def fleet(database: Database, placement: Placement) -> Fleet:
    made = assemble(database, placement, EAGER)
    made.healer.start()
    return made

"""The databases and the fleet of the replay."""

from __future__ import annotations

from tests.rig.databases import embedded, placement_file, postgresql, sqlite_file
from tests.stories.conftest import fleet

__all__ = ["embedded", "fleet", "placement_file", "postgresql", "sqlite_file"]

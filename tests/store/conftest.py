"""The fleet's fixtures."""

from tests.rig.databases import database, embedded, placement_file, postgresql, postgresql_url, sqlite_file

__all__ = ["database", "embedded", "placement_file", "postgresql", "postgresql_url", "sqlite_file"]

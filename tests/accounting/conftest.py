"""The fleet's fixtures."""

from tests.fleet_fixtures import database, embedded, placement_file, postgresql, postgresql_url, sqlite_file

__all__ = ["database", "embedded", "placement_file", "postgresql", "postgresql_url", "sqlite_file"]

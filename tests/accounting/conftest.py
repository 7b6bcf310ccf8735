"""The fleet's fixtures."""

from tests.fleet_fixtures import database, embedded, postgresql

__all__ = ["database", "embedded", "postgresql"]

"""Databases of both kinds."""

from tests.rig.databases import database, postgresql, postgresql_url, sqlite_file

__all__ = ["database", "postgresql", "postgresql_url", "sqlite_file"]

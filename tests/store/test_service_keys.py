"""The keys that all processes of the service share, on real databases."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from pinfold.store.database import Database
from pinfold.store.service_keys import shared_key


def test_processes_that_make_a_key_at_once_get_the_same(database: Database) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: database.change(lambda connection: shared_key(connection, "one")), range(16)))
    assert len(found) == 1
    (key,) = found
    assert len(key) == 32
    assert database.change(lambda connection: shared_key(connection, "two")) != key

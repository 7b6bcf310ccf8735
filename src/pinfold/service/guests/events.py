"""`Events`: keep what users ask of guests, and who asks. The reports of agents say how it ended."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pinfold.core.errors import PinfoldError
from pinfold.core.identity import GuestId
from pinfold.store import guest_events
from pinfold.store.database import Database
from pinfold.store.records import Requester


class Events:
    """Records what is asked. Safe to share between threads; any number of processes may use one on the same database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @contextmanager
    def asked(self, guest_id: GuestId, action: str, by: Requester, *, at_once: bool = False) -> Iterator[int]:
        """Keep that an action is asked of a guest, and give the event's number. The event is forgotten if the action is refused inside, and
        ends `at_once` if no agent has to hear of it.
        """
        with self._database.write() as connection:
            number = guest_events.begin(connection, guest_id, action, by)
        try:
            yield number
        except PinfoldError:
            with self._database.write() as connection:
                guest_events.forget(connection, number)
            raise
        if at_once:
            with self._database.write() as connection:
                guest_events.end(connection, guest_id)

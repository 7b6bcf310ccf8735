"""`ReadyConnections`: connections of PostgreSQL on which every statement commits by itself, kept between one statement and the next.

A connection that goes back to the pool is set to begin transactions again, and set anew when it is taken out. That costs a process more
than many a statement. Transactions belong to `database`.
"""

from __future__ import annotations

import time
from collections import deque
from typing import Any, Final

import sqlalchemy as sa

TRUSTED_SECONDS: Final = 1.0
"""A connection that was used this recently is not checked before its next use."""
USED: Final = "pinfold_used"
"""In a pooled connection's `info`: when it was last used, by the monotonic clock."""
MOST_KEPT: Final = 4
_KEPT_SINCE: Final = "pinfold_kept_since"


class ReadyConnections:
    """Safe to share between threads: each takes a connection of its own."""

    def __init__(self, engine: sa.Engine, pool_size: int) -> None:
        self._engine = engine
        # What is kept counts as taken from the pool, most of which must stay for transactions.
        self._most = min(MOST_KEPT, pool_size // 2)
        self._kept: deque[tuple[float, sa.Connection]] = deque()

    def __len__(self) -> int:
        """How many are kept now."""
        return len(self._kept)

    def take(self) -> sa.Connection:
        """One that was used just now, or one that the pool has checked."""
        while self._kept:
            try:
                since, connection = self._kept.pop()
            except IndexError:  # another thread was faster
                break
            if time.monotonic() - since < TRUSTED_SECONDS:
                return connection
            self._give_back(since, connection)
        return self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")

    def keep(self, connection: sa.Connection) -> None:
        """Keep a connection whose statement has succeeded; one that is too many goes back to the pool."""
        if len(self._kept) < self._most:
            self._kept.append((time.monotonic(), connection))
        else:
            connection.close()

    def close(self) -> None:
        """Give back what is kept."""
        while self._kept:
            self._give_back(*self._kept.pop())

    def _give_back(self, since: float, connection: sa.Connection) -> None:
        connection.info[_KEPT_SINCE] = since
        connection.close()


def note_use(_connection: Any, record: Any) -> None:
    """Listens to what comes back to the pool."""
    record.info[USED] = record.info.pop(_KEPT_SINCE, None) or time.monotonic()

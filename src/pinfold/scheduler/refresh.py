"""`Freshness`: keep the index at the store's revisions by reading every host's mark from time to time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable

from pinfold.core.identity import HostId
from pinfold.scheduler.index import Entry, Index, entry
from pinfold.store import claims, hosts
from pinfold.store.database import Database


class Freshness:
    """Reads changes into the index. Safe to share between threads: one reads, the others continue with what there is."""

    def __init__(self, database: Database, index: Index, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._index = index
        self._seconds = seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._looked = float("-inf")

    def look(self) -> None:
        """Bring the index up to date if the last look was long enough ago. Waits only for the first look ever, before which there is
        nothing. Raises `Unavailable`.
        """
        if self._clock() - self._looked < self._seconds or not self._lock.acquire(blocking=self._looked == float("-inf")):
            return
        try:
            if self._clock() - self._looked >= self._seconds:  # who waited has what the other read
                self._read()
        finally:
            self._lock.release()

    def now(self) -> None:
        """Bring the index up to date at once. Raises `Unavailable`."""
        with self._lock:
            self._read()

    def host(self, host: HostId) -> Entry | None:
        """Read one host again; None when it is gone."""
        self._load((host,))
        return self._index.get(host)

    def _read(self) -> None:
        began = self._clock()
        with self._database.read_once() as connection:
            marks = hosts.marks(connection)
        reread, gone = self._index.stale(marks)
        self._index.drop(gone)
        if len(reread) < len(marks):
            reread = self._catch_up(reread)
        if reread:
            self._load(None if len(reread) == len(marks) else reread)
        self._looked = began

    def _catch_up(self, changed: frozenset[HostId]) -> frozenset[HostId]:
        """Take over the new claims of hosts that others have claimed on, with one statement; their other claims need not be read again.
        Returns the hosts to which something else has come.
        """
        known = {host: entry.state.revision for host in changed if (entry := self._index.get(host)) is not None}
        if not known:
            return changed
        with self._database.read_once() as connection:
            found = claims.since_each(connection, known)
        return changed - {host for host, news in found.items() if self._index.catch_up(host, news) is not None}

    def _load(self, wanted: Iterable[HostId] | None) -> None:
        ids = None if wanted is None else sorted(wanted)
        with self._database.read() as connection:
            found = hosts.ledgers(connection, ids)
        self._index.put([entry(one) for one in found])
        if ids is not None:
            self._index.drop(set(ids) - {one.record.id for one in found})

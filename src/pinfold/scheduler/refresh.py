"""`Freshness`: keep the index at the store's revisions by looking from time to time at the marks of the hosts that have changed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Final

from pinfold.core.identity import HostId
from pinfold.scheduler.index import Entry, Index, entry
from pinfold.store import host_news, hosts
from pinfold.store.database import Database

_OVERLAP: Final = 5.0
"""So many seconds of marks before the newest known one are read again: a transaction says when it marked a host, and ends later."""
_DOWN_SECONDS: Final = 5.0
"""Between two looks that also find hosts whose lease has ended by itself, which changes no row."""
_ALL_SECONDS: Final = 30.0
"""Between two looks at all marks, which find what was stored later than `_OVERLAP`, and hosts that are gone."""
_NEVER: Final = float("-inf")


class Freshness:
    """Reads changes into the index. Safe to share between threads: one reads, the others continue with what there is."""

    def __init__(self, database: Database, index: Index, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._index = index
        self._seconds = seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._looked = _NEVER
        self._down_again = _NEVER
        self._all_again = _NEVER
        self._newest = 0.0
        self._known: dict[HostId, tuple[float, int]] = {}

    def known(self, host: HostId, revision: int) -> None:
        """Say that this process has just made the host's newest revision and foresees the claims that come to it. For a while the looks
        need not read these claims: the next of its own claims there hears of them.
        """
        self._known[host] = self._clock(), revision

    def look(self) -> None:
        """Bring the index up to date if the last look was long enough ago. Waits only for the first look ever, before which there is
        nothing. Raises `Unavailable`.
        """
        if self._clock() - self._looked < self._seconds or not self._lock.acquire(blocking=self._looked == _NEVER):
            return
        try:
            if self._clock() - self._looked >= self._seconds:  # who waited has what the other read
                self._read(self._recent())
        finally:
            self._lock.release()

    def now(self) -> None:
        """Bring the index up to date at once, by the marks of all hosts. Raises `Unavailable`."""
        with self._lock:
            self._all_again = _NEVER
            self._read()

    def host(self, host: HostId) -> Entry | None:
        """Read one host again; None when it is gone. If it is down, others may be, and the next look finds them."""
        self._load((host,))
        found = self._index.get(host)
        if found is None or not found.up:
            self._down_again = _NEVER
        return found

    def _recent(self) -> dict[HostId, float]:
        """When the hosts were `known` of which that is not long ago."""
        after = self._clock() - self._seconds / 2
        found = {}
        for host, (when, revision) in self._known.copy().items():  # other threads add to it meanwhile
            entry = self._index.get(host)
            if when <= after:
                self._known.pop(host, None)
            elif entry is not None and entry.state.revision >= revision:
                found[host] = when
        return found

    def _read(self, left_out: Mapping[HostId, float] = MappingProxyType({})) -> None:
        """Read what has changed. Of hosts that are left out the index has what was there at that time, and the look counts as made then:
        so no host is ever older than the time between two looks, but for a lease that ended by itself.
        """
        began = self._clock()
        every, down = began >= self._all_again, began >= self._down_again
        # Before the marks are read: who meets a host that is down meanwhile asks for one more look.
        if every:
            self._all_again = began + _ALL_SECONDS
        if every or down:
            self._down_again = began + _DOWN_SECONDS
        with self._database.read_once() as connection:
            # What is left out was marked less than the time between two looks ago, so later looks find it again.
            since = self._newest - _OVERLAP - self._seconds
            marks = hosts.marks(connection) if every else hosts.marks_since(connection, since, down=down)
        if every:
            self._index.drop(self._index.without(marks))
        reread = self._index.stale(marks)
        waiting = reread & left_out.keys()
        reread -= waiting
        anew = every and len(reread) == len(marks)
        if not anew:
            reread = self._catch_up(reread)
        if reread:
            self._load(None if anew else reread)
        self._newest = max([mark.marked for mark in marks], default=self._newest)
        self._looked = min([began, *(left_out[host] for host in waiting)])

    def _catch_up(self, changed: frozenset[HostId]) -> frozenset[HostId]:
        """Take over the new claims of hosts that others have claimed on, with one statement; their other claims need not be read again.
        Returns the hosts to which something else has come.
        """
        known = {host: entry.state.revision for host in changed if (entry := self._index.get(host)) is not None}
        if not known:
            return changed
        with self._database.read_once() as connection:
            found = host_news.since_each(connection, known)
        return changed - {host for host, news in found.items() if self._index.catch_up(host, news) is not None}

    def _load(self, wanted: Iterable[HostId] | None) -> None:
        ids = None if wanted is None else sorted(wanted)
        with self._database.read() as connection:
            found = hosts.ledgers(connection, ids)
        self._index.put([entry(one) for one in found])
        if ids is not None:
            self._index.drop(set(ids) - {one.record.id for one in found})

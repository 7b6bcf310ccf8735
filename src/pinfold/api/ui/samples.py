"""`Samples`: what the pages know of the last minute of hosts. Agents have the samples and are asked for them while somebody looks.

A page shows what is known when it is read. Answers that arrive later change the mark of the page, and it is read again.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Final

from pinfold.core.encoding import decoder
from pinfold.core.history import KEPT_SECONDS as HOUR_SECONDS
from pinfold.core.history import HostHistory
from pinfold.core.identity import HostId
from pinfold.core.load import LATELY_SECONDS, HostLoad, lately
from pinfold.service.hosts import Hosts
from pinfold.store import history
from pinfold.store.database import Database
from pinfold.store.unreadable import read_or

ASK_SECONDS: Final = 20.0
"""How often the agent of a host is asked while somebody looks."""
KEPT_SECONDS: Final = 120.0
"""For how long an answer is shown while no newer one arrives."""
MOST_HOSTS: Final = 256

_read = decoder(HostHistory)


class Samples:
    """Safe to share between threads."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._known: OrderedDict[HostId, tuple[int, HostLoad | None, float]] = OrderedDict()

    def lately(self, database: Database, service: Hosts, wanted: Iterable[HostId]) -> dict[HostId, HostLoad]:
        """The last minute of those hosts of which it is known. Their agents are asked for newer samples, and nobody waits for them."""
        ids = tuple(wanted)
        service.ask_histories(ids, int(LATELY_SECONDS), every_seconds=ASK_SECONDS)
        with database.read() as connection:
            numbers = history.answers(connection, ids, int(LATELY_SECONDS))
            with self._lock:
                new = [host for host, number in numbers.items() if host not in self._known or self._known[host][0] != number]
            texts = {host: history.answered(connection, host, numbers[host]) for host in new}
        read = {host: _lately(host, text) for host, text in texts.items() if text}
        now = self._clock()
        with self._lock:
            for host, number in numbers.items():
                load = read[host] if host in read else self._known[host][1] if host in self._known else None
                self._known[host] = number, load, now
                self._known.move_to_end(host)
            while len(self._known) > MOST_HOSTS:
                self._known.popitem(last=False)
            kept = {host: known for host in ids if (known := self._known.get(host)) is not None and known[2] > now - KEPT_SECONDS}
        return {host: load for host, (_, load, _) in kept.items() if load is not None}

    def hour(self, database: Database, service: Hosts, host: HostId) -> tuple[int, HostHistory | None]:
        """The number of the agent's answer, and the last hour of its host; None if it is not known yet. Nobody waits for the agent."""
        service.ask_histories((host,), int(HOUR_SECONDS), every_seconds=ASK_SECONDS)
        with database.read() as connection:
            number = history.answers(connection, (host,), int(HOUR_SECONDS)).get(host, 0)
            text = history.answered(connection, host, number) if number else None
        return number, read_or(_read, text, f"the history of host {host}", None) if text else None

    def hour_mark(self, database: Database, service: Hosts, host: HostId) -> int:
        """A number that changes when `hour` does."""
        service.ask_histories((host,), int(HOUR_SECONDS), every_seconds=ASK_SECONDS)
        with database.read() as connection:
            return history.answers(connection, (host,), int(HOUR_SECONDS)).get(host, 0)


def _lately(host: HostId, text: str) -> HostLoad | None:
    found = read_or(_read, text, f"the history of host {host}", None)
    return None if found is None else lately(found)

"""`Samples`: what the pages know of the last minute of hosts. Agents have the samples and are asked for them while somebody looks.

A page shows what is known when it is read. Answers that arrive later change the mark of the page, and it is read again.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from pinfold.core.encoding import decoder
from pinfold.core.history import KEPT_SECONDS as HOUR_SECONDS
from pinfold.core.history import HostHistory
from pinfold.core.identity import HostId
from pinfold.core.load import LATELY_SECONDS, HostLoad, Pressure, lately, pressure
from pinfold.service.hosts import Hosts
from pinfold.store import history
from pinfold.store.database import Database
from pinfold.store.unreadable import read_or

ASK_SECONDS: Final = 20.0
"""How often the agent of a host is asked while somebody looks."""
KEPT_SECONDS: Final = 120.0
"""For how long an answer is shown while no newer one arrives."""
MOST_HOSTS: Final = 256
OTHERS: Final = 50
"""How many hosts that no page shows are asked with each round, in turns, so that the fleet can be sorted by load."""
PRESSURE_SECONDS: Final = 900.0
"""For how long a host is sorted by an answer: in so long every host of 1,000 has its turn, and some of them twice."""
MOST_PRESSURES: Final = 20_000

_read = decoder(HostHistory)


class Samples:
    """Safe to share between threads."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._known: OrderedDict[HostId, tuple[int, HostLoad | None, float]] = OrderedDict()
        self._pressures: OrderedDict[HostId, tuple[Pressure, float]] = OrderedDict()
        self._turn: tuple[HostId, ...] = ()
        self._next_turn = 0.0

    def pressures(self) -> dict[HostId, Pressure]:
        """What is known of the load of every host, also of those that no page shows, to compare them."""
        least = self._clock() - PRESSURE_SECONDS
        with self._lock:
            return {host: known for host, (known, at) in self._pressures.items() if at > least}

    def _turned(self, others: Sequence[HostId]) -> tuple[HostId, ...]:
        """Those of the others whose turn it is."""
        now = self._clock()
        with self._lock:
            if now >= self._next_turn and others:
                ordered = sorted(others)
                place = bisect_right(ordered, self._turn[-1]) % len(ordered) if self._turn else 0
                self._turn = tuple((ordered[place:] + ordered[:place])[:OTHERS])
                self._next_turn = now + ASK_SECONDS
            return self._turn if others else ()

    def lately(
        self, database: Database, service: Hosts, wanted: Iterable[HostId], *, others: Sequence[HostId] = ()
    ) -> dict[HostId, HostLoad]:
        """The last minute of those hosts of which it is known. Their agents are asked for newer samples, and nobody waits for them.

        Of the `others`, some are asked with each round, for `pressures`.
        """
        shown = frozenset(wanted)
        ids = tuple(sorted(shown.union(self._turned(others))))
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
                if load is not None:
                    self._pressures[host] = pressure(load), now
                    self._pressures.move_to_end(host)
            while len(self._known) > MOST_HOSTS:
                self._known.popitem(last=False)
            while len(self._pressures) > MOST_PRESSURES:
                self._pressures.popitem(last=False)
            kept = {host: known for host in shown if (known := self._known.get(host)) is not None and known[2] > now - KEPT_SECONDS}
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

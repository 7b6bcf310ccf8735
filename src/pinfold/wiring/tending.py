"""Compare the hosts with Placement when a service starts, then repair what crashes left behind, in a thread beside the service."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from pinfold.accounting.client import Placement
from pinfold.core.errors import PinfoldError, Unavailable
from pinfold.service.fleet import Fleet

START_SECONDS: Final = 1.0
"""How long a start waits for the comparison with Placement. A fleet that takes longer is served while it goes on."""
FEW: Final = 50
"""A start waits for the comparison of at most so many hosts: more take longer than that."""
_FIRST_SECONDS: Final = 2.0
"""How long the comparison of more hosts leaves the processor to the first requests."""
_GRACE_SECONDS: Final = 5
_AWAY_SECONDS: Final = 2.0
"""How often a peer that is away is tried again."""
_LONG_AWAY_SECONDS: Final = 10.0
"""How often a Placement is tried again that has been away for long: each try costs as much as many agents."""
_LONG_AWAY: Final = 0.1
"""After this share of the time that it has been away, it is tried again."""
_log = logging.getLogger(__name__)


class _Start:
    """The first comparison, for which the service waits a while. Until it goes on, an error other than a Placement that is away ends it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._gone_on = False
        self._error: Exception | None = None

    def end(self) -> bool:
        """The service need not wait any more: the comparison is over, or goes on later. Returns whether this is the first time."""
        first = not self._over.is_set()
        self._over.set()
        return first

    def fail(self, error: Exception) -> bool:
        """Whether the service still waits, and now ends with this error."""
        with self._lock:
            if self._gone_on or self._over.is_set():
                return False
            self._error = error
            self._over.set()
            return True

    def wait(self, seconds: float) -> None:
        """Wait until it is over, at most so long. Raises the error that ended it."""
        self._over.wait(seconds)
        with self._lock:
            self._gone_on = True
            if self._error is not None:
                raise self._error


@contextmanager
def tended(fleet: Fleet, placement: Placement, seconds: float, *, quiet_seconds: float) -> Iterator[None]:
    """Compare all hosts, then repair at once and every so many seconds, until the block ends. It begins after `START_SECONDS` at most, and
    with more than `FEW` hosts as soon as Placement has our names, or before an embedded one is loaded.

    After a run that failed because a peer was away, and after a change of a host could not be written to Placement, all hosts are compared
    as soon as the peer is back. Guests are placed again only after `quiet_seconds`: after a time without an API, every host is down until
    its agent has sent a heartbeat. Raises what the first comparison raises within `START_SECONDS`, unless a Placement is away.
    """
    ended, began, start = threading.Event(), time.monotonic(), _Start()

    def tend() -> None:
        whole = False
        while not ended.is_set():
            try:
                if not whole:
                    many = fleet.healer.hosts() > FEW
                    if not (many and placement.starting):
                        fleet.healer.prepare()
                    if many and start.end():
                        ended.wait(_FIRST_SECONDS)
                    fleet.healer.start()
                    _log.info("Placement is what the store says")
                whole = True
                start.end()
                for problem in fleet.healer.tend(place=time.monotonic() - began > quiet_seconds).problems:
                    _log.warning("%s", problem)
            except Exception as error:  # a bug in one run must not end all healing
                if not (isinstance(error, Unavailable) and placement.away is not None) and start.fail(error):
                    return
                whole = _noted(error, whole)
                start.end()
            whole = _rest(ended, fleet, placement, seconds if whole else min(seconds, _pause(placement))) and whole

    thread = threading.Thread(target=tend, name="pinfold-heal", daemon=True)
    thread.start()
    try:
        start.wait(START_SECONDS)
        yield
    finally:
        ended.set()
        thread.join(timeout=_GRACE_SECONDS)


def _noted(error: Exception, whole: bool) -> bool:
    """Log why a run failed. Returns whether all hosts are still as compared."""
    if isinstance(error, Unavailable):
        if whole:
            _log.warning("healing is tried again: %s", error)
        else:
            _log.warning("the hosts are compared with Placement as soon as all is there: %s", error)
        return False
    if isinstance(error, PinfoldError):
        _log.warning("healing is tried again: %s", error)
    else:
        _log.error("healing is tried again", exc_info=error)
    return whole


def _pause(placement: Placement) -> float:
    away = placement.away
    return _AWAY_SECONDS if away is None else min(_LONG_AWAY_SECONDS, max(_AWAY_SECONDS, _LONG_AWAY * (time.time() - away.since)))


def _rest(ended: threading.Event, fleet: Fleet, placement: Placement, seconds: float) -> bool:
    """Wait that long, or until `ended` is set, or until a Placement that was away has answered somebody else.

    Returns False, and at once, when a host was left behind meanwhile.
    """
    until, away = time.monotonic() + seconds, placement.away is not None
    while (left := until - time.monotonic()) > 0 and not ended.wait(min(left, _AWAY_SECONDS)):
        if away and placement.away is None:
            return True
        if fleet.providers.behind and not away:
            return False
    return True

"""`Lease`: the host's report and the heartbeats that keep it up at the service. What the report says does not belong here (`report`)."""

from __future__ import annotations

import threading
import time
from typing import Final

from pinfold.agent.client import ServiceClient
from pinfold.agent.wire import Hello
from pinfold.store.model import HostReport

SPEAKS: Final = 0.25
"""An agent speaks after so much of its lease, so that one heartbeat that is late or lost is no silence."""
_OVERDUE: Final = 0.4
"""After so much of it, somebody else than the agent's turn has to speak."""


def now() -> float:
    """Seconds by a clock that no one sets and that goes on while the machine is suspended: a lease runs out then as well."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Sight:
    """Whether the host could be looked at the last time; entered by each look."""

    def __init__(self) -> None:
        self._began: float | None = None
        self._clear = False

    def __enter__(self) -> None:
        self._began = now()

    def __exit__(self, kind: object, *_: object) -> None:
        self._began, self._clear = None, kind is None

    def fresh(self, seconds: float) -> bool:
        """Whether the last look succeeded, and none has been going on for longer than that."""
        began = self._began
        return self._clear and (began is None or now() - began < seconds)


class Lease:
    """What the service has heard of the host `name`, and until when the host is up. Any thread may speak; they take turns."""

    def __init__(self, service: ServiceClient, name: str) -> None:
        self._service = service
        self._name = name
        self._lock = threading.Lock()
        self._reported: HostReport | None = None
        self._kept = ""
        self._spoke = float("-inf")
        self._seconds = 6.0

    @property
    def seconds(self) -> float:
        """How long the lease is, as the service said last."""
        return self._seconds

    @property
    def silent(self) -> bool:
        """Whether the service has heard nothing for as long as a lease: the host counts as down, or may."""
        return now() - self._spoke > self._seconds

    def speak(self, report: HostReport) -> bool:
        """Report the host where it changed, else live on where it is time. Whether it has to be reported again."""
        with self._lock:
            began = now()
            if report != self._reported:
                self._reported = None  # until the service has answered nobody knows which report it keeps
                welcome = self._service.hello(Hello(name=self._name, report=report))
                self._reported, self._kept = report, welcome.report
                self._spoke, self._seconds = began, welcome.lease_seconds
                return False
            return self._beat(began) if began - self._spoke >= self._seconds * SPEAKS else False

    def beat_if_overdue(self) -> bool:
        """Live on where the agent's turn is late to say so. Whether the host has to be reported again.

        After a silence only `speak` ends it: the host may have been fenced meanwhile, and has to be looked at first.
        """
        with self._lock:
            began = now()
            if self._reported is None or not self._seconds * _OVERDUE <= began - self._spoke <= self._seconds:
                return False
            return self._beat(began)

    def _beat(self, began: float) -> bool:
        welcome = self._service.heartbeat()
        self._spoke, self._seconds = began, welcome.lease_seconds
        if welcome.report == self._kept:
            return False
        self._reported = None  # an earlier report was heard after the last one
        return True

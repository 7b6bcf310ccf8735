"""`Lease`: send the host's reports and heartbeats that keep the host up at the service. The report's content is in `report`."""

from __future__ import annotations

import threading
import time
from typing import Final

from pinfold.agent.client import ServiceClient
from pinfold.agent.wire import Hello
from pinfold.store.records import HostReport

SPEAKS: Final = 0.25
"""The agent sends after this share of its lease, so that one late or lost heartbeat does not end the lease."""
_OVERDUE: Final = 0.4
"""After this share of the lease, another thread must send the heartbeat if the agent's turn has not."""


def now() -> float:
    """Seconds of a clock that nobody sets and that goes on while the machine is suspended, because a lease then runs out too."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Sight:
    """Records whether the last look at the host succeeded. Enter it for each look."""

    def __init__(self) -> None:
        self._began: float | None = None
        self._clear = False

    def __enter__(self) -> None:
        self._began = now()

    def __exit__(self, kind: object, *_: object) -> None:
        self._began, self._clear = None, kind is None

    def fresh(self, seconds: float) -> bool:
        """Whether the last look succeeded, and no look has been running for longer than that."""
        began = self._began
        return self._clear and (began is None or now() - began < seconds)


class Lease:
    """What the service knows about the host `name`, and until when the host counts as up. Any thread may send; they take turns."""

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
        """The length of the lease, as the service last said."""
        return self._seconds

    @property
    def silent(self) -> bool:
        """Whether the service has not heard from the agent for the length of a lease: the host counts as down, or may."""
        return now() - self._spoke > self._seconds

    def speak(self, report: HostReport) -> bool:
        """Send the host's report if it changed, else a heartbeat if one is due. Returns whether the report must be sent again."""
        with self._lock:
            began = now()
            if report != self._reported:
                self._reported = None  # Until the service answers, the agent does not know which report it keeps.
                welcome = self._service.hello(Hello(name=self._name, report=report))
                self._reported, self._kept = report, welcome.report
                self._spoke, self._seconds = began, welcome.lease_seconds
                return False
            return self._beat(began) if began - self._spoke >= self._seconds * SPEAKS else False

    def beat_if_overdue(self) -> bool:
        """Send a heartbeat if the agent's turn is late with it. Returns whether the report must be sent again.

        After a silence only `speak` ends it: the host may have been fenced meanwhile, so the agent must look at it first.
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
        self._reported = None  # an earlier report arrived after the last one
        return True

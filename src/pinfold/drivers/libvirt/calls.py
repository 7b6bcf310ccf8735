"""`Calls`: calls to libvirt about one guest, each with a deadline, so that a hanging guest does not block the others.

It works around these facts of libvirt 9.0:

1. A call that reaches QEMU's monitor (shutdown, cont, a query) waits for QEMU without a limit. The domain can still be read meanwhile.
2. A daemon runs five calls of one connection at a time and then stops reading, even keepalives. Five hanging calls block the connection.
   So each call here uses its own connection while it lasts; idle connections are reused.
3. A destroy sends SIGTERM and after ten seconds SIGKILL. It holds the domain's lock meanwhile, so reading this domain and listing any
   domain block.

`guests` and `driver` decide what to call and what a hang means.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

from pinfold.drivers.port import GuestHangs

_MOST_IDLE: Final = 3

Answer = TypeVar("Answer")


class OverdueError(Exception):
    """A call has not returned by its deadline. It is still running."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hang:
    """An overdue call about a guest: its name, and when it started (seconds since the epoch)."""

    act: str
    since: float

    def sentence(self) -> str:
        """The hang as a sentence.

        >>> Hang(act="shutdown", since=0.0).sentence()
        'libvirt has not answered its shutdown since 1970-01-01 00:00:00 UTC'
        """
        return f"libvirt has not answered its {self.act} since {time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime(self.since))} UTC"


@dataclass(slots=True, eq=False)
class Call(Generic[Answer]):
    """One running call, which may give several answers. `guest` is '' while it is about no particular guest."""

    act: str
    guest: str
    since: float
    reads: bool
    overdue: bool = False
    _answers: queue.SimpleQueue[tuple[Answer | None, Exception | None]] = field(default_factory=queue.SimpleQueue)
    _kept: Answer | None = None

    def give(self, value: Answer) -> None:
        """Give one answer at once."""
        self._answers.put((value, None))

    def keep(self, value: Answer) -> None:
        """Keep an answer, and give it after the call has ended and its connection is free again."""
        self._kept = value

    def end(self, error: Exception | None) -> None:
        """Mark the call as ended, and give the kept answer."""
        self._answers.put((self._kept, error))

    def next(self, seconds: float | None) -> Answer:
        """The next answer. Raises the call's error, or `OverdueError` if there is no answer within that time."""
        try:
            value, error = self._answers.get(timeout=seconds)
        except queue.Empty:
            raise OverdueError from None
        if error is not None:
            raise error
        return value  # type: ignore[return-value]  # the call's own None included


class Calls:
    """Calls on connections that `opened` opens. Any thread may use it.

    With `patient` there are no deadlines, and all calls share one connection. This is for a remote libvirt, which may have asked a
    person for a password.
    """

    def __init__(self, opened: Callable[[], Any], *, patient: bool) -> None:
        self._opened = opened
        self._patient = patient
        self._lock = threading.Lock()
        self._idle: list[Any] = []
        self._open: list[Call[Any]] = []
        self._closed = False

    def call(
        self,
        guest: str,
        act: str,
        seconds: float,
        function: Callable[[Any], Answer],
        *,
        even_hanging: bool = False,
        hurry: tuple[float, Callable[[], None]] | None = None,
    ) -> Answer:
        """Call `function` with a connection, and return or raise what it does.

        Raises `GuestHangs` if it takes longer than its deadline, or at once if an earlier act on the guest is overdue, unless
        `even_hanging`. `hurry` is called if there is no answer after its number of seconds.
        """
        if not even_hanging:
            self.refuse_hanging(guest)
        call: Call[Answer] = self._begin(act, guest, lambda call, connection: call.keep(function(connection)), reads=False)
        try:
            if hurry is not None and not self._patient:
                with suppress(OverdueError):
                    return call.next(hurry[0])
                hurry[1]()
            return call.next(None if self._patient else seconds)
        except OverdueError:
            self.blame(call, guest)
            raise _hangs(guest, Hang(act=act, since=call.since)) from None

    def read(self, function: Callable[[Any], Iterator[Answer]]) -> Call[Answer]:
        """Start reading guests. `function` yields one answer per guest. If one is overdue, the caller names the guest with `blame`."""

        def work(call: Call[Answer], connection: Any) -> None:
            for value in function(connection):
                call.give(value)
                if call.overdue:
                    break

        return self._begin("reading", "", work, reads=True)

    def blame(self, call: Call[Any], guest: str) -> None:
        """Record that the call is overdue because of that guest ('' if unknown). The call keeps running until it returns."""
        with self._lock:
            call.guest, call.overdue = guest, True

    def hang(self, guest: str, *, reads: bool = False) -> Hang | None:
        """The oldest overdue act on that guest, else the oldest overdue reading of it, else None."""
        with self._lock:
            return next((Hang(act=call.act, since=call.since) for call in self._open if _stuck(call, guest, reads=reads)), None)

    def refuse_hanging(self, guest: str) -> None:
        """Raises `GuestHangs` if an act on that guest is overdue, because another one would hang too."""
        hang = self.hang(guest)
        if hang is not None:
            raise _hangs(guest, hang)

    def seconds(self, seconds: float) -> float | None:
        """The given deadline, or None where calls have no deadline."""
        return None if self._patient else seconds

    def close(self) -> None:
        """Close idle connections. The others are closed when their calls return."""
        with self._lock:
            self._closed, idle, self._idle = True, self._idle, []
        for connection in idle:
            _close(connection)

    def _begin(self, act: str, guest: str, work: Callable[[Call[Answer], Any], None], *, reads: bool) -> Call[Answer]:
        """Start `work` in a thread with a connection, and return the call."""
        call: Call[Answer] = Call(act=act, guest=guest, since=time.time(), reads=reads)
        with self._lock:
            self._open.append(call)

        def run() -> None:
            connection = None
            error: Exception | None = None
            try:
                connection = self._taken()
                work(call, connection)
            except Exception as raised:
                error = raised
            with self._lock:
                self._open.remove(call)
            self._give_back(connection, again=error is None)
            call.end(error)

        threading.Thread(target=run, name=f"libvirt {act} {guest}".rstrip(), daemon=True).start()
        return call

    def _taken(self) -> Any:
        with self._lock:
            idle = self._idle.pop() if self._idle and not self._patient else None
        while idle is not None:
            if _alive(idle):
                return idle
            _close(idle)
            with self._lock:
                idle = self._idle.pop() if self._idle else None
        return self._opened()

    def _give_back(self, connection: Any, *, again: bool) -> None:
        if connection is None or self._patient:
            return
        with self._lock:
            kept = again and not self._closed and len(self._idle) < _MOST_IDLE
            if kept:
                self._idle.append(connection)
        if not kept:
            _close(connection)


def _stuck(call: Call[Any], guest: str, *, reads: bool) -> bool:
    return call.overdue and call.guest == guest and call.reads is reads


def _hangs(guest: str, hang: Hang) -> GuestHangs:
    return GuestHangs(f"guest {guest} hangs: {hang.sentence()}", guest=guest)


def _alive(connection: Any) -> bool:
    try:
        return bool(connection.isAlive() == 1)
    except Exception:  # libvirt's own error; only `connection` imports its type
        return False


def _close(connection: Any) -> None:
    with suppress(Exception):
        connection.close()

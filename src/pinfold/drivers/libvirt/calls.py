"""`Calls`: calls to libvirt about one guest, each with a deadline, so that a guest that hangs holds up nobody else.

Facts of libvirt 9.0 that it is made for:

1. A call that reaches QEMU's monitor (shutdown, cont, a query) waits for QEMU without a limit. Meanwhile the domain can be read.
2. A daemon carries out five calls of one connection at a time, and reads no further, not even a keepalive: five hanging calls make that
   connection useless. So each call here has a connection of its own while it lasts; idle ones are used again.
3. A destroy sends SIGTERM and after ten seconds SIGKILL, and holds the domain's lock meanwhile: it cannot be read then, nor any be listed.

What is called, and what a hang means, does not belong here (`guests`, `driver`).
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
    """A call has not answered by its deadline; it goes on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hang:
    """A call about a guest that is overdue: which one, and since when (seconds since the epoch)."""

    act: str
    since: float

    def sentence(self) -> str:
        """What is known of it.

        >>> Hang(act="shutdown", since=0.0).sentence()
        'libvirt has not answered its shutdown since 1970-01-01 00:00:00 UTC'
        """
        return f"libvirt has not answered its {self.act} since {time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime(self.since))} UTC"


@dataclass(slots=True, eq=False)
class Call(Generic[Answer]):
    """One call under way; its answers come one after the other. `guest` is '' while it is about none in particular."""

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
        """Give one answer when the call has ended, and its connection may be used again."""
        self._kept = value

    def end(self, error: Exception | None) -> None:
        """The call has ended."""
        self._answers.put((self._kept, error))

    def next(self, seconds: float | None) -> Answer:
        """The next answer; raises the call's error, or `OverdueError` when there is none within that time."""
        try:
            value, error = self._answers.get(timeout=seconds)
        except queue.Empty:
            raise OverdueError from None
        if error is not None:
            raise error
        return value  # type: ignore[return-value]  # the call's own None included


class Calls:
    """Calls on connections that `opened` opens. With `patient` there are no deadlines, and all calls share one connection: for a remote
    libvirt, whose connection may have asked a person for a password. Any thread may use it.
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
        """What `function` returns or raises, given a connection.

        Raises `GuestHangs` when it takes longer than that, or at once where an earlier act on the guest is overdue, unless `even_hanging`.
        `hurry` is done when the answer is not there after so many seconds.
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
        """Begin to read guest after guest; `function` yields the answers. Who is to blame when one does not come, the caller says."""

        def work(call: Call[Answer], connection: Any) -> None:
            for value in function(connection):
                call.give(value)
                if call.overdue:
                    break

        return self._begin("reading", "", work, reads=True)

    def blame(self, call: Call[Any], guest: str) -> None:
        """The call is overdue because of that guest ('' for nobody known); it is left to itself until it returns."""
        with self._lock:
            call.guest, call.overdue = guest, True

    def hang(self, guest: str, *, reads: bool = False) -> Hang | None:
        """The oldest act on that guest that is overdue, or the oldest reading of it; None where there is none."""
        with self._lock:
            return next((Hang(act=call.act, since=call.since) for call in self._open if _stuck(call, guest, reads=reads)), None)

    def refuse_hanging(self, guest: str) -> None:
        """Raises `GuestHangs` where an act on that guest is overdue: one more would hang as well."""
        hang = self.hang(guest)
        if hang is not None:
            raise _hangs(guest, hang)

    def seconds(self, seconds: float) -> float | None:
        """That deadline, where there are any."""
        return None if self._patient else seconds

    def close(self) -> None:
        """Let go of idle connections; the others are closed when their calls return."""
        with self._lock:
            self._closed, idle, self._idle = True, self._idle, []
        for connection in idle:
            _close(connection)

    def _begin(self, act: str, guest: str, work: Callable[[Call[Answer], Any], None], *, reads: bool) -> Call[Answer]:
        """A new call, whose work has begun in a thread; `work` is given a connection."""
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
    except Exception:  # libvirt's own error, whose type is `connection`'s to import
        return False


def _close(connection: Any) -> None:
    with suppress(Exception):
        connection.close()

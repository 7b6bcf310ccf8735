"""`Presence`: the agents that are there. One thread reads for all that wait for orders, and writes the leases that their polls renew.

A poll that says so is a sign of life. Signs are kept in memory and written together, at most `_WRITE_SECONDS` or a thirtieth of a lease
later, each with its age: a lease runs from the sign itself. What a crash loses is only freshness, since the next poll or heartbeat renews
the lease, and no lease runs longer than from the last time that its agent was heard.

What an agent waits for is read when it is notified. Notifications may be lost, so a topic of our own, the echo, is sent every two seconds.
When it comes back, all that was notified before it has been heard, and what is known holds. While it does not, the rows of all agents are
read, and once in a while in any case, for a change of which nobody was notified. The digests of tokens come with it, so that a request
needs no read of its own: a token that is known is checked against a digest that was right at most `TRUSTED_SECONDS` ago, and that is
forgotten as soon as its host changes.
"""

from __future__ import annotations

import hmac
import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterable
from typing import Final

from msgspec import Struct

from pinfold.core.errors import PinfoldError, not_found
from pinfold.core.identity import HostId
from pinfold.store import presence
from pinfold.store.database import Database
from pinfold.store.presence import Standing

_log = logging.getLogger(__name__)

TRUSTED_SECONDS: Final = 5.0
"""How old what is known of a host may be when notifications are lost. They seldom are, so it usually is milliseconds old."""
_WRITE_SECONDS: Final = 1.0
"""How long a sign of life waits at most before it is written."""
_WRITES_PER_LEASE: Final = 30
_LOOK_SECONDS: Final = 1.0
"""What is known of all hosts is compared with their rows at most once in so many seconds."""
_REST: Final = 5000
"""That takes at most one part in so many of a processor."""
_LONGEST_LOOK: Final = 60.0
_LONGEST_UNHEARD: Final = 4.0
"""It is compared at least once in so many seconds: the first while echoes come back, the second while they do not."""
_ECHO_SECONDS: Final = 2.0
_AUDIT_SECONDS: Final = 50.0
"""An audit is noted of one host at most once in so many seconds: of polls of 20 s, by each third one."""
_TRIES_SECONDS: Final = 3.0
"""How long a sign of life is tried again that was not written because its host was being changed."""
_KEPT_SECONDS: Final = 120.0
"""How long a host is read for after its agent was last there."""
_MOST_WAITS: Final = 4
"""How many polls of one agent wait at once. Beyond, the one that came first is answered: its connection is probably dead."""

_ECHO: Final = "echo"
_NEVER: Final = float("-inf")


class _Known(Struct):
    """What is known of a host. `begun` is when the last read of it began, `read` when the one began that `standing` is of, `changed` when a
    change was notified last.
    """

    begun: float
    used: float
    standing: Standing | None = None
    read: float = _NEVER
    changed: float = _NEVER

    @property
    def stale(self) -> bool:
        """Whether the host may have changed since it was read."""
        return self.changed >= self.read


class Wait(Struct, eq=False):
    """A poll that waits for another count of orders than `after`, and until a sign of life at or after `since` has renewed the lease. Both
    functions may be called from any thread, once or more.
    """

    after: int
    wake: Callable[[], None]
    since: float
    renewed: Callable[[], None]


class Sign(Struct):
    """That the host's agent was there, for a lease of so many seconds; and how many seconds before an audit found what is stored."""

    at: float
    seconds: float
    audited: float | None


class Presence:
    """Safe for many threads; any number of processes may have one on the same database. Its thread begins with the first agent."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._beginning = threading.Lock()
        self._lock = threading.Lock()
        self._news = threading.Condition(self._lock)
        self._known: dict[HostId, _Known] = {}
        self._waits: dict[HostId, list[Wait]] = {}
        self._signs: dict[HostId, Sign] = {}
        self._renewed: dict[HostId, tuple[float, str]] = {}
        self._audited: dict[HostId, float] = {}
        self._changed: set[HostId] = set()
        self._write_at = self._look_at = self._echo_at = float("inf")
        self._looked = self._sent = self._heard = _NEVER
        """When all rows were read last, when the last echo was sent, and when the last one was sent that came back."""
        self._name = secrets.token_hex(8)
        self._thread: threading.Thread | None = None
        self._ended = False
        self._unsubscribe: Callable[[], None] = lambda: None

    def standing(self, host: HostId) -> Standing | None:
        """What is known of the host, None if that is not known for certain. Returns at once."""
        with self._lock:
            return self._certain(host, time.monotonic())

    def _certain(self, host: HostId, now: float) -> Standing | None:
        known = self._known.get(host)
        if known is None or known.stale or now - max(known.read, self._heard) > TRUSTED_SECONDS:
            return None
        known.used = now
        return known.standing

    def _note(self, host: HostId, sign: Sign) -> None:
        self._signs[host] = sign
        due = sign.at + min(_WRITE_SECONDS, sign.seconds / _WRITES_PER_LEASE)
        if due < self._write_at:
            self._write_at = due
            self._news.notify()

    def _join(self, host: HostId, waiting: Wait) -> Wait | None:
        """Let it wait. Returns the one that came first if too many of the host wait."""
        waits = self._waits.setdefault(host, [])
        waits.append(waiting)
        return waits[0] if len(waits) > _MOST_WAITS else None

    def _part(self, host: HostId, waiting: Wait) -> None:
        waits = self._waits.get(host, [])
        if waiting in waits:
            waits.remove(waiting)
        if not waits:
            self._waits.pop(host, None)

    def opens(self, host: HostId, digest: str) -> bool:
        """Whether a token with this digest surely is that of the host's agent, by what is known without a read."""
        standing = self.standing(host)
        return standing is not None and hmac.compare_digest(standing.token_hash, digest)

    def read(self, host: HostId) -> Standing:
        """What the database has of the host. Raises `InvalidRequest` if there is no such host, and `Unavailable`."""
        self._begin()
        found = self._read((host,), used=True).get(host)
        if found is None:
            raise not_found("Host", host)
        return found

    def read_all(self, ids: Iterable[HostId]) -> dict[HostId, Standing]:
        """What the database has of each of these hosts that exists, in one read. Raises `Unavailable`."""
        self._begin()
        return self._read(ids, used=True)

    def forget(self, host: HostId) -> None:
        """Forget what is known of the host, because this process has changed it."""
        self._hear(f"host:{host}")

    def sign(self, host: HostId, lease_seconds: float, audited: float | None = None) -> float:
        """Note that the host's agent is there now, for a lease of so many seconds, and how many seconds ago an audit found what is stored.
        Returns the time of the sign, for `renewed`.
        """
        self._begin()
        now = time.monotonic()
        with self._news:
            self._note(host, Sign(now, lease_seconds, audited))
        return now

    def wait(self, host: HostId, digest: str, sign: Sign, waiting: Wait, *, early: bool) -> float | None:
        """Note a sign of life, as `sign` does, and wait, as `watch` does, until `leave`; with `early`, also for the renewal of the lease.
        Returns the time of the sign.

        Nothing is read, and nothing is done (None) unless it is certain that a token with this digest is that of the host's agent, and that
        its count of orders is still `waiting.after`.
        """
        with self._news:
            standing = self._certain(host, sign.at)
            if standing is None or standing.orders != waiting.after or self._ended or not hmac.compare_digest(standing.token_hash, digest):
                return None
            self._note(host, sign)
            waiting.since = sign.at if early else float("inf")
            first = self._join(host, waiting)
        if first is not None:
            first.wake()
        return sign.at

    def leave(self, host: HostId, waiting: Wait) -> Standing | None:
        """End the wait. Returns what `standing` does."""
        now = time.monotonic()
        with self._lock:
            self._part(host, waiting)
            return self._certain(host, now)

    def renewal(self, host: HostId, since: float) -> tuple[str | None, bool]:
        """What `renewed` and `audited` return."""
        with self._lock:
            at, digest = self._renewed.get(host, (_NEVER, ""))
            return (digest or None if at >= since else None), self._audited.get(host, _NEVER) >= since

    def renewed(self, host: HostId, since: float) -> str | None:
        """The digest of the host's report as of the moment when a sign of life at or after `since` renewed its lease; None if none has,
        or if the digest is not known.
        """
        return self.renewal(host, since)[0]

    def renewed_within(self, host: HostId, seconds: float) -> bool:
        """Whether a sign of life in the last so many seconds has renewed the host's lease, by this process."""
        since = time.monotonic() - seconds
        with self._lock:
            return self._renewed.get(host, (_NEVER, ""))[0] >= since

    def audited(self, host: HostId, since: float) -> bool:
        """Whether a sign of life at or after `since` has noted that an audit found what is stored."""
        return self.renewal(host, since)[1]

    def watch(
        self,
        host: HostId,
        after: int,
        wake: Callable[[], None],
        since: float = float("inf"),
        renewed: Callable[[], None] = lambda: None,
    ) -> Callable[[], None]:
        """Call `wake` from any thread, once or more, when the count of the host's orders may differ from `after`, or when nobody should
        wait any longer; and `renewed`, when a sign of life at or after `since` has renewed the lease. The returned function ends that.
        """
        self._begin()
        waiting = Wait(after, wake, since, renewed)
        with self._news:
            early = self._join(host, waiting)
            known = self._known.get(host)
            if known is None or known.stale:
                self._changed.add(host)
                self._news.notify()
            standing = None if known is None else known.standing
            at_once = self._ended or (standing is not None and standing.orders != after)
            proven = self._renewed.get(host, (_NEVER, ""))[0] >= since
        if early is not None:
            early.wake()
        if at_once:
            wake()
        if proven:
            renewed()

        def unwatch() -> None:
            with self._lock:
                self._part(host, waiting)

        return unwatch

    def end(self) -> None:
        """Wake all that wait, write the last signs of life, and end the thread."""
        with self._news:
            self._ended = True
            waits = [waiting for each in self._waits.values() for waiting in each]
            self._news.notify()
        for waiting in waits:
            waiting.wake()
        if self._thread is not None:
            self._unsubscribe()
            self._thread.join(timeout=5.0)

    def _begin(self) -> None:
        if self._thread is not None or self._ended:
            return
        with self._beginning:
            if self._thread is None:
                self._unsubscribe = self._database.wakeups.subscribe(self._hear)
                self._look_at = self._echo_at = time.monotonic() + _LOOK_SECONDS
                self._thread = threading.Thread(target=self._run, name="pinfold-presence", daemon=True)
                self._thread.start()

    def _hear(self, topic: str) -> None:
        kind, _, name = topic.partition(":")
        if kind == _ECHO:
            self._hear_echo(name)
            return
        if topic != "*" and kind != "host":
            return
        now = time.monotonic()
        with self._news:
            for host in list(self._known) if topic == "*" else (HostId(name),):
                if host in self._known:
                    self._known[host].changed = now
                if host in self._waits:
                    self._changed.add(host)
            if self._changed:
                self._news.notify()

    def _hear_echo(self, told: str) -> None:
        """Hear an echo, `NAME:SECONDS`. What this process was told of before it was sent has been heard."""
        name, _, sent = told.partition(":")
        if name == self._name:
            with self._lock:
                self._heard = max(self._heard, float(sent))

    def _due(self) -> float:
        return min(self._write_at, self._look_at, self._echo_at)

    def _run(self) -> None:
        while True:
            with self._news:
                while not self._ended and not self._changed and (left := self._due() - time.monotonic()) > 0:
                    self._news.wait(left)
                ended, changed = self._ended, self._changed
                self._changed = set()
            try:
                self._write()
                if ended:
                    return
                self._send_echo()
                self._look(changed)
            except PinfoldError as error:
                if ended:
                    return
                _log.info("what agents wait for is read again in a second: %s", error)
                self._later(changed)
            except Exception:  # a bug in one round must not end all others
                _log.exception("what agents wait for is read again in a second")
                self._later(changed)

    def _later(self, changed: set[HostId]) -> None:
        time.sleep(_LOOK_SECONDS)
        with self._lock:
            self._changed |= changed

    def _write(self) -> None:
        """Write the signs that are due, and keep those that may be written at the next try."""
        now = time.monotonic()
        with self._lock:
            if now < self._write_at and not self._ended:
                return
            signs = dict(self._signs)
        for seconds in sorted({sign.seconds for sign in signs.values()}):
            ages = {host: now - sign.at for host, sign in signs.items() if sign.seconds == seconds}
            audits = {host: ages[host] + age for host in ages if (age := self._audit_age(host, signs[host])) is not None}
            # Without audits it is one statement, which PostgreSQL commits by itself: one message instead of four.
            alone = self._database.postgresql and not audits
            with self._database.write_once() if alone else self._database.write() as connection:
                renewed = presence.renew(connection, ages, seconds)
                noted = presence.note_audits(connection, {host: age for host, age in audits.items() if host in renewed})
            with self._lock:
                self._audited |= {host: signs[host].at for host in noted}
                for host, digest in renewed.items():
                    self._renewed[host] = (signs[host].at, digest)
                proven = [one for host in renewed for one in self._waits.get(host, ()) if one.since <= signs[host].at]
            for waiting in proven:
                waiting.renewed()
        with self._lock:
            for host, sign in signs.items():
                settled = host in self._renewed and self._renewed[host][0] >= sign.at
                if self._signs[host] is sign and (settled or now - sign.at > _TRIES_SECONDS):
                    del self._signs[host]
            soonest = min((sign.seconds for sign in self._signs.values()), default=None)
            self._write_at = float("inf") if soonest is None else now + min(_WRITE_SECONDS, soonest / _WRITES_PER_LEASE)

    def _audit_age(self, host: HostId, sign: Sign) -> float | None:
        """How long before the sign an audit found what is stored; None if that need not be noted."""
        return None if sign.at - self._audited.get(host, _NEVER) < _AUDIT_SECONDS else sign.audited

    def _send_echo(self) -> None:
        """Send an echo if it is time for one. If the one before has not come back, look at all hosts."""
        now = time.monotonic()
        if now < self._echo_at:
            return
        self._echo_at = now + _ECHO_SECONDS
        if self._heard < self._sent:
            self._look_at = min(self._look_at, self._looked + _LONGEST_UNHEARD)
        if self._known:
            self._sent = now
            self._database.wakeups.send(f"{_ECHO}:{self._name}:{now}")

    def _look(self, changed: Iterable[HostId]) -> None:
        now = time.monotonic()
        if now < self._look_at:
            self._read(changed)
            return
        began = time.thread_time()
        self._read({*self._all_changes(now), *changed})
        self._looked, longest = now, _LONGEST_LOOK if now - self._heard <= TRUSTED_SECONDS else _LONGEST_UNHEARD
        self._look_at = now + min(longest, max(_LOOK_SECONDS, _REST * (time.thread_time() - began)))

    def _all_changes(self, now: float) -> frozenset[HostId]:
        """Which of all known hosts are to be read, because they may have changed and nobody said so. The others are known anew."""
        with self._lock:
            for host in [host for host, known in self._known.items() if now - known.used > _KEPT_SECONDS]:
                del self._known[host]
                self._renewed.pop(host, None)
                self._audited.pop(host, None)
            told = {host: known.standing for host, known in self._known.items() if known.standing is not None and not known.stale}
            unknown = frozenset(host for host in self._known if host not in told)
        with self._database.read_once() as connection:
            changed = presence.changes(connection, told)
        with self._lock:
            for host in told:
                known = self._known.get(host)
                if known is not None and host not in changed and now >= known.begun:
                    known.read = now
        return changed | unknown

    def _read(self, hosts: Iterable[HostId], *, used: bool = False) -> dict[HostId, Standing]:
        """Read these hosts, keep what they are, and wake those that wait for what has changed."""
        wanted = tuple(hosts)
        if not wanted:
            return {}
        now = time.monotonic()
        with self._lock:
            for host in wanted:
                known = self._known.get(host)
                if known is None and used:
                    known = self._known[host] = _Known(now, now)
                if known is not None:
                    known.begun = now
                    known.used = now if used else known.used
        try:
            with self._database.read_once() as connection:
                found = presence.standings(connection, wanted)
        except BaseException:
            with self._lock:
                for host in wanted:
                    self._known.pop(host, None)
            raise
        woken: list[Wait] = []
        with self._lock:
            for host in wanted:
                standing, known = found.get(host), self._known.get(host)
                if standing is None:
                    self._known.pop(host, None)
                elif known is not None and now >= known.begun:
                    known.standing, known.read = standing, now
                woken += [one for one in self._waits.get(host, ()) if standing is None or standing.orders != one.after]
        for waiting in woken:
            waiting.wake()
        return found

"""`Watch`: the loop around `step`. It performs the actions, one after another in one thread, and feeds the answers back."""

from __future__ import annotations

import logging
import os
import queue
import threading
from collections.abc import Callable
from functools import partial
from typing import Final, assert_never

from msgspec.structs import replace

from pinfold.core.errors import PinfoldError
from pinfold.core.fit.capacity import FlavorDemand
from pinfold.core.history import KEPT_SECONDS, HostHistory
from pinfold.core.identity import GuestId
from pinfold.core.settings import HostSettings, RepairScope
from pinfold.core.usage import Usage
from pinfold.drivers.port import Driver
from pinfold.host import pool_change
from pinfold.host.loop_events import HungUp, Log, Repaired, Stop, Tick, now
from pinfold.host.memory import SeldomMemory
from pinfold.host.repair import repair_guest
from pinfold.host.samples import Samples
from pinfold.watch import messages
from pinfold.watch.changes import Change
from pinfold.watch.messages import Action, Event
from pinfold.watch.pools import Follower, PoolsMode
from pinfold.watch.state import State
from pinfold.watch.step import due_at, step
from pinfold.watch.sweep import SweepResult, sweep

_log = logging.getLogger(__name__)

_WAKE_SECONDS: Final = 1.0
"""The loop wakes this often, because the handler of a signal that another thread received runs only when this thread wakes."""
_SHORTEST_PAUSE: Final = 0.02
_FINISH_SECONDS: Final = 4.0
"""How long an action under way may take when the watch ends."""

_STUCK_SECONDS: Final = 300.0
"""An action that takes longer than this hangs. The watch then no longer says that it is alive, so that systemd starts it again."""

Publisher = Callable[[State], None]
"""Publishes a state somewhere. Raises `PinfoldError` if that fails."""


class Watch:
    """The watch of one host. `run` returns after `stop` was called. It repairs and moves what it may, and changes nothing else."""

    def __init__(
        self,
        driver: Driver,
        settings: HostSettings,
        *,
        interval: float,
        read_settings: Callable[[], HostSettings],
        publishers: dict[str, Publisher],
        scope: RepairScope = RepairScope.OFF,
        pools: PoolsMode = PoolsMode.REPORT,
        files: tuple[str, ...] = (),
        flavors: tuple[FlavorDemand, ...] = (),
        note: Callable[[Change, float], None] = lambda _change, _at: None,
        alive: Callable[[], None] = lambda: None,
    ) -> None:
        """`scope` says whose guests are repaired, `flavors` whose free slots are counted. `note` writes one change into the journal.
        `files` are the configuration files. `pools` says whether guests follow the pools of today; without records they do not.

        `publishers` are called after each sweep, by what they publish. `alive` is called again and again, while nothing hangs.
        """
        self._driver = driver
        self._read_settings = read_settings
        self._publishers = publishers
        self._flavors = flavors
        self._note = note
        self._alive = alive
        self._files = files
        mode = pools if driver.local and not driver.sole_manager else None
        self._state = State(settings=settings, interval=interval, scope=scope, pools_mode=mode, read_stamp=self._stamp())
        self._samples = Samples(interval)
        self._events: queue.SimpleQueue[Event | Exception] = queue.SimpleQueue()
        self._actions: queue.SimpleQueue[Action | None] = queue.SimpleQueue()
        self._busy_since: float | None = None
        self._last: SweepResult | None = None
        self._memory = SeldomMemory()

    @property
    def state(self) -> State:
        """The present state. Safe from any thread: a state never changes."""
        return self._state

    @property
    def last(self) -> SweepResult | None:
        """The last sweep, None before it. Safe from any thread."""
        return self._last

    def history(self, seconds: float = KEPT_SECONDS) -> HostHistory:
        """The samples of the last `seconds`. Safe from any thread."""
        return self._samples.history(self._state.settings.host, seconds=seconds)

    def stop(self) -> None:
        """Make `run` return soon. Safe from any thread, and from signal handlers: a SimpleQueue may be put into while it is waited for."""
        self._events.put(Stop(when=now()))

    def hang_up(self) -> None:
        """Hear a SIGHUP: the configuration is read again. Safe where `stop` is."""
        self._events.put(HungUp(when=now()))

    def once(self) -> State:
        """Sweep and publish once, in this thread. Threads count from their beginning. Raises what sweep and publishers raise."""
        self._state = replace(self._state, usage=Usage())
        swept = self._sweep(messages.Sweep(settings=self._state.settings))
        self._state, _ = step(self._state, swept)
        for publish in self._publishers.values():
            publish(self._state)
        return self._state

    def run(self, ready: Callable[[], None] = lambda: None) -> None:
        """Watch until `stop`. `ready` is called after the first sweep, whether or not it succeeded. A bug ends the watch, and is raised."""
        unsubscribe = self._driver.events(lambda _: self._events.put(messages.HostChanged(when=now())))
        worker = threading.Thread(target=self._work, name="pinfold watch", daemon=True)
        worker.start()
        try:
            self._go(ready)
        finally:
            unsubscribe()
            self._actions.put(None)
            worker.join(_FINISH_SECONDS)

    def _go(self, ready: Callable[[], None]) -> None:
        announced = False
        while not self._state.ending:
            try:
                event = self._events.get(timeout=max(_SHORTEST_PAUSE, min(_WAKE_SECONDS, due_at(self._state) - now().at)))
            except queue.Empty:
                event = Tick(when=now())
            if isinstance(event, Exception):
                raise event
            self._feed(event)
            since = self._busy_since
            if since is None or now().at - since < _STUCK_SECONDS:
                self._alive()
            if not announced and self._state.sweeps + self._state.failed_sweeps:
                announced = True
                ready()

    def _feed(self, event: Event) -> None:
        self._state, asked = step(self._state, event)
        if isinstance(event, messages.Swept) and self._state.usage is not None:
            names = {GuestId(guest.id): guest.name for guest in event.snapshot.guests}
            self._samples.add(self._state.usage, event.sample.unread, names, event.when)
        for action in asked:
            if isinstance(action, Log):
                _log.log(action.level, "%s", action.sentence)
            else:
                self._actions.put(action)

    def _work(self) -> None:
        while (action := self._actions.get()) is not None:
            self._busy_since = now().at
            try:
                self._events.put(self._answer(action))
            except Exception as error:
                self._events.put(error)
                return
            self._busy_since = None

    def _answer(self, action: Action) -> Event:
        match action:
            case messages.Sweep():
                try:
                    return self._sweep(action)
                except (PinfoldError, OSError) as error:
                    return messages.SweepFailed(when=now(), why=str(error))
            case messages.ReadSettings():
                stamp = self._stamp()
                try:
                    return messages.SettingsRead(when=now(), settings=self._read_settings(), stamp=stamp)
                except (PinfoldError, OSError) as error:
                    return messages.SettingsRefused(when=now(), why=str(error), stamp=stamp)
            case messages.Publish():
                return self._publish()
            case messages.FollowPools():
                return self._follow(action)
            case messages.Repair():
                return self._repair(action)
            case messages.Note(change=change):
                at = now()
                return messages.Published(when=at, failures=(("journal", _failure(lambda: self._note(change, at.time))),))
            case Log():
                raise AssertionError("a line of the log is written at once")
            case _:
                assert_never(action)

    def _stamp(self) -> messages.Stamp:
        return tuple(_stamp_of(file) for file in self._files)

    def _sweep(self, action: messages.Sweep) -> messages.Swept:
        stamp = self._stamp()
        found = self._last = sweep(self._driver, action.settings, action.scope, self._flavors, self._last, self._memory)
        return messages.Swept(
            when=now(),
            snapshot=found.snapshot,
            sample=found.sample,
            seconds=found.seconds,
            unread=found.unread,
            warnings=found.audit.seen.warnings,
            drifted=found.drifted,
            running=frozenset(str(guest.id) for guest in found.audit.seen.guests if guest.active),
            capacity=found.capacity,
            stamp=stamp,
        )

    def _repair(self, action: messages.Repair) -> Repaired:
        try:
            found = repair_guest(self._driver, action.settings, action.guest.guest_id, action.scope)
        except (PinfoldError, OSError) as error:
            return Repaired(when=now(), guest=action.guest, failure=str(error))
        failure = "; ".join(finding.sentence() for finding in found.left)
        return Repaired(when=now(), guest=action.guest, failure=failure, needless=not found.moved)

    def _follow(self, action: messages.FollowPools) -> messages.PoolsFollowed:
        failures: dict[str, str] = {}
        try:
            if action.mode is PoolsMode.APPLY:
                done = pool_change.apply(self._driver, action.settings)
                found, failures = done.plan, done.failures
            else:
                found = pool_change.plan(self._driver, action.settings)
        except (PinfoldError, OSError) as error:
            return messages.PoolsFollowed(when=now(), failure=str(error))
        guests = tuple(
            Follower(
                guest_id=each.guest.id,
                name=each.guest.name,
                pending=each.pending,
                moves=tuple(map(str, each.moves)),
                why=failures.get(each.guest.id, each.why),
                later=each.later,
            )
            for each in found.changes
        )
        return messages.PoolsFollowed(when=now(), guests=guests)

    def _publish(self) -> messages.Published:
        state = self._state
        failures = tuple((what, _failure(partial(publish, state))) for what, publish in self._publishers.items())
        return messages.Published(when=now(), failures=failures)


def _stamp_of(file: str) -> tuple[int, int, int] | None:
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _failure(act: Callable[[], None]) -> str:
    """Act, and return why that failed, '' if it did not."""
    try:
        act()
    except (PinfoldError, OSError) as error:
        return str(error)
    return ""

"""`Agent`: the loop that brings one host to what the service wants. `reconcile` decides on actions, `report` makes the reports.

Each turn: look at the host, send its report or a heartbeat, reconcile, perform. A turn starts when orders or events arrive, when an action
has ended or is due again, and at the latest with the next heartbeat. Actions run in threads, one at a time for each guest. While the
service is silent, the agent keeps asking it and performs nothing, because its orders may be old. The guests go on running. A guest that
hangs blocks only its own actions. When a turn takes long, another thread sends the heartbeat.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from pinfold.agent.client import ServiceAway, ServiceClient
from pinfold.agent.delivery import Delivery
from pinfold.agent.lease import SPEAKS, Lease, Sight
from pinfold.agent.lease import now as _now
from pinfold.agent.memory import read_memory, write_memory
from pinfold.agent.pace import Pace
from pinfold.agent.perform import Performer
from pinfold.agent.reconcile import Act, Action, LastBoot, Memory, Order, PresentGuest, reconcile, remember_absence, remember_boot
from pinfold.agent.report import guest_report, host_report, lost_guests, present_guests, thread_report
from pinfold.agent.responses import ParsedOrders, RefusedOrder
from pinfold.agent.shutdowns import Shutdowns
from pinfold.agent.wire import Absence, GuestOrder, GuestReport, Orders
from pinfold.agent.workers import Workers
from pinfold.core.errors import PinfoldError
from pinfold.core.settings import HostSettings
from pinfold.drivers.port import Driver, Event, GuestState, HostGuest
from pinfold.faultpoints import fault_point
from pinfold.host.survey import Survey, survey
from pinfold.host.verify import verify
from pinfold.store.records import Desired, Pairs, Tombstone

_log = logging.getLogger(__name__)

_POLL_SECONDS: Final = 25.0
_BACKOFF_SECONDS: Final = 1.0
_SHORTEST_PAUSE: Final = 0.05
_FINISH_SECONDS: Final = 4.0
"""How long running actions may take when the agent ends. With its goodbye and libvirt's, it ends within ten seconds."""
_GOODBYE_SECONDS: Final = 2.0
_WAKE_SECONDS: Final = 1.0
_GLANCE_SECONDS: Final = 0.02
_REPORT_SECONDS: Final = 10.0
"""How long to wait for the host's first report before those who wait for it are told that there is none."""
_STARTS: Final = (Act.START, Act.RESTART, Act.FINISH, Act.REBOOT)


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFacts:
    """What the process knows about its host beyond the survey: the boot id, the size of the disk, and facts for people."""

    host_boot: str
    disk_gib: int | None = None
    facts: Pairs = ()


def owner_of(settings: HostSettings) -> str:
    """The owner name that a host's agent writes into its host lock and its guests' records."""
    return f"the agent of {settings.host}"


class Agent:
    """The agent of one host. `run` returns after `stop` was called; guests go on. The caller owns the host (`host.lock.owning`)."""

    def __init__(
        self,
        driver: Driver,
        settings: HostSettings,
        service: ServiceClient,
        facts: Callable[[], HostFacts],
        *,
        sweep_seconds: float,
        shutdown_seconds: float,
    ) -> None:
        self._driver = driver
        self._settings = settings
        self._service = service
        self._facts = facts
        self._sweep_seconds = sweep_seconds
        self._owner = owner_of(settings)
        self._memory_path = Path(settings.state_dir, "agent.memory")
        self._memory = read_memory(self._memory_path)
        self._performer = Performer(driver, settings, service, self._owner)
        self._pace = Pace()
        self._shutdowns = Shutdowns(shutdown_seconds)
        self._lock = threading.RLock()
        self._wake = threading.Event()
        self._ended = threading.Event()
        self._reported = threading.Event()
        self._stops: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._orders: Orders | None = None
        self._refused: tuple[RefusedOrder, ...] = ()
        self._busy: set[str] = set()
        self._failures: dict[str, tuple[int, str]] = {}
        self._delivery = Delivery()
        self._lease = Lease(service, settings.host)
        self._workers = Workers()
        self._sight = Sight()
        self._swept = float("-inf")
        self._trouble: dict[str, str] = {}
        self._crash: Exception | None = None

    def stop(self) -> None:
        """Make `run` return soon. Safe from any thread and from signal handlers; setting an `Event` on which the interrupted thread waits
        would not be.
        """
        self._stops.put(None)

    def run(self, reported: Callable[[bool], None] = lambda _: None) -> None:
        """Keep the host as the service wants it until `stop`. Then wait a short time for running actions; the next agent does the rest.

        `reported` is called once, in this thread: with True when the service has the host's first report, with False if that takes longer
        than 10 seconds.
        """
        unsubscribe = self._driver.events(self._hear)
        for target, name in ((self._poll, "orders"), (self._beat, "heartbeat")):
            threading.Thread(target=target, name=f"pinfold-{name}", daemon=True).start()
        turns = threading.Thread(target=self._turns, name="pinfold-turns", daemon=True)
        turns.start()
        try:
            if not self._await_stop(self._reported):
                reported(self._reported.is_set())
                self._await_stop()
        finally:
            self._ended.set()
            self._wake.set()
            unsubscribe()
            until = time.monotonic() + _FINISH_SECONDS
            turns.join(_FINISH_SECONDS)
            for action in self._workers.finish(until):
                _log.warning("%s is still under way; the next agent sees to it", action)
        goodbye = threading.Thread(target=self._say_goodbye, daemon=True)
        goodbye.start()
        goodbye.join(_GOODBYE_SECONDS)
        if self._crash is not None:
            raise self._crash

    def _await_stop(self, sooner: threading.Event | None = None) -> bool:
        """Wait for `stop`; with `sooner` no longer than until that happens, or 10 seconds. Returns whether `stop` was called.

        It wakes up now and then, because the handler of a signal that another thread received runs only when this thread wakes.
        """
        until = time.monotonic() + _REPORT_SECONDS
        while sooner is None or not (sooner.is_set() or time.monotonic() > until):
            with suppress(queue.Empty):
                self._stops.get(timeout=_WAKE_SECONDS if sooner is None else _GLANCE_SECONDS)
                return True
        return False

    def _turns(self) -> None:
        """Take turns until the agent ends. An error after which no turn can succeed ends the agent."""
        try:
            while not self._ended.is_set():
                self._wake.clear()
                try:
                    self._turn()
                    self._complain("turn", "")
                except (PinfoldError, OSError) as error:
                    self._complain("turn", str(error))
                self._wake.wait(self._pause())
        except Exception as error:
            if not self._ended.is_set():
                self._crash = error
                self.stop()

    def _beat(self) -> None:
        """Send heartbeats while a turn takes long, as long as the last look at libvirt succeeded."""
        while not self._ended.wait(self._lease.seconds * SPEAKS / 2):
            try:
                if self._sight.fresh(self._lease.seconds) and self._lease.beat_if_overdue():
                    self._wake.set()
                self._complain("heartbeat", "")
            except PinfoldError as error:
                self._complain("heartbeat", f"no heartbeat: {error}")

    def _say_goodbye(self) -> None:
        try:
            self._service.goodbye(timeout=_GOODBYE_SECONDS)
        except PinfoldError as error:
            _log.info("no goodbye: %s", error)

    def _pause(self) -> float:
        with self._lock:
            now = _now()
            soonest = min(self._lease.seconds * SPEAKS, self._sweep_seconds, self._pace.wait(now), self._shutdowns.wait(now))
            return max(_SHORTEST_PAUSE, soonest)

    def _complain(self, about: str, sentence: str) -> None:
        """Log a problem when it begins, changes or ends, not each time that it occurs."""
        if sentence and self._trouble.get(about) != sentence:
            _log.warning("%s", sentence)
        elif not sentence and about in self._trouble:
            _log.warning("over: %s", self._trouble[about])
        if sentence:
            self._trouble[about] = sentence
        else:
            self._trouble.pop(about, None)

    def _hear(self, event: Event) -> None:
        _log.debug("%s %s", event.kind.value, event.guest)
        self._wake.set()

    def _poll(self) -> None:
        """Wait for orders until the agent ends."""
        while not self._ended.is_set():
            asked = _now()
            try:
                found = self._service.orders(after=self._orders.count if self._orders else -1, wait=_POLL_SECONDS)
            except PinfoldError as error:
                if not self._ended.is_set():
                    self._complain("orders", f"no orders: {error}")
                    self._ended.wait(_BACKOFF_SECONDS)
                continue
            self._complain("orders", "")
            if self._orders is None or found.orders.count != self._orders.count:
                self._take(found)
                self._wake.set()
            elif _now() - asked < _BACKOFF_SECONDS:
                self._ended.wait(_BACKOFF_SECONDS)  # pause before asking a service again that answered at once with nothing new

    def _take(self, parsed: ParsedOrders) -> Orders:
        """Use these orders from now on. Log a line for each order that was refused."""
        before = {refused.sentence() for refused in self._refused}
        for refused in parsed.refused:
            if refused.sentence() not in before:
                _log.error("%s", refused.sentence())
        self._refused, self._orders = parsed.refused, parsed.orders
        return parsed.orders

    def _turn(self) -> None:
        """Take one turn. It leaves out guests whose action was running when the turn began, because the survey may show an old state of
        them.
        """
        orders = self._current_orders()
        with self._lock:
            moving = frozenset(self._busy)
        with self._sight:
            seen = survey(self._driver, self._settings)
        self._name_hanging(seen)
        facts = self._facts()
        self._speak(seen, facts, orders)
        present = present_guests(seen.guests, self._owner)
        with self._lock:
            self._adopt(present, orders, facts.host_boot, moving)
            due = self._due(_wanted(orders, present), present, facts.host_boot, moving)
            self._busy.update(action.guest for action in due)
        by_guest = {order.guest: order for order in orders.orders}
        for action in due:
            self._begin(action, by_guest.get(action.guest), facts.host_boot)
        self._report_guests(seen, orders, moving | {action.guest for action in due})

    def _begin(self, action: Action, ordered: GuestOrder | None, host_boot: str) -> None:
        name = f"{action.act.value} of guest {action.guest}"
        self._workers.begin(name, lambda: self._act(action, ordered, host_boot), starts=action.act in _STARTS)

    def _name_hanging(self, seen: Survey) -> None:
        """Log which guests hang, and which no longer do."""
        hanging = {f"hang of guest {guest.id}": f"guest {guest.name} hangs: {guest.hangs}" for guest in seen.guests if guest.hangs}
        over = [about for about in tuple(self._trouble) if about.startswith("hang of ") and about not in hanging]
        for about, sentence in (*hanging.items(), *((about, "") for about in over)):
            self._complain(about, sentence)

    def _due(self, wanted: tuple[Order, ...], present: tuple[PresentGuest, ...], host_boot: str, moving: frozenset[str]) -> list[Action]:
        """The actions that are due now. The time to shut down starts here for guests that are asked to."""
        now = _now()
        self._shutdowns.keep(wanted, present)
        actions = reconcile(wanted, present, self._memory, host_boot, self._shutdowns.patience(now))
        due = [action for action in actions if action.order is not None and action.guest not in moving and self._pace.due(action, now)]
        for action in due:
            if action.act is Act.SHUT_DOWN and action.order is not None:
                self._shutdowns.asked(action.order, now)
        return due

    def _current_orders(self) -> Orders:
        """The orders to follow: read anew at the start, and after a silence as long as the lease.

        Before the first orders, the agent does not know which guests belong to the service, and its report would call them all foreign.
        During a silence the host may have been fenced; the guests that it lost must then be reported as foreign before the host counts as
        up again.
        """
        if self._orders is None or self._lease.silent:
            return self._take(self._service.orders(after=-1, wait=0.0))
        return self._orders

    def _speak(self, seen: Survey, facts: HostFacts, orders: Orders) -> None:
        """Send the host's report if it changed, else a heartbeat. A guest whose order was refused still counts as the service's."""
        ordered = frozenset(order.guest for order in orders.orders) | frozenset(refused.guest for refused in self._refused)
        report = host_report(seen, ordered, strategy=self._settings.strategy, disk_gib=facts.disk_gib, facts=facts.facts)
        if self._lease.speak(report):
            self._wake.set()  # send it again in the next turn
        self._reported.set()

    def _adopt(self, present: tuple[PresentGuest, ...], orders: Orders, host_boot: str, moving: frozenset[str]) -> None:
        """Remember the boot of a running guest whose start was not written down, because the agent died between the two."""
        boots = {order.guest: order for order in orders.orders}
        known = {entry.guest for entry in self._memory.booted}
        for guest in present:
            order = boots.get(guest.guest)
            if order is None or guest.guest in known or guest.guest in moving:
                continue
            if guest.state is GuestState.RUNNING and guest.revision == order.revision:
                self._remember(remember_boot(self._memory, LastBoot(guest=guest.guest, boot=order.boot, host_boot=host_boot)))

    def _act(self, action: Action, ordered: GuestOrder | None, host_boot: str) -> None:
        """Perform one action and report its outcome. After any failure a later turn tries again."""
        guest, about = action.guest, f"{action.act.value} of guest {action.guest}"
        try:
            with self._lock:
                ran = any(entry.guest == guest for entry in self._memory.booted)
            outcome = self._performer.perform(action, ordered, ran=ran)
            if outcome.gone:
                self._bury(action, outcome.failure)
            elif outcome.booted and action.order is not None:
                fault_point("agent.started")
                booted = LastBoot(guest=guest, boot=action.order.boot, host_boot=host_boot, failure=outcome.failure)
                with self._lock:
                    self._remember(remember_boot(self._memory, booted))
            self._complain(about, "")
        except (PinfoldError, OSError) as error:
            self._complain(about, f"{about} is tried again: {error}")
        except Exception:
            _log.exception("%s", about)
        finally:
            with self._lock:
                self._busy.discard(guest)
                self._pace.done(action, _now())
            self._wake.set()

    def _bury(self, action: Action, failure: str) -> None:
        """Write down that nothing of a guest remains, then confirm it to the service if the service waits for it."""
        order = action.order
        if order is None or (action.act is Act.REMOVE and order.desired is not Desired.ABSENT):
            return  # these were the remains of an earlier claim: the order itself must still be carried out
        fault_point("agent.removed")
        if failure and action.act is not Act.REFUSE_STALE:
            self._failures[order.guest] = (order.revision, failure)
        with self._lock:
            self._remember(remember_absence(self._memory, Tombstone(guest=order.guest, revision=order.revision)))
        fault_point("agent.buried")
        if order.claim is not None:
            # Report the reason of a failed start, also when an earlier report failed and the order now meets its tombstone.
            revision, first = self._failures.get(order.guest, (-1, ""))
            reason = first if failure and revision == order.revision else failure
            self._service.absent(order.guest, Absence(revision=order.revision, failure=reason, claim=order.claim))
            fault_point("agent.confirmed")
        self._failures.pop(order.guest, None)
        self._delivery.forget(order.guest)

    def _remember(self, memory: Memory) -> None:
        write_memory(self._memory_path, memory)
        self._memory = memory

    def _report_guests(self, seen: Survey, orders: Orders, moving: frozenset[str]) -> None:
        """Report every guest of the service whose state changed, and all threads when a sweep is due.

        An error with one guest does not stop the reports of the others.
        """
        now = _now()
        sweep = now - self._swept >= self._sweep_seconds
        booted = {entry.guest: entry for entry in self._memory.booted}
        ordered = {order.guest: order.revision for order in orders.orders if order.desired is not Desired.ABSENT}
        if sweep:
            self._delivery.retry_unanswered()
        for guest in seen.ours:
            if guest.record is None or guest.record.owner != self._owner or guest.id in moving:
                continue
            if ordered.get(guest.id) != guest.record.revision:
                continue
            self._guarded(guest.id, lambda guest=guest: self._report_guest(guest, booted.get(guest.id), seen, sweep=sweep))  # type: ignore[misc]
        for lost, report in lost_guests(orders, present_guests(seen.guests, self._owner), self._memory):
            if lost not in moving:
                self._guarded(lost, lambda lost=lost, report=report: self._tell(lost, report))  # type: ignore[misc]
        if sweep:
            self._swept = now

    def _guarded(self, guest: str, tell: Callable[[], None]) -> None:
        """Send one guest's report. A service that is away ends the turn; any other error concerns this guest only."""
        about = f"report of guest {guest}"
        try:
            tell()
            self._complain(about, "")
        except PinfoldError as error:
            self._complain(about, f"{about}: {error}")
            if isinstance(error, ServiceAway):
                raise

    def _report_guest(self, guest: HostGuest, booted: LastBoot | None, seen: Survey, *, sweep: bool) -> None:
        answered = self._delivery.answered(guest.id)
        known = None if answered is None or answered.threads is None else replace(answered.threads, hangs=guest.hangs)
        report = guest_report(guest, booted, known)
        if guest.active and (sweep or report != answered):
            verdict = verify(self._driver, self._settings, guest, online=seen.state.topology.online)
            report = guest_report(guest, booted, thread_report(verdict))
            drift = "; ".join(finding.sentence() for finding in verdict.drift)
            self._complain(f"drift of guest {guest.id}", f"guest {guest.name} has drifted: {drift}" if drift else "")
        self._tell(guest.id, report)

    def _tell(self, guest: str, report: GuestReport) -> None:
        self._delivery.send(guest, report, self._service.report)


def _wanted(orders: Orders, present: tuple[PresentGuest, ...]) -> tuple[Order, ...]:
    """The orders, and a removal for each guest that has a tombstone at the service but is still here."""
    wanted = {
        order.guest: Order(
            guest=order.guest, claim=order.claim, revision=order.revision, desired=order.desired, boot=order.boot, hard=order.hard
        )
        for order in orders.orders
    }
    here = {guest.guest: guest.revision for guest in present}
    for stone in orders.tombstones:
        if stone.guest not in wanted and here.get(stone.guest, stone.revision + 1) <= stone.revision:
            wanted[stone.guest] = Order(guest=stone.guest, claim=None, revision=stone.revision, desired=Desired.ABSENT)
    return tuple(wanted[guest] for guest in sorted(wanted))

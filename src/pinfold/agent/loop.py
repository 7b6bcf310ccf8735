"""`Agent`: the loop that keeps one host as the service wants it. What to do is decided in `reconcile`, what to say in `report`.

Each turn: look at the host, report it or send a heartbeat, reconcile, perform. A turn comes when orders or events arrive, when an action is
over, and at the latest with the next heartbeat. Actions run in a few threads, one at a time for each guest.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pinfold.agent.client import ServiceClient
from pinfold.agent.memory import read_memory, write_memory
from pinfold.agent.perform import Performer
from pinfold.agent.reconcile import Action, Booted, Memory, Order, Present, reconcile, remember_absence, remember_boot
from pinfold.agent.report import OBSERVED, host_report, present_guests, thread_report
from pinfold.agent.wire import Absence, GuestOrder, GuestReport, Hello, Orders
from pinfold.core.errors import PinfoldError, Unavailable
from pinfold.core.settings import HostSettings
from pinfold.drivers.port import Driver, Event, GuestState, HostGuest
from pinfold.host.lock import give_up_ownership, take_ownership
from pinfold.host.survey import Survey, survey
from pinfold.host.verify import verify
from pinfold.store.model import Desired, HostReport, Pairs, Tombstone

_log = logging.getLogger(__name__)

_POLL_SECONDS: Final = 25.0
_BACKOFF_SECONDS: Final = 1.0
_WORKERS: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFacts:
    """What the process knows of its host and the survey does not: the boot id, the disk's size, and facts for people."""

    host_boot: str
    disk_gib: int | None = None
    facts: Pairs = ()


def owner_of(settings: HostSettings) -> str:
    """The name under which a host's agent owns it and its guests."""
    return f"the agent of {settings.host}"


class Agent:
    """One host's agent. `run` returns when `stop` was called; guests go on."""

    def __init__(
        self, driver: Driver, settings: HostSettings, service: ServiceClient, facts: Callable[[], HostFacts], *, sweep_seconds: float
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
        self._lock = threading.RLock()
        self._wake = threading.Event()
        self._ended = threading.Event()
        self._orders: Orders | None = None
        self._busy: set[str] = set()
        self._told: dict[str, GuestReport] = {}
        self._reported: HostReport | None = None
        self._lease_seconds = 6.0
        self._spoke = self._swept = float("-inf")

    def stop(self) -> None:
        """End `run` soon. Safe from any thread and from signal handlers."""
        self._ended.set()
        self._wake.set()

    def run(self) -> None:
        """Keep the host as wanted until `stop`. Raises `InvalidRequest` when somebody else owns the host."""
        take_ownership(self._settings, self._owner)
        unsubscribe = self._driver.events(self._hear)
        poller = threading.Thread(target=self._poll, name="pinfold-orders", daemon=True)
        poller.start()
        with ThreadPoolExecutor(_WORKERS, thread_name_prefix="pinfold-action") as workers:
            while not self._ended.is_set():
                self._wake.clear()
                try:
                    self._turn(workers)
                except PinfoldError as error:
                    _log.warning("%s", error)
                self._wake.wait(min(self._lease_seconds / 3, self._sweep_seconds))
        unsubscribe()
        try:
            self._service.goodbye()
        except PinfoldError as error:
            _log.info("no goodbye: %s", error)
        give_up_ownership(self._settings)

    def _hear(self, event: Event) -> None:
        _log.debug("%s %s", event.kind.value, event.guest)
        self._wake.set()

    def _poll(self) -> None:
        """Wait for orders, for as long as the agent runs."""
        while not self._ended.is_set():
            try:
                found = self._service.orders(after=self._orders.count if self._orders else -1, wait=_POLL_SECONDS)
            except PinfoldError as error:
                if not self._ended.is_set():
                    _log.warning("no orders: %s", error)
                    self._ended.wait(_BACKOFF_SECONDS)
                continue
            if self._orders is None or found.count != self._orders.count:
                self._orders = found
                self._wake.set()

    def _turn(self, workers: ThreadPoolExecutor) -> None:
        # Before the first orders nobody knows which guests are the service's, and a report would call them all foreign.
        orders = self._orders = self._orders or self._service.orders(after=-1, wait=0.0)
        seen = survey(self._driver, self._settings)
        facts = self._facts()
        self._speak(seen, facts, orders)
        self._adopt(seen, orders, facts.host_boot)
        present = present_guests(seen.guests, self._owner)
        with self._lock:
            actions = reconcile(_wanted(orders, present), present, self._memory, facts.host_boot)
            free = [action for action in actions if action.guest not in self._busy and action.order is not None]
            self._busy.update(action.guest for action in free)
        by_guest = {order.guest: order for order in orders.orders}
        for action in free:
            workers.submit(self._act, action, by_guest.get(action.guest), facts.host_boot)
        self._report_guests(seen, orders)

    def _speak(self, seen: Survey, facts: HostFacts, orders: Orders) -> None:
        """Report the host where it changed, else live on."""
        ordered = frozenset(order.guest for order in orders.orders)
        report = host_report(seen, ordered, strategy=self._settings.strategy, disk_gib=facts.disk_gib, facts=facts.facts)
        now = time.monotonic()
        if report != self._reported:
            welcome = self._service.hello(Hello(name=self._settings.host, report=report))
            self._reported = report
        elif now - self._spoke >= self._lease_seconds / 3:
            welcome = self._service.heartbeat()
        else:
            return
        self._spoke, self._lease_seconds = now, welcome.lease_seconds

    def _adopt(self, seen: Survey, orders: Orders, host_boot: str) -> None:
        """Remember the boot of a running guest that this agent forgot: it was started, and the agent died before it wrote that down."""
        boots = {order.guest: order for order in orders.orders}
        with self._lock:
            known = {entry.guest for entry in self._memory.booted}
            for guest in present_guests(seen.guests, self._owner):
                order = boots.get(guest.guest)
                forgotten = order is not None and guest.guest not in known and guest.guest not in self._busy
                if order is not None and forgotten and guest.state is GuestState.RUNNING and guest.revision == order.revision:
                    self._remember(remember_boot(self._memory, Booted(guest=guest.guest, boot=order.boot, host_boot=host_boot)))

    def _act(self, action: Action, ordered: GuestOrder | None, host_boot: str) -> None:
        """Perform one action and tell what came of it; whatever fails is tried again in a later turn."""
        order = action.order
        assert order is not None
        try:
            outcome = self._performer.perform(action, ordered)
            if outcome.gone:
                with self._lock:
                    self._remember(remember_absence(self._memory, Tombstone(guest=order.guest, revision=order.revision)))
                if order.claim:
                    self._service.absent(order.guest, Absence(revision=order.revision, failure=outcome.failure))
                self._told.pop(order.guest, None)
            elif outcome.booted:
                with self._lock:
                    self._remember(remember_boot(self._memory, Booted(guest=order.guest, boot=order.boot, host_boot=host_boot)))
        except Unavailable as error:
            _log.warning("%s of guest %s is tried again: %s", action.act.value, order.guest, error)
            self._ended.wait(_BACKOFF_SECONDS)
        except Exception:
            _log.exception("%s of guest %s", action.act.value, order.guest)
            self._ended.wait(_BACKOFF_SECONDS)
        finally:
            with self._lock:
                self._busy.discard(order.guest)
            self._wake.set()

    def _remember(self, memory: Memory) -> None:
        write_memory(self._memory_path, memory)
        self._memory = memory

    def _report_guests(self, seen: Survey, orders: Orders) -> None:
        """Tell of every guest of the service whose state changed, and of all threads when a sweep is due."""
        now = time.monotonic()
        sweep = now - self._swept >= self._sweep_seconds
        boots = {entry.guest: entry.boot for entry in self._memory.booted}
        ordered = {order.guest for order in orders.orders if order.desired is not Desired.ABSENT}
        for guest in seen.ours:
            if guest.id in ordered and guest.id not in self._busy and guest.record is not None and guest.record.owner == self._owner:
                self._report_guest(guest, boots.get(guest.id), seen, sweep=sweep)
        if sweep:
            self._swept = now

    def _report_guest(self, guest: HostGuest, boot: int | None, seen: Survey, *, sweep: bool) -> None:
        assert guest.record is not None
        told = self._told.get(guest.id)
        threads = told.threads if told is not None and guest.active else None
        changed = told is None or told.observed is not OBSERVED[guest.state] or told.boot != boot
        if guest.active and (sweep or changed):
            verdict = verify(self._driver, self._settings, guest, online=seen.state.topology.online)
            threads = thread_report(verdict)
            for finding in verdict.drift:
                _log.warning("guest %s: %s", guest.name, finding.sentence())
        report = GuestReport(revision=guest.record.revision, observed=OBSERVED[guest.state], boot=boot, threads=threads)
        if report != told:
            self._service.report(guest.id, report)
            self._told[guest.id] = report


def _wanted(orders: Orders, present: tuple[Present, ...]) -> tuple[Order, ...]:
    """The orders, and a removal for each guest that is buried at the service but still here."""
    wanted = {
        order.guest: Order(guest=order.guest, claim=order.claim, revision=order.revision, desired=order.desired, boot=order.boot)
        for order in orders.orders
    }
    here = {guest.guest: guest.revision for guest in present}
    for stone in orders.tombstones:
        if stone.guest not in wanted and here.get(stone.guest, stone.revision + 1) <= stone.revision:
            wanted[stone.guest] = Order(guest=stone.guest, claim="", revision=stone.revision, desired=Desired.ABSENT)
    return tuple(wanted[guest] for guest in sorted(wanted))

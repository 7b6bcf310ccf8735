"""`Agent`: the loop around `step`. It performs the actions that `step` returns, each in a thread of its own, and feeds the answers back.

So nothing holds up anything else: a guest that hangs blocks only its own task, and a look at the host that takes long blocks no heartbeat.
What is done and when is decided in `step`.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, assert_never

from msgspec.structs import replace

from pinfold.agent import actions, events
from pinfold.agent.actions import Action
from pinfold.agent.answers import answer
from pinfold.agent.client import ServiceAway, ServiceClient
from pinfold.agent.consoles import Consoles
from pinfold.agent.events import Event, HostFacts
from pinfold.agent.lease import SPEAKS
from pinfold.agent.memory import read_memory, write_memory
from pinfold.agent.owner import owner_name
from pinfold.agent.perform import Performer
from pinfold.agent.pool_file import PoolFile
from pinfold.agent.readings import Readings
from pinfold.agent.report import answer_of, thread_report
from pinfold.agent.state import Rules, starting
from pinfold.agent.step import due_at, step
from pinfold.agent.story import Stories
from pinfold.agent.story_file import read_stories, stories_path, write_stories
from pinfold.agent.wire import Hello, Renewal
from pinfold.core.errors import InvalidRequest, PinfoldError
from pinfold.core.guest_questions import About, GuestAnswer, GuestQuestion
from pinfold.core.history import KEPT_SECONDS, HistoryAnswer
from pinfold.core.host_map import HostMap
from pinfold.core.options import Option
from pinfold.core.pools import PoolConfig, build_pools
from pinfold.core.settings import HostSettings, RepairScope
from pinfold.core.usage import Usage, accumulated
from pinfold.drivers.port import Driver
from pinfold.faultpoints import fault_point
from pinfold.host import serial
from pinfold.host.audit import Audit
from pinfold.host.loop_events import HungUp, Log, Repaired, Stop, Tick, now
from pinfold.host.measure import sample
from pinfold.host.memory import memory_of_guests
from pinfold.host.repair import drifted_guests, repair_guest
from pinfold.host.samples import Samples

_log = logging.getLogger(__name__)

_SHORTEST_PAUSE: Final = 0.05
_FINISH_SECONDS: Final = 4.0
"""How long actions under way may take when the agent ends. With its goodbye and libvirt's, it ends within ten seconds."""
_GOODBYE_SECONDS: Final = 2.0
_WAKE_SECONDS: Final = 1.0
"""The loop wakes this often, because the handler of a signal that another thread received runs only when this thread wakes."""
_NEVER: Final = float("inf")


def owner_of(settings: HostSettings) -> str:
    """The owner name that a host's agent writes into its host lock and its guests' records."""
    return owner_name(settings.host)


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
        repair: RepairScope = RepairScope.OFF,
        options: tuple[Option, ...],
        read_options: Callable[[], tuple[tuple[Option, ...], PoolConfig]],
        pool_file: PoolFile,
    ) -> None:
        self._driver = driver
        self._settings = settings
        self._service = service
        self._facts = facts
        self._owner = owner = owner_of(settings)
        self._memory_path = Path(settings.state_dir, "agent.memory")
        self._stories_path = stories_path(settings)
        self._performer = Performer(driver, settings, service, owner, shutdown_seconds=shutdown_seconds)
        self._shutdown_seconds = shutdown_seconds
        self._consoles = Consoles(driver, service, owner)
        self._read_options = read_options
        self._usage: Usage | None = None
        self._readings = Readings(driver, settings)
        self._samples = Samples(sweep_seconds)
        self._pool_file = pool_file
        rules = Rules(
            owner=owner,
            strategy=settings.strategy,
            any_cell=settings.any_cell,
            sweep_seconds=sweep_seconds,
            shutdown_seconds=shutdown_seconds,
            repair=repair,
            options=options,
            pools=settings.pools,
        )
        self._state = starting(read_memory(self._memory_path), rules, now().at, _stories(self._stories_path), pool_file.read())
        self._events: queue.SimpleQueue[Event | Exception] = queue.SimpleQueue()
        self._reported: Callable[[bool], None] = lambda _: None
        self._crash: Exception | None = None

    def stop(self) -> None:
        """Make `run` return soon. Safe from any thread, and from signal handlers: a SimpleQueue may be put into while it is waited for."""
        self._events.put(Stop(when=now()))

    def hang_up(self) -> None:
        """Hear a SIGHUP: read the configuration again, use its pools, and log what has changed. Safe where `stop` is."""
        self._events.put(HungUp(when=now()))

    def run(self, reported: Callable[[bool], None] = lambda _: None) -> None:
        """Keep the host as the service wants it until `stop`. Then wait a short time for running actions; the next agent does the rest.

        `reported` is called once, in this thread: with True when the service has the host's first report, with False if that takes longer
        than 10 seconds. An error after which nothing can succeed ends the agent, and is raised.
        """
        self._reported = reported
        unsubscribe = self._driver.events(lambda event: self._events.put(events.HostChanged(when=now(), event=event)))
        try:
            self._go()
        finally:
            unsubscribe()
            goodbye = threading.Thread(target=self._say_goodbye, daemon=True)
            goodbye.start()
            goodbye.join(_GOODBYE_SECONDS)
        if self._crash is not None:
            raise self._crash

    def _go(self) -> None:
        until = _NEVER
        while not (self._state.ending and self._state.idle) and time.monotonic() < until:
            try:
                event = self._events.get(timeout=self._pause())
            except queue.Empty:
                event = Tick(when=now())
            if isinstance(event, Exception):
                self._crash = event
                event = Stop(when=now())
            self._feed(event)
            if isinstance(event, Stop):
                until = min(until, time.monotonic() + _FINISH_SECONDS)
        for status in self._state.guests.values():
            if status.work is not None:
                _log.warning("%s is still under way; the next agent sees to it", status.work.sentence)

    def _feed(self, event: Event) -> None:
        self._state, asked = step(self._state, event)
        for action in asked:
            if isinstance(action, Log):
                _log.log(action.level, "%s", action.sentence)
            elif isinstance(action, actions.Announce):
                self._reported(action.reported)
            elif isinstance(action, actions.UsePools):
                self._settings = replace(self._settings, pools=action.pools)
                self._performer = Performer(
                    self._driver, self._settings, self._service, self._owner, shutdown_seconds=self._shutdown_seconds
                )
                self._readings = Readings(self._driver, self._settings)
            else:
                threading.Thread(target=self._perform, args=(action,), name=f"pinfold {type(action).__name__}", daemon=True).start()

    def _pause(self) -> float:
        longest = min(_WAKE_SECONDS, self._state.lease.seconds * SPEAKS / 2)
        return max(_SHORTEST_PAUSE, min(longest, due_at(self._state) - now().at))

    def _perform(self, action: Action) -> None:
        """Perform one action, and feed its answer back. A bug that a guest's task meets concerns that guest; any other ends the agent."""
        try:
            self._events.put(self._answer(action))
        except (PinfoldError, OSError) as error:
            away, again = isinstance(error, ServiceAway), error.again if isinstance(error, ServiceAway) else 0.0
            self._events.put(events.Failed(when=now(), action=action, why=str(error), away=away, again=again))
        except Exception as error:
            if not isinstance(action, actions.Perform | actions.Confirm | actions.Repair | actions.RepairOnDemand | actions.AnswerQuestion):
                self._events.put(error)
                return
            _log.exception("%s", type(action).__name__)
            self._events.put(events.Failed(when=now(), action=action, why=f"{type(error).__name__} {error}".rstrip()))

    def _answer(self, action: Action) -> Event:
        """Perform one action. Raises what its effect raises."""
        match action:
            case actions.ReadOrders():
                return events.OrdersRead(parsed=self._service.orders(after=-1, wait=0.0), polled=False, when=now())
            case actions.PollOrders(after=after, wait=wait, alive=alive, audited=audited):
                parsed = self._service.orders(after=after, wait=wait, renewed=self._renewed if alive else None, audited=audited)
                return events.OrdersRead(parsed=parsed, polled=True, when=now())
            case actions.Look():
                return events.Looked(seen=self._readings.look(), facts=self._facts(), when=now())
            case actions.SendReport(report=report):
                return events.Welcomed(welcome=self._service.hello(Hello(name=self._settings.host, report=report)), when=now())
            case actions.SendHeartbeat():
                return events.Welcomed(welcome=self._service.heartbeat(), when=now())
            case actions.Verify():
                return self._verify(action)
            case actions.SendGuest() | actions.SendFindings() | actions.SendHistory() | actions.SendRepair() | actions.AnswerQuestion():
                return self._send(action)
            case actions.Audit():
                return self._audit(action)
            case actions.Perform() | actions.Repair() | actions.RepairOnDemand():
                return self._perform_task(action)
            case actions.Confirm(guest=guest, absence=absence):
                fault_point("agent.buried")
                self._service.absent(guest, absence)
                fault_point("agent.confirmed")
                return events.Confirmed(guest=guest, when=now())
            case actions.SaveMemory() | actions.SaveStories():
                return self._save(action)
            case actions.ReadOptions() | actions.WritePools():
                return self._configure(action)
            case Log() | actions.Announce() | actions.UsePools():
                raise AssertionError("these are performed at once")
            case _:
                assert_never(action)

    def _renewed(self, renewal: Renewal) -> None:
        self._events.put(events.RenewedEarly(renewal=renewal, when=now()))

    def _verify(self, action: actions.Verify) -> events.Verified:
        verdict = self._readings.verify(action.guest, online=action.online)
        drift = "; ".join(finding.fact() for finding in verdict.drift)
        return events.Verified(threads=thread_report(verdict), drift=drift, when=now())

    def _send(
        self, action: actions.SendGuest | actions.SendFindings | actions.SendHistory | actions.SendRepair | actions.AnswerQuestion
    ) -> Event:
        if isinstance(action, actions.AnswerQuestion):
            answered = self._answered(action.question)
            if answered is not None:
                self._service.guest_answer(answered)
            return events.QuestionAnswered(when=now())
        if isinstance(action, actions.SendRepair):
            self._service.repaired(action.guest, action.answer)
            return events.RepairSent(guest=action.guest, when=now())
        if isinstance(action, actions.SendHistory):
            history = self._samples.message(self._settings.host, action.question.seconds)
            audited = self._readings.audited
            if action.question.seconds >= KEPT_SECONDS and audited is not None:
                history = replace(history, memory=memory_of_guests(audited.seen))
            self._service.history(HistoryAnswer(number=action.question.number, history=history))
            return events.HistorySent(when=now())
        if isinstance(action, actions.SendFindings):
            self._service.findings(action.report)
            return events.FindingsSent(report=action.report, when=now())
        self._service.report(action.guest, action.report)
        return events.Reported(guest=action.guest, report=action.report, when=now())

    def _answered(self, question: GuestQuestion) -> GuestAnswer | None:
        """The answer to a question about a guest; None for a console that is connected now, which is the answer."""
        if question.about is About.CONSOLE:
            return self._consoles.connect(question)
        return answer(self._driver, self._settings, self._owner, question)

    def _save(self, action: actions.SaveMemory | actions.SaveStories) -> Event:
        if isinstance(action, actions.SaveMemory):
            write_memory(self._memory_path, action.memory)
            return events.Saved(memory=action.memory, when=now())
        write_stories(self._stories_path, action.stories)
        return events.StoriesSaved(stories=action.stories, when=now())

    def _configure(self, action: actions.ReadOptions | actions.WritePools) -> Event:
        if isinstance(action, actions.WritePools):
            if action.pools is not None:
                build_pools(action.pools.config, self._driver.topology())
            self._pool_file.write(action.pools)
            return events.PoolsWritten(pools=action.pools, when=now())
        options, pools = self._read_options()
        build_pools(pools, self._driver.topology())
        return events.OptionsRead(options=options, pools=pools, cause=action.cause, when=now())

    def _audit(self, action: actions.Audit) -> events.Audited:
        unread: dict[str, str] = {}
        found, drawn = self._readings.audit(action.seen, lambda guest, error: unread.update({guest.id: str(error)}))
        mine = {guest.guest.id for guest in found.guests if guest.guest.record is not None and guest.guest.record.owner == self._owner}
        drifted = tuple(one for one in drifted_guests(self._driver, found, RepairScope.OURS) if one.guest_id in mine)
        running = frozenset(guest.id for guest in action.seen.guests if guest.active)
        self._measure(found, drawn)
        serial.trim(self._settings)
        return events.Audited(findings=found.findings, unread=unread, drifted=drifted, running=running, when=now())

    def _measure(self, found: Audit, drawn: HostMap) -> None:
        """Add a sample of an audited host. There is one audit at a time."""
        measured = sample(found, drawn)
        self._usage = accumulated(self._usage, measured)
        self._samples.add(self._usage, measured.unread, {guest.id: guest.name for guest in found.seen.guests}, now())

    def _perform_task(self, action: actions.Perform | actions.Repair | actions.RepairOnDemand) -> Event:
        if isinstance(action, actions.RepairOnDemand):
            found = repair_guest(self._driver, self._settings, action.question.guest, RepairScope.OURS)
            answer, classes = answer_of(found, action.question.number)
            return events.RepairedOnDemand(guest=action.question.guest, answer=answer, classes=classes, when=now())
        if isinstance(action, actions.Repair):
            found = repair_guest(self._driver, self._settings, action.guest.guest_id, RepairScope.OURS)
            failure = "; ".join(one.sentence() for one in found.left)
            return Repaired(guest=action.guest, failure=failure, needless=not found.moved, when=now())
        outcome = self._performer.perform(action.task, ran=action.ran, known=action.known)
        if outcome.gone:
            fault_point("agent.removed")
        elif outcome.booted:
            fault_point("agent.started")
        return events.Performed(guest=action.task.guest, outcome=outcome, when=now())

    def _say_goodbye(self) -> None:
        try:
            self._service.goodbye(timeout=_GOODBYE_SECONDS)
        except PinfoldError as error:
            _log.info("no goodbye: %s", error)


def _stories(path: Path) -> Stories:
    """The stories in their file. A damaged file is logged and replaced: no guest depends on it."""
    try:
        return read_stories(path)
    except InvalidRequest as error:
        _log.warning("%s; the agent begins with new ones", error)
        return {}

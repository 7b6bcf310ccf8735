"""One agent and its service over a network that delays, loses and cuts off: `step` on the agent's clock, the lease on the service's.

The service is a few processes on one database, as `service.presence` and `store.presence` have it: a process keeps signs of life in
memory, writes them a moment later, and only then answers that a lease is renewed. A process that restarts loses both. Times are
true ones, and each side reads its own clock, which is ahead or behind by any amount.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from random import Random

from tests.agent.script import FACTS, LEASE, RULES, id_of, survey

from pinfold.agent import actions, events
from pinfold.agent.events import Event
from pinfold.agent.reconcile import Memory
from pinfold.agent.responses import ParsedOrders
from pinfold.agent.state import State, starting
from pinfold.agent.step import due_at, step
from pinfold.agent.wire import Orders, Renewal, Welcome
from pinfold.host.loop_events import Log, Moment, Tick

_NEVER = float("-inf")


@dataclass(frozen=True, kw_only=True)
class Weather:
    """What goes wrong: the longest usual delay of a message, the shares of messages that are late or lost, and of looks that fail; how
    often a process restarts in a lease; whether the service tells renewals early; how often orders change in a lease.
    """

    delay: float = 0.05
    late: float = 0.0
    lost: float = 0.0
    blind: float = 0.0
    restarts: float = 0.0
    early: bool = True
    news: float = 0.0


@dataclass
class Poll:
    """A poll that waits at a process."""

    after: int
    since: float
    told: bool
    ends: float
    ask: Exchange


@dataclass
class Exchange:
    """A request of the agent, which it answers to itself once, at the latest when it gives up waiting."""

    action: actions.Action
    open: bool = True
    heard: float = 0.0
    """When the last part of its answer arrives: parts arrive in order."""


@dataclass
class Process:
    """One process of the service: the sign of life that it has to write, and the polls that wait."""

    sign: float = _NEVER
    polls: list[Poll] = field(default_factory=list)


class Model:
    """The agent and its service. `sound` is whether the agent has only ever believed in leases that the service held."""

    def __init__(self, rng: Random, weather: Weather, *, processes: int = 2) -> None:
        self.weather, self.now, self.asked, self.downs = weather, 0.0, Counter[str](), 0
        self.lose: Callable[[actions.Action, str], bool] = lambda _action, _part: False
        self.problems: list[str] = []
        self._rng, self._order, self._queue = rng, count(), list[tuple[float, int, Callable[[], None]]]()
        self._agents_clock, self._tick = rng.uniform(-1e6, 1e6), 0
        self._heard = self._until = _NEVER
        self._orders, self._processes = 1, [Process() for _ in range(processes)]
        self.state: State = starting(Memory(), RULES, self._agents_clock)
        self._at(0.0, lambda: self._feed(Tick(when=self._when())))
        for process in self._processes:
            self._at(rng.uniform(0.0, LEASE / 30), lambda process=process: self._write(process))  # type: ignore[misc]
        self._sometimes(weather.restarts, self._restart)
        self._sometimes(weather.news, self._change_orders)

    @property
    def up(self) -> bool:
        """Whether the host counts as up at the service."""
        return self._until > self.now

    @property
    def believes(self) -> bool:
        """Whether the agent takes its lease for one that the service holds."""
        return not self.state.lease.silent(self._when().at)

    def run(self, seconds: float) -> None:
        """Let time pass."""
        until = self.now + seconds
        while self._queue and self._queue[0][0] <= until:
            self.now, _, happens = heapq.heappop(self._queue)
            self._check()
            happens()
            self._check()
        self.now = until
        self._check()

    def _check(self) -> None:
        if self.believes and self._until < self.now - 1e-6:
            self.problems.append(f"at {self.now:.3f} the agent believes in a lease that ended at {self._until:.3f}")

    def _when(self) -> Moment:
        return Moment(at=self.now + self._agents_clock)

    def _at(self, at: float, happens: Callable[[], None]) -> None:
        heapq.heappush(self._queue, (at, next(self._order), happens))

    def _sometimes(self, times: float, happens: Callable[[], None]) -> None:
        if times:
            pause = self._rng.expovariate(times / LEASE)

            def again() -> None:
                happens()
                self._sometimes(times, happens)

            self._at(self.now + pause, again)

    # The agent

    def _feed(self, event: Event) -> None:
        self.state, asked = step(self.state, event)
        for action in asked:
            self._do(action)
        self._tick += 1
        tick = self._tick
        pause = min(max(0.05, due_at(self.state) - self._when().at), self.state.lease.seconds / 8)
        self._at(self.now + pause, lambda: self._feed(Tick(when=self._when())) if tick == self._tick else None)

    def _do(self, action: actions.Action) -> None:
        match action:
            case Log() | actions.Announce():
                return
            case actions.Look():
                failed = self._rng.random() < self.weather.blind
                takes = self._rng.choice((0.01, 0.5, LEASE * 2)) if failed else 0.01
                self._at(self.now + takes, lambda: self._feed(self._looked(action, failed=failed)))
            case actions.ReadOrders() | actions.PollOrders() | actions.SendReport() | actions.SendHeartbeat():
                self.asked[type(action).__name__] += 1
                self._send(Exchange(action), action)
            case actions.Audit():
                self._at(self.now, lambda: self._feed(events.Audited(findings=(), when=self._when())))
            case actions.SendFindings(report=report):
                self._at(self.now, lambda: self._feed(events.FindingsSent(report=report, when=self._when())))
            case actions.SaveMemory(memory=memory):
                self._at(self.now, lambda: self._feed(events.Saved(memory=memory, when=self._when())))
            case actions.SaveStories(stories=stories):
                self._at(self.now, lambda: self._feed(events.StoriesSaved(stories=stories, when=self._when())))
            case _:
                raise AssertionError(action)

    def _looked(self, action: actions.Look, *, failed: bool) -> Event:
        if failed:
            return events.Failed(action=action, why="libvirt is away", when=self._when())
        return events.Looked(seen=survey(), facts=FACTS, when=self._when())

    # The network

    def _delay(self) -> float:
        if self._rng.random() < self.weather.late:
            return self._rng.uniform(0.0, 2 * LEASE)
        return self._rng.uniform(0.0, self.weather.delay)

    def _gone(self, action: actions.Action, part: str) -> bool:
        return self.lose(action, part) or self._rng.random() < self.weather.lost

    def _send(self, ask: Exchange, action: actions.Action) -> None:
        patience = LEASE * 3 if isinstance(action, actions.PollOrders) else LEASE
        self._at(self.now + patience, lambda: self._fail(ask))
        if not self._gone(action, "request"):
            process = self._rng.choice(self._processes)
            self._at(self.now + self._delay(), lambda: self._receive(process, ask))

    def _answer(self, ask: Exchange, part: str, made: Callable[[], Event]) -> None:
        """Let a part of an answer arrive. One that is lost takes all later ones with it."""
        last = part != "early"
        if self._gone(ask.action, part):
            ask.heard = float("inf")
        ask.heard = max(ask.heard, self.now + self._delay())
        if ask.heard < float("inf"):
            self._at(ask.heard, lambda: self._hear(ask, made, last=last))

    def _hear(self, ask: Exchange, made: Callable[[], Event], *, last: bool) -> None:
        if ask.open:
            ask.open = not last
            self._feed(made())

    def _fail(self, ask: Exchange) -> None:
        if ask.open:
            ask.open = False
            self._feed(events.Failed(action=ask.action, why="no answer", away=True, when=self._when()))

    # The service

    def _receive(self, process: Process, ask: Exchange) -> None:
        action = ask.action
        match action:
            case actions.ReadOrders():
                self._give(ask, polled=False)
            case actions.SendReport() | actions.SendHeartbeat():
                if self._heard < self.now:
                    self._heard, self._until = self.now, self.now + LEASE
                welcome = Welcome(host=id_of(7), revision=1, report="d", orders=self._orders, lease_seconds=LEASE)
                self._answer(ask, "answer", lambda: events.Welcomed(welcome=welcome, when=self._when()))
            case actions.PollOrders(after=after, wait=wait, alive=alive):
                if alive:
                    process.sign = self.now
                poll = Poll(after, self.now if alive else float("inf"), not (alive and self.weather.early), self.now + wait, ask)
                process.polls.append(poll)
                self._at(poll.ends, lambda: self._end(process, poll))
                if after != self._orders:
                    self._end(process, poll)

    def _write(self, process: Process) -> None:
        """Write the sign of life that the process has, and tell those polls that prove it."""
        sign, process.sign = process.sign, _NEVER
        if self._heard < sign and self._until > self.now:
            self._heard, self._until = sign, sign + LEASE
            for poll in process.polls:
                if not poll.told and poll.since <= sign:
                    poll.told, poll.since = True, float("inf")
                    self._answer(poll.ask, "early", lambda: events.RenewedEarly(renewal=_RENEWAL, when=self._when()))
                elif poll.since <= sign:
                    poll.since = _NEVER
        self._at(self.now + LEASE / 30, lambda: self._write(process))

    def _end(self, process: Process, poll: Poll) -> None:
        if poll in process.polls:
            process.polls.remove(poll)
            self._give(poll.ask, polled=True, lease=_RENEWAL if poll.since == _NEVER and poll.after == self._orders else None)

    def _give(self, ask: Exchange, *, polled: bool, lease: Renewal | None = None) -> None:
        parsed = ParsedOrders(orders=Orders(count=self._orders, lease=lease))
        self._answer(ask, "answer", lambda: events.OrdersRead(parsed=parsed, polled=polled, when=self._when()))

    def _restart(self) -> None:
        process = self._rng.choice(self._processes)
        polls, process.polls, process.sign = process.polls, [], _NEVER
        for poll in polls:
            if not self._gone(poll.ask.action, "reset"):
                self._at(self.now + self._delay(), lambda poll=poll: self._fail(poll.ask))  # type: ignore[misc]

    def _change_orders(self) -> None:
        self._orders += 1
        for process in self._processes:
            for poll in list(process.polls):
                self._end(process, poll)


_RENEWAL = Renewal(report="d", lease_seconds=LEASE)

"""One simulated agent, on a host without guests that exists only as a value: what the API receives is what a real one sends.

It begins in the steady state: its host has reported, and nothing has changed since. Then an agent does nothing but poll, by the rules of
`agent.lease`, and report its findings each hour. As soon as anything is not as it should be in the steady state, the real agent's decisions
(`agent.step`) go on from there, which cost more CPU here. An agent that begins anew then knows nothing, as after its host lost power.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine
from random import Random
from typing import Any, Final

from msgspec.structs import replace

from benchmarks.agents.connection import Connection, Refused
from pinfold.agent import actions, events
from pinfold.agent.actions import Action
from pinfold.agent.audits import WHOLE_SECONDS
from pinfold.agent.client import orders_query
from pinfold.agent.events import Event, HostFacts
from pinfold.agent.lease import SPEAKS, Lease, Sight, polled, renewed_early
from pinfold.agent.reconcile import Memory
from pinfold.agent.report import host_report
from pinfold.agent.responses import parse_orders, parse_renewal, parse_welcome
from pinfold.agent.state import Audits, Rules, State, starting
from pinfold.agent.step import due_at, step
from pinfold.agent.wire import Hello, Orders
from pinfold.core.drift.written import findings_report, identity
from pinfold.core.encoding import json_text
from pinfold.core.fit.answer import Strategy
from pinfold.core.host import HostState
from pinfold.host.loop_events import Log, Tick, now
from pinfold.host.survey import Survey
from pinfold.store.records import HostReport

FIRST_ORDERS: Final = 1
"""The count of a new host's orders."""
_FACTS = HostFacts(host_boot="9b1d2f2e-6f0e-4f53-8a43-6a7d3b7c5d10", disk_gib=1000)


def seen(name: str, state: HostState) -> Survey:
    """What a look at a host without guests finds."""
    return Survey(state=replace(state, name=name), guests=())


def reported(name: str, state: HostState) -> HostReport:
    """What the agent of a host without guests reports of it."""
    return host_report(seen(name, state), frozenset(), strategy=Strategy.PACK, any_cell=False, facts=_FACTS)


class SimulatedAgent:
    """The agent of a host without guests, which speaks to the API at `address` from the address `source`.

    `asked` counts the requests of all agents by their kind, and what failed.
    """

    def __init__(
        self,
        name: str,
        token: str,
        state: HostState,
        address: tuple[str, int],
        source: str,
        lease_seconds: float,
        asked: Counter[str],
        rng: Random,
        *,
        anew: bool = False,
    ) -> None:
        self._name = name
        self._seen = seen(name, state)
        self._poll, self._other = (Connection(*address, token, source) for _ in range(2))
        self._asked = asked
        self._rng = rng
        self._anew = anew
        self._lease = Lease(reported=reported(name, state), seconds=lease_seconds)
        self._polled = 0.0
        self._findings_at = now().at + rng.uniform(0.0, WHOLE_SECONDS)
        self._state: State | None = None
        """The state of the real agent's decisions, None in the steady state."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def up(self) -> bool:
        """Whether the service has the host's report and an unexpired lease of it, as far as the agent was told."""
        lease = self._lease if self._state is None else self._state.lease
        return lease.reported is not None and not lease.silent(now().at)

    def begin(self) -> None:
        """Start; from then on it does what an agent does."""
        self._soon(self._steady())

    async def _steady(self) -> None:
        """Poll until something is not as it should be."""
        event: Event
        try:
            while await self._one_poll():
                if now().at >= self._findings_at:
                    self._findings_at += WHOLE_SECONDS
                    self._soon(self._report_findings())
            self._state, event = self._real(polling=False), Tick(when=now())
        except Refused as error:
            self._asked["PollOrders failed"] += 1
            poll = actions.PollOrders(after=FIRST_ORDERS, wait=0.0, alive=True, audited=None)
            self._state, event = (
                self._real(polling=True),
                events.Failed(when=now(), action=poll, why=str(error), away=True, again=error.again),
            )
        self.feed(Tick(when=now()) if self._anew else event)

    def _real(self, *, polling: bool) -> State:
        """The state of the real agent at this moment: of one that has been at rest, or of one that begins."""
        at = now().at
        state = starting(Memory(), Rules(owner=f"the agent of {self._name}"), at)
        if self._anew:
            return state
        audits = Audits(answered=identity(findings_report(())), answered_at=self._findings_at - WHOLE_SECONDS, repeated=at)
        orders, sight = Orders(count=FIRST_ORDERS), Sight(clear=True)
        state = replace(state, orders=orders, lease=self._lease, sight=sight, audits=audits, announce_at=None)
        return replace(state, polling=polling, alive=polling, polled=self._polled)

    async def _one_poll(self) -> bool:
        """Whether a poll found nothing new, and renewed the lease."""
        asked, before = now().at, self._polled
        self._polled = asked
        # The first answer names the orders. Audits end once in a while, and each poll says how long ago the last one was.
        audited = round(self._rng.uniform(0.0, self._lease.seconds * SPEAKS), 1)
        query = orders_query(after=FIRST_ORDERS, wait=self._lease.poll_seconds(before, alive=True), alive=True, audited=audited)

        def renewed(line: bytes) -> None:
            renewal = parse_renewal(line)
            first = replace(self._lease, digest=self._lease.digest or renewal.report)
            self._lease = renewed_early(first, asked, renewal)

        orders = parse_orders(await self._poll.ask("GET", f"/agent/v1/orders?{query}", line=renewed)).orders
        self._lease = polled(self._lease, asked, orders.lease)
        self._asked["PollOrders"] += 1
        lease = self._lease
        return orders.count == FIRST_ORDERS and lease.polls and lease.reported is not None and not lease.overdue(now().at)

    async def _report_findings(self) -> None:
        try:
            await self._other.ask("PUT", "/agent/v1/host/findings", json_text(findings_report(())))
            self._asked["SendFindings"] += 1
        except Refused:
            self._asked["SendFindings failed"] += 1

    def close(self) -> None:
        """End without a goodbye."""
        if self._timer is not None:
            self._timer.cancel()
        for task in self._tasks:
            task.cancel()
        self._poll.close()
        self._other.close()

    def feed(self, event: Event) -> None:
        """Do what one event asks for, and wake when the next one is due, as the loop of the real agent does."""
        assert self._state is not None
        self._state, asked = step(self._state, event)
        for action in asked:
            self._do(action)
        if self._timer is not None:
            self._timer.cancel()
        longest = self._state.lease.seconds * SPEAKS / 2
        pause = max(0.01, min(longest, due_at(self._state) - now().at))
        self._timer = asyncio.get_running_loop().call_later(pause, lambda: self.feed(Tick(when=now())))

    def _do(self, action: Action) -> None:
        match action:
            case actions.Look():
                self._soon(self._later(events.Looked(seen=self._seen, facts=_FACTS, when=now())))
            case actions.Audit():
                self._soon(self._later(events.Audited(findings=(), when=now())))
            case actions.SaveMemory():
                self._soon(self._later(events.Saved(memory=action.memory, when=now())))
            case actions.SaveStories():
                self._soon(self._later(events.StoriesSaved(stories=action.stories, when=now())))
            case Log() | actions.Announce():
                pass
            case _:
                self._soon(self._send(action))

    def _soon(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _later(self, event: Event) -> None:
        await asyncio.sleep(0)
        self.feed(event)

    async def _send(self, action: Action) -> None:
        kind = type(action).__name__
        try:
            event = await self._answer(action)
            self._asked[kind] += 1
        except Refused as error:
            self._asked[f"{kind} failed"] += 1
            event = events.Failed(when=now(), action=action, why=str(error), away=True, again=error.again)
        self.feed(event)

    async def _answer(self, action: Action) -> Event:
        match action:
            case actions.ReadOrders():
                body = await self._other.ask("GET", f"/agent/v1/orders?{orders_query(after=-1, wait=0.0, alive=False)}")
                return events.OrdersRead(parsed=parse_orders(body), polled=False, when=now())
            case actions.PollOrders():
                query = orders_query(after=action.after, wait=action.wait, alive=action.alive, audited=action.audited)
                body = await self._poll.ask("GET", f"/agent/v1/orders?{query}", line=self._renewed)
                return events.OrdersRead(parsed=parse_orders(body), polled=True, when=now())
            case actions.SendReport(report=report):
                body = await self._other.ask("PUT", "/agent/v1/host", json_text(Hello(name=self._name, report=report)))
                return events.Welcomed(welcome=parse_welcome(body), when=now())
            case actions.SendHeartbeat():
                return events.Welcomed(welcome=parse_welcome(await self._other.ask("POST", "/agent/v1/heartbeat")), when=now())
            case actions.SendFindings(report=findings):
                await self._other.ask("PUT", "/agent/v1/host/findings", json_text(findings))
                return events.FindingsSent(report=findings, when=now())
            case _:
                raise AssertionError(f"an agent without guests is not to {type(action).__name__}")

    def _renewed(self, line: bytes) -> None:
        self.feed(events.RenewedEarly(renewal=parse_renewal(line), when=now()))

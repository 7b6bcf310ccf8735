"""Placement >= ledger >= running domains after every step of any history, and equal once all is at rest: the invariant as a property.

Users, operators and agents act in any order over the real routes, on SQLite and the real Placement; API processes die at named points.
A host is a model: its domains, and an agent that is the real `step`, perhaps on orders that are old by then; agents are killed, too. What
real processes and real guests do is shown in `tests/real/fleet`.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from msgspec import structs, to_builtins
from tests.fleet import at_rest, placement_covers_the_ledger, report
from tests.stories.rig import ADMIN, Agent, Fleet, InProcess, make_services

from pinfold import faultpoints
from pinfold.accounting.embedded import Embedded, EmbeddedPlacement, load, unload
from pinfold.agent.actions import (
    Action,
    Announce,
    Audit,
    Confirm,
    Log,
    Look,
    Perform,
    PollOrders,
    ReadOrders,
    SaveMemory,
    SaveStories,
    SendFindings,
    SendGuest,
    SendHeartbeat,
    SendReport,
    Verify,
)
from pinfold.agent.events import (
    Audited,
    Confirmed,
    Event,
    Failed,
    FindingsSent,
    HostFacts,
    Looked,
    Moment,
    OrdersRead,
    Outcome,
    Performed,
    Reported,
    Saved,
    StoriesSaved,
    Tick,
    Verified,
    Welcomed,
)
from pinfold.agent.reconcile import Act, Memory, Task
from pinfold.agent.responses import parse_orders, parse_welcome
from pinfold.agent.state import Rules, State, starting
from pinfold.agent.step import step
from pinfold.agent.wire import GuestOrder, GuestReport
from pinfold.api.app import create_app
from pinfold.core.cpuset import CpuSet
from pinfold.core.fit.model import Fit
from pinfold.core.host import Claim, HostState, Ledger, Limits, OverheadRates
from pinfold.core.identity import ClaimId
from pinfold.core.request.model import EmulatorPolicy
from pinfold.drivers.port import GuestState, HostGuest, Record
from pinfold.host.survey import Survey
from pinfold.scheduler.model import HealSummary, SchedulerSettings
from pinfold.store import claims, codec, guests
from pinfold.store.database import Database
from pinfold.store.records import HostReport

CLAIM_SECONDS = 0.02
TURN_SECONDS = 40.0
"""What passes on a host's clock between two turns: a task that failed is due again."""
RULES = Rules(owner="the agent")
WHICH = st.integers(0, 59)
"""One of what there is, counted round. What is drawn may not depend on what there is: that depends on clocks, and no history could be run
again. For the same reason no rule has a precondition; one that finds nothing to act on does nothing.
"""
SETTINGS = SchedulerSettings(refresh_seconds=0.0, traits_seconds=0.0, claim_seconds=CLAIM_SECONDS, late_seconds=-1.0)
API_POINTS = tuple(point for point in faultpoints.POINTS if point.startswith(("claim.", "release.", "heal.", "provider.")))
FLAVORS: dict[str, dict[str, str]] = {
    "float": {},
    "unset": {"hw_cpu_policy": "dedicated"},
    "share": {"hw_cpu_policy": "dedicated", "hw_emulator_threads_policy": "share"},
    "isolate": {"hw_cpu_policy": "dedicated", "hw_emulator_threads_policy": "isolate"},
    "cores": {"hw_cpu_policy": "dedicated", "hw_cpu_thread_policy": "isolate"},
}
REPORTS = (
    report(cells=1, cores=4),
    report(cells=2, cores=2, overhead=False),
    report(cells=1, cores=4, limits=Limits(reserved_memory_mib=0, shared_fraction=0.02)),
)


class DiedError(BaseException):
    """An API process was killed: nothing of it catches this."""


@dataclass
class Domain:
    """A domain on a host: what its record says, and whether it runs."""

    claim: ClaimId
    revision: int
    fit: Fit
    state: GuestState


@dataclass(repr=False)
class World:
    """One host: its domains outlive its agent, and so does the memory that its agent has saved. The agent is the real `step`.

    Its actions are performed one after another. A look that begins another turn, and the poll for orders, stay under way until the history
    comes back to this host: what others do meanwhile happens within the turn. `dies_at` is the action at which the agent is killed.
    """

    agent: Agent
    domains: dict[str, Domain] = field(default_factory=dict)
    disks: set[str] = field(default_factory=set)
    """The guests that ran here, and whose disk nobody deleted."""
    saved: Memory = field(default_factory=Memory)
    state: State = field(default_factory=lambda: starting(Memory(), RULES, 0.0))
    pending: list[Action] = field(default_factory=list)
    now: float = 0.0
    boot: int = 1
    up: bool = True
    failing: bool = False
    dies_at: str = ""
    died: DiedError | None = None

    def __repr__(self) -> str:
        return self.agent.name

    def turn(self, *, fresh: bool, failing: bool = False, whole: bool = False) -> int:
        """One turn of the agent, on the orders that it has or on fresh ones. With `failing`, what would start does not.

        With `whole`, as many turns as there is something to do. How many tasks it performed.
        """
        self.now, self.failing, performed = self.now + TURN_SECONDS, failing, 0
        polls = [action for action in self.pending if isinstance(action, PollOrders)]
        events: list[Event] = [Tick(when=self._when())]
        events += [self._answered(action) for action in self.pending if not isinstance(action, PollOrders)]
        events += [self._answered(action) for action in polls] if fresh else []
        self.pending = [] if fresh else polls
        looks = 0
        while events:
            self.state, actions = step(self.state, events.pop(0))
            for action in actions:
                looks += isinstance(action, Look)
                if type(action).__name__ == self.dies_at:
                    self.restart()
                    events.clear()
                    break
                if isinstance(action, PollOrders) or (isinstance(action, Look) and looks > 1 and not whole):
                    self.pending.append(action)
                elif not isinstance(action, Log | Announce):
                    performed += isinstance(action, Perform)
                    events.append(self._answered(action))
        died, self.died = self.died, None
        if died is not None:
            raise died
        return performed

    def restart(self) -> None:
        """Another agent takes over, knowing what the dead one saved."""
        self.state, self.pending, self.dies_at = starting(self.saved, RULES, self.now), [], ""

    def _when(self) -> Moment:
        return Moment(at=self.now)

    def _answered(self, action: Action) -> Event:
        """Perform one action. Nobody answers once the API has died, nor does it answer what killed it."""
        try:
            if self.died is not None and not isinstance(action, Look | Verify | Audit | Perform | SaveMemory | SaveStories):
                raise self.died
            return self._performed(action)
        except DiedError as died:
            self.died = died
            return Failed(action=action, why="it is away", away=True, when=self._when())
        except AssertionError as refused:
            return Failed(action=action, why=str(refused), when=self._when())

    def _performed(self, action: Action) -> Event:
        when = self._when()
        match action:
            case ReadOrders() | PollOrders():
                parsed = parse_orders(json.dumps(self.agent.orders()).encode())
                return OrdersRead(parsed=parsed, polled=isinstance(action, PollOrders), when=when)
            case Look():
                return Looked(seen=self._seen(), facts=HostFacts(host_boot=str(self.boot)), when=when)
            case SendReport(report=reported):
                return Welcomed(welcome=parse_welcome(_accepted(self.agent.hello(reported))), when=when)
            case SendHeartbeat():
                return Welcomed(welcome=parse_welcome(_accepted(self.agent.ask("POST", "/heartbeat"))), when=when)
            case Verify():
                return Verified(threads=None, drift="", when=when)
            case Audit():
                return Audited(findings=(), when=when)
            case SendFindings(report=findings):
                _accepted(self.agent.ask("PUT", "/host/findings", to_builtins(findings)))
                return FindingsSent(report=findings, when=when)
            case SendGuest(guest=guest, report=told):
                _accepted(self.agent.ask("POST", f"/guests/{guest}", codec.to_plain(told, GuestReport)))
                return Reported(guest=guest, report=told, when=when)
            case Perform(task=task, order=order, ran=ran):
                return Performed(guest=task.guest, outcome=self._act(task, order, ran=ran), when=when)
            case SaveMemory(memory=memory):
                self.saved = memory
                return Saved(memory=memory, when=when)
            case SaveStories(stories=stories):
                return StoriesSaved(stories=stories, when=when)
            case Confirm(guest=guest, absence=absence):
                _accepted(self.agent.gone(guest, absence.revision, absence.failure, absence.claim))
                return Confirmed(guest=guest, when=when)
            case _:
                raise ValueError(action)

    def _seen(self) -> Survey:
        reported = self.agent.reported
        found = tuple(
            HostGuest(
                id=guest,
                name=guest,
                state=domain.state,
                vcpus=domain.fit.vcpus,
                memory_mib=domain.fit.memory_mib,
                record=Record(
                    guest=guest,
                    policy=EmulatorPolicy.UNSET,
                    fit=domain.fit,
                    claim=domain.claim,
                    revision=domain.revision,
                    owner=RULES.owner,
                ),
            )
            for guest, domain in sorted(self.domains.items())
        )
        held = Ledger(claims=tuple(Claim(guest=guest.id, fit=guest.record.fit) for guest in found if guest.record is not None))
        host = HostState(
            topology=reported.topology, pools=reported.pools, limits=reported.limits, ledger=held, traits=frozenset(), name="h"
        )
        return Survey(state=host, guests=found)

    def _act(self, task: Task, order: GuestOrder | None, *, ran: bool) -> Outcome:
        guest = task.guest
        ran = ran or guest in self.disks or (order is not None and order.booted > 0)
        failure = "it does not start" if self.failing else ""
        match task.act:
            case Act.START if order is not None and not self.failing:
                self.domains[guest] = Domain(claim=order.claim, revision=order.revision, fit=order.fit, state=GuestState.RUNNING)
                self.disks.add(guest)
                return Outcome(booted=True)
            case Act.START:
                return Outcome(booted=ran, gone=not ran, failure=failure)
            case Act.RESTART | Act.FINISH | Act.REBOOT:
                self.domains[guest].state = GuestState.STOPPED if self.failing else GuestState.RUNNING
                return Outcome(booted=True, failure=failure)
            case Act.STOP | Act.SHUT_DOWN:
                self.domains[guest].state = GuestState.STOPPED
                return Outcome()
            case Act.AMEND if order is not None:
                self.domains[guest] = replace(self.domains[guest], revision=order.revision, fit=order.fit)
                return Outcome()
            case Act.UNDEFINE:
                del self.domains[guest]
                return Outcome()
            case Act.REMOVE | Act.CONFIRM_ABSENT:
                self.disks.discard(guest)
                self.domains.pop(guest, None)
                return Outcome(gone=True)
            case _:
                self.domains.pop(guest, None)
                return Outcome(gone=True, failure="it is stale")


def _accepted(answer: httpx.Response) -> bytes:
    assert answer.is_success, answer.text
    return answer.content


class Service(RuleBasedStateMachine):
    """Everything that may happen to a service and its hosts."""

    tables: Path
    embedded: Embedded

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.folder = Path(self.stack.enter_context(TemporaryDirectory()))
        (self.folder / "images").mkdir()
        shutil.copy(self.tables / "pinfold.db", self.folder / "pinfold.db")
        shutil.copy(self.tables / "placement.db", self.folder / "placement.db")
        self.embedded = load(EmbeddedPlacement(url=f"sqlite:///{self.folder}/placement.db"))
        self.stack.callback(unload)
        self.database = Database(f"sqlite:///{self.folder}/pinfold.db")
        self.stack.callback(self.database.close)
        self.worlds: dict[str, World] = {}
        self.servers: list[str] = []
        self.fault: tuple[str, int] | None = None
        self.fleet = self._start_api()
        self.stack.callback(lambda: self.fleet.http.close())
        for name, specs in FLAVORS.items():
            self.fleet.flavor(name, vcpus=2, **specs)

    def _start_api(self) -> Fleet:
        services = make_services(self.database, self.embedded, self.folder / "images", settings=SETTINGS)
        http = httpx.Client(transport=InProcess(create_app(services)), base_url="http://pinfold.test", auth=ADMIN, timeout=None)
        return Fleet(http=http, services=services, database=self.database, images=self.folder / "images")

    @contextmanager
    def _mortal(self) -> Iterator[None]:
        """What is done within may kill the API process, where a fault was laid; then another one takes over, knowing nothing."""
        fault, self.fault = self.fault, None
        with pytest.MonkeyPatch.context() as patch:
            if fault is not None:
                faultpoints._hits.clear()
                patch.setenv("PINFOLD_FAULT", f"{fault[0]}:kill:{fault[1]}")
                patch.setattr(faultpoints.os, "kill", _die)
            try:
                yield
            except DiedError:
                self.fleet.http.close()
                agents = self.fleet.agents
                self.fleet = self._start_api()
                self.fleet.agents = agents
                for agent in agents.values():
                    agent.http = self.fleet.http

    # -- operators and hosts ---------------------------------------------------------------------------------------------------------

    @initialize(
        shapes=st.tuples(st.sampled_from(REPORTS), st.sampled_from(REPORTS)), flavors=st.lists(st.sampled_from(sorted(FLAVORS)), max_size=4)
    )
    def a_fleet_at_work(self, shapes: tuple[HostReport, HostReport], flavors: list[str]) -> None:
        for shape in shapes:
            self._add(shape)
        for flavor in ("share", *flavors):
            self.fleet.create("vm", flavor)
        for world in self.worlds.values():
            world.turn(fresh=True)

    def _add(self, shape: HostReport) -> None:
        name = f"c{len(self.worlds)}"
        self.worlds[name] = World(agent=self.fleet.host(name, shape))

    @rule(shape=st.sampled_from(REPORTS))
    def add_host(self, shape: HostReport) -> None:
        if len(self.worlds) < 3:
            self._add(shape)

    @rule(which=WHICH, change=st.sampled_from(("shrink", "restore", "no overhead")))
    def pools_change(self, which: int, change: str) -> None:
        world = self._a_world(which, up=True)
        if world is None:
            return
        whole = world.agent.reported.topology.online
        pools = world.agent.reported.pools
        if change == "shrink":
            pools = structs.replace(pools, dedicated=whole - pools.shared - CpuSet(sorted(whole)[-2:]))
        elif change == "restore":
            pools = structs.replace(pools, dedicated=whole - pools.shared, overhead=pools.shared)
        else:
            pools = structs.replace(pools, overhead=None)
        with self._mortal():
            world.agent.hello(structs.replace(world.agent.reported, pools=pools))

    @rule(which=WHICH, ended=st.booleans())
    def agent_falls_silent(self, which: int, ended: bool) -> None:
        """It has ended, or is cut off for longer than its lease, perhaps within a turn."""
        world = self._a_world(which, up=True)
        if world is None:
            return
        world.up = False
        world.agent.ask("DELETE", "/host")
        if ended:
            world.restart()
        else:
            world.now += 2 * world.state.lease.seconds

    @rule(which=WHICH)
    def agent_returns(self, which: int) -> None:
        world = self._a_world(which, up=False)
        if world is None:
            return
        world.up = True
        with self._mortal():
            world.turn(fresh=True)

    @rule(which=WHICH)
    def power_fails_and_the_host_is_fenced(self, which: int) -> None:
        world = self._a_world(which, up=False)
        if world is None:
            return
        for domain in world.domains.values():
            domain.state = GuestState.STOPPED
        world.boot += 1
        world.restart()
        with self._mortal():
            self.fleet.http.post(f"/v1/hosts/{world.agent.name}/fence", json={"powered_off": True})

    @rule(which=WHICH, fresh=st.booleans(), failing=st.booleans())
    def agent_takes_a_turn(self, which: int, fresh: bool, failing: bool) -> None:
        world = self._a_world(which, up=True)
        if world is None:
            return
        with self._mortal():
            world.turn(fresh=fresh, failing=failing)

    @rule(which=WHICH, action=st.sampled_from(("Perform", "SaveMemory", "Confirm", "SendGuest")))
    def an_agent_will_be_killed(self, which: int, action: str) -> None:
        world = self._a_world(which, up=True)
        if world is not None:
            world.dies_at = action

    # -- users -----------------------------------------------------------------------------------------------------------------------

    @rule(flavor=st.sampled_from(sorted(FLAVORS)))
    def create(self, flavor: str) -> None:
        with self._mortal():
            self.fleet.create("vm", flavor)

    @rule(which=WHICH, action=st.sampled_from(("os-stop", "os-start", "SOFT", "HARD")))
    def act(self, which: int, action: str) -> None:
        server = self._a_server(which)
        if server is None:
            return
        body = {"reboot": {"type": action}} if action in ("SOFT", "HARD") else {action: None}
        with self._mortal():
            assert self.fleet.ask("POST", f"/servers/{server}/action", body).status_code in (202, 404, 409)

    @rule(which=WHICH, rate=st.sampled_from((1, 20)))
    def rates_change_and_a_server_is_booked_anew(self, which: int, rate: int) -> None:
        server = self._a_server(which)
        world = self._a_world(which, up=True)
        if server is None or world is None:
            return
        limits = structs.replace(world.agent.reported.limits, rates=OverheadRates(guest=rate))
        with self._mortal():
            world.agent.hello(structs.replace(world.agent.reported, limits=limits))
            assert self.fleet.http.post(f"/v1/servers/{server}/rebook", json={}).status_code in (204, 400, 404, 409)

    @rule(which=WHICH)
    def delete(self, which: int) -> None:
        server = self._a_server(which)
        if server is None:
            return
        with self._mortal():
            assert self.fleet.ask("DELETE", f"/servers/{server}").status_code in (204, 404)

    @rule(point=st.sampled_from(API_POINTS), nth=st.integers(1, 2))
    def lay_a_fault(self, point: str, nth: int) -> None:
        self.fault = (point, nth)

    @rule()
    def heal(self) -> None:
        time.sleep(CLAIM_SECONDS * 1.5)
        with self._mortal():
            self.fleet.services.lifecycle.tend()

    # -- what holds ------------------------------------------------------------------------------------------------------------------

    @invariant()
    def placement_covers_the_ledger_and_the_ledger_what_runs(self) -> None:
        placement_covers_the_ledger(self.database, self.fleet.services.placement)
        with self.database.read() as connection:
            held = {(claim.host, claim.guest): claim for claim in claims.held(connection)}
            ran = {key for key in held if guests.get(connection, key[1]).booted}
            owners = {world.agent.id: claims.owners(connection, world.agent.id) for world in self.worlds.values()}
        for world in self.worlds.values():
            host = world.agent.id
            for guest, domain in world.domains.items():
                if domain.state is not GuestState.RUNNING:
                    continue
                claim = held.get((host, guest))
                assert claim is not None, f"{guest} runs on {world.agent.name} without a claim"
                assert claim.id == domain.claim and domain.revision <= claim.revision
                assert claim.fit.taken == domain.fit.taken
                assert {pcpu for pcpu, (owner, _) in owners[host].items() if owner == guest} == set(domain.fit.taken)
        assert ran <= {(world.agent.id, guest) for world in self.worlds.values() for guest in world.disks}, "a disk is lost"

    def teardown(self) -> None:
        try:
            if self.worlds:
                self._come_to_rest()
        finally:
            self.stack.close()

    def _come_to_rest(self) -> None:
        self.fault = None
        for world in self.worlds.values():
            world.up, world.dies_at = True, ""
            world.turn(fresh=True)
        self._settle()
        self._equal()
        for server in self._stored():
            self.fleet.ask("DELETE", f"/servers/{server}", status=204)
        self._settle()
        self._equal()
        assert self._stored() == [] and all(not world.domains for world in self.worlds.values())
        assert all(self.fleet.services.placement.provider_allocations(world.agent.id) == () for world in self.worlds.values())

    def _settle(self) -> None:
        """Heal and let the agents work until nobody has anything to do."""
        for _ in range(8):
            time.sleep(CLAIM_SECONDS * 1.5)
            healed = self.fleet.services.lifecycle.tend()
            assert healed.problems == ()
            if not sum(world.turn(fresh=True, whole=True) for world in self.worlds.values()) and healed == HealSummary():
                return
        raise AssertionError(f"no rest: {healed}")

    def _equal(self) -> None:
        """Placement = ledger = domains."""
        self.placement_covers_the_ledger_and_the_ledger_what_runs()
        at_rest(self.database, self.fleet.services.placement)
        with self.database.read() as connection:
            held = {(claim.host, claim.guest) for claim in claims.held(connection)}
        defined = {(world.agent.id, guest) for world in self.worlds.values() for guest in world.domains}
        failed = {(world.agent.id, entry.guest) for world in self.worlds.values() for entry in world.saved.booted if entry.failure}
        assert defined <= held <= defined | failed

    # -- choosing --------------------------------------------------------------------------------------------------------------------

    def _a_world(self, which: int, *, up: bool) -> World | None:
        found = [world for world in self.worlds.values() if world.up is up]
        return found[which % len(found)] if found else None

    def _a_server(self, which: int) -> str | None:
        found = self._stored()
        return found[which % len(found)] if found else None

    def _stored(self) -> list[str]:
        with self.database.read() as connection:
            return [guest.id for guest in guests.page(connection, guests.GuestFilter()) if guest.deleted is None]


def _die(pid: int, number: int) -> None:
    assert (pid, number) == (os.getpid(), signal.SIGKILL)
    raise DiedError


def _machine(tables: Path) -> Callable[[], RuleBasedStateMachine]:
    return type("Service", (Service,), {"tables": tables})


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory, sqlite_file: Path, placement_file: Path) -> Path:
    """A folder with both databases, empty."""
    folder = tmp_path_factory.mktemp("tables")
    shutil.copy(sqlite_file, folder / "pinfold.db")
    shutil.copy(placement_file, folder / "placement.db")
    return folder


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("examples", [8, pytest.param(200, marks=pytest.mark.slow)])
def test_placement_covers_the_ledger_and_the_ledger_what_runs(tables: Path, examples: int) -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        _machine(tables),
        settings=settings(max_examples=examples, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)),
    )

"""What users, operators and agents may do, in any order, over the real routes, on SQLite and the real Placement.

API processes die at named points. What holds after every step is an invariant of the machine; its hosts are in `world`.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from msgspec import structs
from tests.build.hosts import report
from tests.build.requests import pinned
from tests.rig.in_process import ADMIN, Fleet, InProcess, make_services
from tests.rig.promises import at_rest, placement_covers_the_ledger
from tests.stories.invariant.world import DiedError, World, name_of

from pinfold import faultpoints
from pinfold.accounting.embedded import Embedded, EmbeddedPlacement, load, unload
from pinfold.agent.wire import PROTOCOL
from pinfold.api.app import create_app
from pinfold.core.adoption import WantedAdoption
from pinfold.core.cpuset import CpuSet
from pinfold.core.encoding import plain
from pinfold.core.fit.answer import Fit
from pinfold.core.fit.engine import fit
from pinfold.core.host import Claim, Limits, OverheadRates
from pinfold.core.identity import GuestId
from pinfold.core.pool_change import Followed, follow
from pinfold.core.request.model import EmulatorPolicy
from pinfold.drivers.port import GuestState
from pinfold.scheduler.model import SchedulerSettings
from pinfold.service.healing import HealSummary
from pinfold.store import claims, guests, hosts
from pinfold.store.database import Database
from pinfold.store.records import PROTOCOL_FACT, Desired, GuestRecord, HostReport

CLAIM_SECONDS = 0.02
WHICH = st.integers(0, 59)
"""One of what there is, counted round. What is drawn may not depend on what there is: that depends on clocks, and no history could be run
again. For the same reason no rule has a precondition; one that finds nothing to act on does nothing.
"""
SETTINGS = SchedulerSettings(refresh_seconds=0.0, traits_seconds=0.0, claim_seconds=CLAIM_SECONDS, late_seconds=-1.0)
API_POINTS = tuple(point for point in faultpoints.POINTS if point.startswith(("claim.", "release.", "replace.", "heal.", "provider.")))
FLAVORS: dict[str, dict[str, str]] = {
    "float": {},
    "unset": {"hw_cpu_policy": "dedicated"},
    "share": {"hw_cpu_policy": "dedicated", "hw_emulator_threads_policy": "share"},
    "isolate": {"hw_cpu_policy": "dedicated", "hw_emulator_threads_policy": "isolate"},
    "cores": {"hw_cpu_policy": "dedicated", "hw_cpu_thread_policy": "isolate"},
}
FACTS = ((PROTOCOL_FACT, str(PROTOCOL)),)
REPORTS = tuple(
    structs.replace(shape, facts=FACTS)
    for shape in (
        report(cells=1, cores=4),
        report(cells=2, cores=2, overhead=False),
        report(cells=1, cores=4, limits=Limits(reserved_memory_mib=0, shared_fraction=0.02)),
    )
)


STRANGER = structs.replace(pinned(1, emulator=EmulatorPolicy.UNSET), disk_gib=0)
"""What a stranger's domain would have been asked for."""


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
        self.strangers = 0
        self.unwanted: set[str] = set()
        """The servers that users deleted."""
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
                patch.setattr("pinfold.faultpoints.os.kill", _die)
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

    @rule(which=WHICH, change=st.sampled_from(("shrink", "move", "restore", "no overhead")))
    def pools_change(self, which: int, change: str) -> None:
        world = self._a_world(which, up=True)
        if world is None:
            return
        whole = world.agent.reported.topology.online
        pools = world.agent.reported.pools
        if change == "shrink":
            pools = structs.replace(pools, dedicated=whole - pools.shared - CpuSet(sorted(whole)[-2:]))
        elif change == "move":
            shared = CpuSet(sorted(whole)[-2:])
            pools = structs.replace(pools, shared=shared, overhead=shared, dedicated=whole - shared)
        elif change == "restore":
            shared = CpuSet(sorted(whole)[:2])
            pools = structs.replace(pools, shared=shared, dedicated=whole - shared, overhead=shared)
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
    def a_stranger_comes(self, which: int) -> None:
        """Somebody starts a domain of their own where the host has room."""
        world = self._a_world(which, up=True)
        if world is None or len(world.strangers) > 1:
            return
        with self.database.read() as connection:
            (found,) = hosts.ledgers(connection, (world.agent.id,))
        taken = structs.replace(found.state, ledger=structs.replace(found.state.ledger, foreign=world.foreign()))
        place = fit(STRANGER, taken)
        if isinstance(place, Fit):
            world.strangers[str(uuid.uuid5(uuid.NAMESPACE_OID, f"{self.strangers}"))] = place
            self.strangers += 1
            with self._mortal():
                world.agent.hello(structs.replace(world.agent.reported, foreign=world.foreign()))

    @rule(which=WHICH)
    def adopt(self, which: int) -> None:
        found = [(world, guest, place) for world in self.worlds.values() for guest, place in world.strangers.items()]
        if not found:
            return
        world, guest, place = found[which % len(found)]
        wanted = WantedAdoption(guest=GuestId(guest), name=name_of(guest), fit=place, request=STRANGER)
        with self._mortal():
            answer = self.fleet.http.post(f"/v1/hosts/{world.agent.name}/adoptions", json=plain(wanted))
            assert answer.status_code in (202, 409), answer.text

    @rule(which=WHICH)
    def release(self, which: int) -> None:
        server = self._a_server(which)
        if server is None:
            return
        with self._mortal():
            assert self.fleet.http.post(f"/v1/servers/{server}/release", json={}).status_code in (202, 404, 409)

    @rule(which=WHICH, state=st.sampled_from(("active", "active", "error")))
    def reset(self, which: int, state: str) -> None:
        server = self._a_server(which)
        if server is None:
            return
        with self._mortal():
            body = {"os-resetState": {"state": state}}
            assert self.fleet.ask("POST", f"/servers/{server}/action", body).status_code in (202, 404, 409)

    @rule(which=WHICH)
    def delete(self, which: int) -> None:
        server = self._a_server(which)
        if server is None:
            return
        self.unwanted.add(server)
        with self._mortal():
            assert self.fleet.ask("DELETE", f"/servers/{server}").status_code in (204, 404)

    @rule(point=st.sampled_from(API_POINTS), nth=st.integers(1, 2))
    def lay_a_fault(self, point: str, nth: int) -> None:
        self.fault = (point, nth)

    @rule()
    def heal(self) -> None:
        time.sleep(CLAIM_SECONDS * 1.5)
        with self._mortal():
            self.fleet.services.fleet.healer.tend()

    # -- what holds ------------------------------------------------------------------------------------------------------------------

    @invariant()
    def placement_covers_the_ledger_and_the_ledger_what_runs(self) -> None:
        placement_covers_the_ledger(self.database, self.fleet.services.placement)
        with self.database.read() as connection:
            held = {(claim.host, claim.guest): claim for claim in claims.held(connection)}
            kept = {key for key in held if _keeps_its_disk(guests.get(connection, key[1]))}
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
            assert world.ended <= self.unwanted, "a domain that pinfold did not make has ended, and no user deleted its server"
        assert kept <= {(world.agent.id, guest) for world in self.worlds.values() for guest in world.disks}, "a disk is lost"

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
        with self.database.read() as connection:
            left = [guest for guest in guests.page(connection) if guest.host is None and guest.fault is None]
        assert left == [], "they are shown in BUILD, and nobody finds a host for them"
        for server in self._stored():
            self.unwanted.add(server)
            self.fleet.ask("DELETE", f"/servers/{server}", status=204)
        self._settle()
        self._equal()
        assert self._stored() == [] and all(not world.domains for world in self.worlds.values())
        assert all(self.fleet.services.placement.provider_allocations(world.agent.id) == () for world in self.worlds.values())

    def _settle(self) -> None:
        """Heal and let the agents work until nobody has anything to do."""
        for _ in range(8):
            time.sleep(CLAIM_SECONDS * 1.5)
            healed = self.fleet.services.fleet.healer.tend()
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
        assert self._astray() == []
        failed = {(world.agent.id, entry.guest) for world in self.worlds.values() for entry in world.saved.booted if entry.failure}
        assert defined <= held <= defined | failed

    def _astray(self) -> list[str]:
        """The wanted guests whose claims could follow the pools of their host, and have not."""
        found = []
        with self.database.read() as connection:
            for ledger in hosts.ledgers(connection):
                for guest, held in guests.orders(connection, ledger.record.id):
                    claim = Claim(guest=guest.id, fit=held.fit, id=held.id)
                    after = follow(claim, guest.request, ledger.state)
                    if guest.desired is Desired.RUNNING and isinstance(after, Followed) and after.fit != claim.fit:
                        found.append(claim.guest)
        return found

    # -- choosing --------------------------------------------------------------------------------------------------------------------

    def _a_world(self, which: int, *, up: bool) -> World | None:
        found = [world for world in self.worlds.values() if world.up is up]
        return found[which % len(found)] if found else None

    def _a_server(self, which: int) -> str | None:
        found = self._stored()
        return found[which % len(found)] if found else None

    def _stored(self) -> list[str]:
        with self.database.read() as connection:
            return [guest.id for guest in guests.page(connection) if guest.deleted is None]


def _keeps_its_disk(guest: GuestRecord) -> bool:
    """Whether the guest's disk must be on its host. A deleted guest keeps its claim until its agent confirms that it is gone, which the
    agent does only after it has deleted the disk. Nobody can want the guest back by then. An adopted guest's disk is not ours.
    """
    return guest.booted > 0 and not guest.adopted and guest.desired is not Desired.ABSENT


def _die(pid: int, number: int) -> None:
    assert (pid, number) == (os.getpid(), signal.SIGKILL)
    raise DiedError

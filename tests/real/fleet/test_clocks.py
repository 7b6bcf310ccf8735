"""Wall clocks that jump, of the service (its database with it) and of its hosts (agent and libvirtd), under real processes and guests.

Whatever a clock says: no running guest is touched, nothing is released that should not be, no pCPU is given twice, a host does not outlive
its agent, and soon everything works again. A judge that goes by the machine's own clock watches throughout.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa
from tests.postgres import binaries
from tests.real.fleet.conftest import make_fleet
from tests.real.patience import PATIENCE_SECONDS, until
from tests.rig.client import SHARE
from tests.rig.fleet import LEASE_SECONDS, Fleet
from tests.rig.processes import Domain, Process, defined, virsh
from tests.survive.clock import HOUR, YEAR, WallClock

from pinfold.store.database import Database

SOON_SECONDS = HOUR / 6
"""No jump may be waited for: all of this is much less than an hour, and generous for a busy machine."""


@dataclass
class Clocked:
    """A fleet with a bystander that runs and one that is stopped, and its two clocks."""

    fleet: Fleet
    service: WallClock
    hosts: WallClock
    running: str
    stopped: str
    untouched: dict[str, Domain]

    def works(self, name: str, *, ahead: float) -> None:
        """A server is made, runs, and is deleted; soon. The service's clock is so far ahead, or its times tell that this is no test."""
        began = time.monotonic()
        server = self.fleet.api.create(name, "share")
        made = datetime.fromisoformat(self.fleet.api.await_status(server, "ACTIVE")["created"]).timestamp()
        assert abs(made - time.time() - ahead) < HOUR / 2
        self.fleet.api.delete(server)
        assert time.monotonic() - began < SOON_SECONDS

    def bystanders_are_as_they_were(self) -> None:
        """Neither was touched."""
        assert self.fleet.running() == self.untouched
        self.fleet.api.await_status(self.running, "ACTIVE")
        self.fleet.api.await_status(self.stopped, "SHUTOFF")


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=[pytest.mark.slow, pytest.mark.real_postgresql])])
def clocked_once(
    request: pytest.FixtureRequest, lab_name: str, tmp_path_factory: pytest.TempPathFactory, probe_rom: Path
) -> Iterator[Clocked]:
    """Two hosts, and one API process on SQLite, which goes by the API's clock; or two on PostgreSQL, which has the service's."""
    sqlite = request.param == "sqlite"
    if not sqlite and binaries() is None:
        pytest.skip("PostgreSQL is not installed")
    folder, apis = tmp_path_factory.mktemp("clocks"), 1 if sqlite else 2
    with make_fleet(folder, lab_name, probe_rom, hosts=2, apis=apis, apart=False, sqlite=sqlite, clocks=True) as fleet:
        fleet.watch()
        flavor = fleet.api.flavor("share", **SHARE)
        running, stopped = (fleet.api.create(name, flavor, host=fleet.hosts[0].name) for name in ("running", "stopped"))
        for server in (running, stopped):
            fleet.api.await_status(server, "ACTIVE")
        virsh(fleet.hosts[0].lab, "destroy", stopped)
        fleet.api.await_status(stopped, "SHUTOFF")
        assert fleet.service_clock is not None
        assert fleet.host_clock is not None
        for host in fleet.hosts:
            daemon = (host.lab.run_dir / "libvirtd-lab.pid").read_text().strip()
            for pid in (host.agent.pid, daemon):
                assert fleet.host_clock.environment["LD_PRELOAD"] in Path(f"/proc/{pid}/maps").read_text()
        yield Clocked(
            fleet=fleet,
            service=fleet.service_clock,
            hosts=fleet.host_clock,
            running=running,
            stopped=stopped,
            untouched=fleet.running(),
        )


@pytest.fixture
def clocked(clocked_once: Clocked) -> Iterator[Clocked]:
    """The same; after each test the clocks are right again, all is at rest, no promise was broken, and no bystander was touched."""
    yield clocked_once
    fleet = clocked_once.fleet
    clocked_once.service.set(0.0)
    clocked_once.hosts.set(0.0)
    for process in (*fleet.apis, *(host.agent for host in fleet.hosts)):
        if not process.running:
            process.start()
    for host in fleet.hosts:
        host.proxy.clear()
        host.proxy.upstream = fleet.apis[0].told["url"]
        fleet.api.await_host(host.name, up=True)
    fleet.api.delete_others({clocked_once.running, clocked_once.stopped})
    fleet.await_rest()
    fleet.verdict()
    clocked_once.bystanders_are_as_they_were()


@pytest.mark.parametrize(
    ("service", "hosts"),
    [
        pytest.param(-HOUR, HOUR, id="service-an-hour-back-hosts-an-hour-ahead"),
        pytest.param(YEAR, YEAR, id="both-a-year-ahead", marks=pytest.mark.slow),
        pytest.param(HOUR, 0.0, id="service-an-hour-ahead", marks=pytest.mark.slow),
        pytest.param(-HOUR, 0.0, id="service-an-hour-back", marks=pytest.mark.slow),
        pytest.param(0.0, YEAR, id="hosts-a-year-ahead", marks=pytest.mark.slow),
        pytest.param(0.0, -HOUR, id="hosts-an-hour-back", marks=pytest.mark.slow),
    ],
)
def test_a_jump_touches_no_guest_and_everything_works_again(clocked: Clocked, service: float, hosts: float) -> None:
    clocked.hosts.set(hosts)
    clocked.service.set(service)
    for host in clocked.fleet.hosts:
        until(lambda host=host: clocked.fleet.api.host(host.name)["up"], "the host is up", seconds=SOON_SECONDS)  # type: ignore[misc]
    clocked.works("after the jump", ahead=service)
    clocked.bystanders_are_as_they_were()
    clocked.fleet.verdict()
    clocked.service.set(0.0)
    clocked.hosts.set(0.0)
    for host in clocked.fleet.hosts:
        until(lambda host=host: clocked.fleet.api.host(host.name)["up"], "the host is up again", seconds=SOON_SECONDS)  # type: ignore[misc]
    clocked.works("after it was put right", ahead=0.0)


def test_a_host_does_not_outlive_its_agent_by_a_heartbeat_that_lies_in_the_future(clocked: Clocked) -> None:
    fleet, host = clocked.fleet, clocked.fleet.hosts[0]
    clocked.service.set(HOUR)
    until(lambda: fleet.api.host(host.name)["up"], "the host is up", seconds=SOON_SECONDS)
    host.agent.kill()
    heard, until_when = _lease(fleet, host.name)
    assert heard > time.time() + HOUR / 2 and until_when == pytest.approx(heard + LEASE_SECONDS)
    clocked.service.set(0.0)
    until(lambda: not fleet.api.host(host.name)["up"], "the host is down")
    assert fleet.api.show(clocked.running)["status"] == "UNKNOWN"

    def over() -> bool:
        heard, until_when = _lease(fleet, host.name)
        return until_when <= heard

    until(over, "the healer ends the lease")
    clocked.service.set(heard + 1.0 - time.time())  # the clock gets to where the last heartbeat lies
    for _ in range(10):
        assert not fleet.api.host(host.name)["up"]
        time.sleep(0.2)


def _lease(fleet: Fleet, host: str) -> tuple[float, float]:
    """When the host was last heard and when its lease ends, by the service's clock."""
    database = Database(fleet.database)
    try:
        with database.read() as connection:
            row = connection.execute(sa.text("SELECT heard, lease_until FROM host WHERE name = :name"), {"name": host}).one()
    finally:
        database.close()
    return float(row[0]), float(row[1])


@pytest.mark.slow
def test_a_claim_whose_maker_died_before_the_clock_was_put_back_is_healed_at_once(clocked: Clocked) -> None:
    fleet = clocked.fleet
    doomed = _restarted(clocked, "claim.allocated")
    with pytest.raises(httpx.HTTPError):
        fleet.service(doomed).create("mortal", "share")
    doomed.await_hit("claim.allocated")
    clocked.service.set(-HOUR)
    if doomed in fleet.apis:
        doomed.start()
        _follow(fleet)
    (server,) = (server["id"] for server in fleet.api.servers() if server["name"] == "mortal")
    until(lambda: fleet.api.show(server)["status"] == "ACTIVE", "the server runs", seconds=SOON_SECONDS)


@pytest.mark.slow
def test_a_removal_half_done_when_the_clock_was_put_back_is_finished_at_once(clocked: Clocked) -> None:
    fleet, host = clocked.fleet, clocked.fleet.hosts[0]
    server = fleet.api.create("leaving", "share", host=host.name)
    fleet.api.await_status(server, "ACTIVE")
    doomed = _restarted(clocked, "release.unpinned")
    host.proxy.upstream = doomed.told["url"]
    fleet.service(doomed).delete(server, wait=False)
    doomed.await_hit("release.unpinned")
    clocked.service.set(-HOUR)
    if doomed in fleet.apis:
        doomed.start()
    _follow(fleet)
    began = time.monotonic()
    fleet.api.await_gone(server)
    fleet.await_rest(seconds=SOON_SECONDS)
    assert time.monotonic() - began < SOON_SECONDS


def test_a_start_order_that_a_removal_has_overtaken_is_refused_a_year_later(clocked: Clocked) -> None:
    fleet, host = clocked.fleet, clocked.fleet.hosts[0]
    server = fleet.api.create("stale", "share", host=host.name)
    fleet.api.await_status(server, "ACTIVE")
    orders = fleet.orders(host)
    fleet.api.delete(server)
    clocked.service.set(YEAR)
    clocked.hosts.set(YEAR)
    time.sleep(2.0)  # two rounds of the healer, which forgets what is old
    with fleet.replaying(host, orders, of=server):
        until(lambda: fleet.api.host(host.name)["up"], "the host is up", seconds=SOON_SECONDS)
        other = fleet.api.create("after", "share", host=host.name)
    fleet.api.await_status(other, "ACTIVE")
    assert server not in defined(host.lab)


@pytest.mark.slow
def test_a_fenced_host_that_returns_a_year_later_is_still_told_what_is_gone(clocked: Clocked) -> None:
    """The guest's definition survived the power cut; the service's tombstone is all that says that it is not wanted any more."""
    fleet, host = clocked.fleet, clocked.fleet.hosts[1]
    server = fleet.api.create("fenced", "share", host=host.name)
    fleet.api.await_status(server, "ACTIVE")
    host.agent.kill()
    virsh(host.lab, "destroy", server)
    fleet.api.await_host(host.name, up=False)
    fleet.api.ask("POST", f"/v1/hosts/{host.name}/fence", {"powered_off": True})
    fleet.api.delete(server)
    clocked.service.set(YEAR)
    time.sleep(2.0)  # two rounds of the healer, which forgets what is old
    assert server in defined(host.lab)
    host.agent.start()
    until(lambda: server not in defined(host.lab), "its definition is removed", seconds=SOON_SECONDS)


@pytest.mark.parametrize("clocked_once", [pytest.param("postgresql", marks=[pytest.mark.slow, pytest.mark.real_postgresql])], indirect=True)
def test_a_claim_under_way_when_the_clock_is_put_forward_is_made_once(clocked: Clocked) -> None:
    """Its maker is slow; the healer of another process takes it for dead. One of the two wins, and the server runs in the end."""
    fleet = clocked.fleet
    halted = fleet.add_api("halted", fault="claim.allocated:stop")
    asking = threading.Thread(target=_create, args=(fleet, halted), daemon=True)
    asking.start()
    halted.await_hit("claim.allocated", dead=False)
    clocked.service.set(HOUR)
    time.sleep(3.0)
    halted.send(signal.SIGCONT)
    asking.join(PATIENCE_SECONDS)
    (server,) = (server["id"] for server in fleet.api.servers() if server["name"] == "slow")
    until(lambda: fleet.api.show(server)["status"] == "ACTIVE", "the server runs", seconds=SOON_SECONDS)
    halted.kill()


def _create(fleet: Fleet, process: Process) -> None:
    try:
        fleet.service(process).create("slow", "share")
    except (httpx.HTTPError, AssertionError):
        return


def _restarted(clocked: Clocked, fault: str) -> Process:
    """A process of the API that dies at that point: one more on PostgreSQL, the only one itself on SQLite."""
    fleet = clocked.fleet
    if fleet.postgresql is not None:
        return fleet.add_api(f"doomed-{fault}", fault=fault)
    only = fleet.apis[0]
    only.end()
    only.start(fault=fault)
    fleet.await_word(*fleet.hosts, after=lambda: _follow(fleet))
    return only


def _follow(fleet: Fleet) -> None:
    """Agents find the API process where it is now."""
    for host in fleet.hosts:
        host.proxy.upstream = fleet.apis[0].told["url"]

"""The long form of `test_survival`: one guest's life through every named point, PostgreSQL and libvirtd killed at every one of theirs.

`make survive` runs it.
"""

from __future__ import annotations

import signal
import threading

import httpx
import pytest
from tests.real.fleet.conftest import UpRig
from tests.real.fleet.fleet_rig import Fleet
from tests.real.fleet.rig import Process, defined, domains, until

SHARE = {"hw__cpu_policy": "dedicated", "hw__emulator_threads_policy": "share"}

CREATING = (
    "claim.allocated",
    "heal.abandoned",
    "heal.emptied",
    "claim.intended",
    "claim.pinned",
    "claim.held",
    "agent.start",
    "start.paused",
    "start.verified",
    "agent.started",
)
DELETING = ("agent.remove", "agent.removed", "agent.buried", "release.begin", "release.unpinned", "release.emptied")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def test_one_process_killed_at_every_point_of_one_guests_life(up: UpRig) -> None:
    """`pinfold up` dies at each point in turn; each life goes on from what the one before it left."""
    bystander = up.api.create(up.api.flavor("f", **SHARE), name="bystander")
    up.api.await_status(bystander, "ACTIVE")
    untouched = domains(up.lab)[bystander]
    up.process.kill()
    up.start(fault=CREATING[0])
    with pytest.raises(httpx.HTTPError):
        up.api.create("f", name="mortal")
    _lives(up, CREATING)
    server = next(server["id"] for server in up.api.servers() if server["name"] == "mortal")
    up.api.await_status(server, "ACTIVE")
    up.process.kill()
    up.start(fault=DELETING[0])
    up.api.delete(server, wait=False)
    _lives(up, DELETING)
    up.api.await_gone(server)
    assert domains(up.lab) == {bystander: untouched} and defined(up.lab) == {bystander}
    until(lambda: up.api.allocations(up.host).keys() == {bystander}, "the allocations are emptied")


def _lives(up: UpRig, points: tuple[str, ...]) -> None:
    for point, following in zip(points, (*points[1:], ""), strict=True):
        up.process.await_hit(point)
        up.process.start(fault=following, wait=False)
    up.process.await_ready()
    up.start_asking()


@pytest.mark.parametrize("point", ["claim.intended", "claim.allocated", "claim.pinned", "claim.held"])
def test_postgresql_killed_at_a_point_of_a_create(fleet: Fleet, point: str) -> None:
    assert fleet.postgresql is not None
    flavor = fleet.api.flavor("share", **SHARE)
    halted = fleet.add_api(f"halted-{point}", fault=f"{point}:stop")
    asking = threading.Thread(target=_create, args=(fleet, halted, flavor), daemon=True)
    asking.start()
    halted.await_hit(point, dead=False)
    _bounce(fleet, halted)
    asking.join(120)
    (server,) = fleet.api.servers()
    until(lambda: fleet.api.show(server["id"])["status"] in ("ACTIVE", "ERROR"), "the server is decided on")
    fleet.await_rest()
    fleet.api.delete(server["id"])
    _rest(fleet, halted)


@pytest.mark.parametrize("point", ["release.begin", "release.unpinned", "release.emptied"])
def test_postgresql_killed_at_a_point_of_a_delete(fleet: Fleet, point: str) -> None:
    host = fleet.hosts[0]
    server = fleet.api.create(fleet.api.flavor("share", **SHARE), host=host.name)
    halted = fleet.add_api(f"halted-{point}", fault=f"{point}:stop")
    fleet.api.await_status(server, "ACTIVE")
    host.proxy.upstream = halted.told["url"]
    fleet.api.delete(server, wait=False)
    halted.await_hit(point, dead=False)
    _bounce(fleet, halted)
    host.proxy.upstream = fleet.apis[0].told["url"]
    fleet.api.await_gone(server)
    _rest(fleet, halted)


@pytest.mark.parametrize("point", ["agent.start", "start.paused", "start.verified", "agent.started"])
def test_libvirtd_killed_at_a_point_of_a_start(fleet: Fleet, point: str) -> None:
    host = fleet.hosts[0]
    before = host.agent.hits(point)
    host.agent.kill()
    host.agent.start(fault=f"{point}:stop")
    server = fleet.api.create(fleet.api.flavor("share", **SHARE), host=host.name)
    host.agent.await_hit(point, times=before + 1, dead=False)
    host.lab.kill_daemon()
    host.agent.send(signal.SIGCONT)
    host.lab.start_daemon()
    fleet.api.await_status(server, "ACTIVE")
    fleet.await_rest()
    fleet.api.delete(server)
    _rest(fleet)


@pytest.mark.parametrize("point", ["agent.remove", "agent.removed", "agent.buried", "agent.confirmed"])
def test_libvirtd_killed_at_a_point_of_a_removal(fleet: Fleet, point: str) -> None:
    host = fleet.hosts[0]
    server = fleet.api.create(fleet.api.flavor("share", **SHARE), host=host.name)
    fleet.api.await_status(server, "ACTIVE")
    before = host.agent.hits(point)
    host.agent.kill()
    host.agent.start(fault=f"{point}:stop")
    fleet.api.delete(server, wait=False)
    host.agent.await_hit(point, times=before + 1, dead=False)
    host.lab.kill_daemon()
    host.agent.send(signal.SIGCONT)
    host.lab.start_daemon()
    fleet.api.await_gone(server)
    _rest(fleet)


def _bounce(fleet: Fleet, halted: Process) -> None:
    """Kill PostgreSQL under a process that halts at its point, and let both go on."""
    assert fleet.postgresql is not None
    fleet.postgresql.kill()
    fleet.postgresql.resume()
    halted.send(signal.SIGCONT)


def _create(fleet: Fleet, process: Process, flavor: str) -> None:
    try:
        fleet.service(process).create(flavor, name="caught")
    except (httpx.HTTPError, AssertionError):
        return


def _rest(fleet: Fleet, *done: Process) -> None:
    for process in done:
        process.kill()
    until(lambda: not fleet.api.servers(), "no server is left")
    fleet.await_rest()
    fleet.verdict()

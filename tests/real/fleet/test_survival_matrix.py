"""The long form of `test_survival`: one guest's life through every named point, PostgreSQL and libvirtd killed at every one of theirs.

`make survive` runs it.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import httpx
import pytest
from tests.real.fleet.conftest import UpRig
from tests.real.patience import PATIENCE_SECONDS, until
from tests.rig.client import COMPUTE, SHARE
from tests.rig.fits import vcpu_cpus
from tests.rig.fleet import LONG_SECONDS, Fleet
from tests.rig.processes import Process, defined, domains
from tests.survive import points

from pinfold.faultpoints import POINTS
from pinfold.lab.daemon import LabHost

CREATING = ("claim.allocated", *points.HEAL, "claim.intended", "claim.pinned", "claim.held", *points.START)
DELETING = ("agent.remove", "agent.removed", "agent.buried", *points.DELETE)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def test_one_process_killed_at_every_point_of_one_guests_life(up: UpRig) -> None:
    """`pinfold up` dies at each point in turn; each life goes on from what the one before it left."""
    bystander = up.api.create("bystander", up.api.flavor("f", **SHARE))
    up.api.await_status(bystander, "ACTIVE")
    untouched = domains(up.lab)[bystander]
    up.process.kill()
    up.start(fault=CREATING[0])
    with pytest.raises(httpx.HTTPError):
        up.api.create("mortal", "f")
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


@pytest.mark.parametrize("point", points.CREATE)
def test_postgresql_killed_at_a_point_of_a_create(fleet: Fleet, point: str) -> None:
    assert fleet.postgresql is not None
    flavor = fleet.api.flavor("share", **SHARE)
    halted = fleet.add_api(f"halted-{point}", fault=f"{point}:stop", heal_seconds=LONG_SECONDS)
    fleet.await_up()
    asking = threading.Thread(target=_create, args=(fleet, halted, flavor), daemon=True)
    asking.start()
    halted.await_hit(point, dead=False)
    _bounce(fleet, halted)
    asking.join(PATIENCE_SECONDS)
    (server,) = fleet.api.servers()
    until(lambda: fleet.api.show(server["id"])["status"] in ("ACTIVE", "ERROR"), "the server is decided on")
    fleet.await_rest()
    fleet.api.delete(server["id"])
    _rest(fleet, halted)


@pytest.mark.parametrize("point", points.DELETE)
def test_postgresql_killed_at_a_point_of_a_delete(fleet: Fleet, point: str) -> None:
    host = fleet.hosts[0]
    fleet.await_up()
    server = fleet.api.create("vm", fleet.api.flavor("share", **SHARE), host=host.name)
    halted = fleet.add_api(f"halted-{point}", fault=f"{point}:stop", heal_seconds=LONG_SECONDS)
    fleet.api.await_status(server, "ACTIVE")
    host.proxy.upstream = halted.told["url"]
    fleet.api.delete(server, wait=False)
    halted.await_hit(point, dead=False)
    _bounce(fleet, halted)
    host.proxy.upstream = fleet.apis[0].told["url"]
    fleet.api.await_gone(server)
    _rest(fleet, halted)


@pytest.mark.parametrize("point", points.REPLACE)
def test_a_service_killed_at_a_point_of_a_move(up: UpRig, point: str) -> None:
    """A stopped guest starts in another place after the pools changed, and `pinfold up` dies on the way."""
    server = up.api.create("vm", up.api.flavor("f", **SHARE))
    up.api.await_status(server, "ACTIVE")
    up.api.act(server, "os-stop")
    up.api.await_status(server, "SHUTOFF")
    config = Path(up.process.arguments[-1])
    text = config.read_text()
    config.write_text(text.replace("cpu_shared_set = 0-1,16-17", "cpu_shared_set = 0-15").replace("= 2-15,18-31", "= 16-31"))
    try:
        assert up.process.end() == 0
        up.start(fault=point)
        with pytest.raises(httpx.HTTPError):
            up.api.act(server, "os-start")
        up.process.await_hit(point)
        up.start()
        if point != "replace.held":
            up.api.act(server, "os-start")
        up.api.await_status(server, "ACTIVE")
        assert {int(cpus) for cpus in vcpu_cpus(up.api.placement(server)["claim"]["fit"])} <= set(range(16, 32))
    finally:
        config.write_text(text)
        up.process.kill()
        up.start()


@pytest.mark.parametrize("point", points.START)
def test_libvirtd_killed_at_a_point_of_a_start(fleet: Fleet, point: str) -> None:
    host = fleet.hosts[0]
    before = host.agent.hits(point)
    fleet.restart_agent(host, fault=f"{point}:stop")
    server = fleet.api.create("vm", fleet.api.flavor("share", **SHARE), host=host.name)
    host.agent.await_hit(point, times=before + 1, dead=False)
    host.lab.kill_daemon()
    host.agent.send(signal.SIGCONT)
    host.lab.start_daemon()
    fleet.api.await_status(server, "ACTIVE")
    fleet.await_rest()
    fleet.api.delete(server)
    _rest(fleet)


@pytest.mark.parametrize("point", points.REMOVE)
def test_libvirtd_killed_at_a_point_of_a_removal(fleet: Fleet, point: str) -> None:
    host = fleet.hosts[0]
    server = fleet.api.create("vm", fleet.api.flavor("share", **SHARE), host=host.name)
    fleet.api.await_status(server, "ACTIVE")
    before = host.agent.hits(point)
    fleet.restart_agent(host, fault=f"{point}:stop")
    fleet.api.delete(server, wait=False)
    host.agent.await_hit(point, times=before + 1, dead=False)
    host.lab.kill_daemon()
    host.agent.send(signal.SIGCONT)
    host.lab.start_daemon()
    fleet.api.await_gone(server)
    _rest(fleet)


def test_libvirtd_killed_before_a_guest_that_it_starts_has_a_process(fleet: Fleet) -> None:
    """libvirt keeps a ghost then, on which it refuses every act; the guest runs elsewhere, and the ghost holds nothing.

    That libvirt forgets it takes a person, who does what the agent's log says.
    """
    first, second = fleet.hosts
    bystanders = defined(first.lab)
    flavor, service = fleet.api.flavor("share", **SHARE), fleet.service_id(second.name)
    for _ in range(30):
        fleet.await_up()
        fleet.api.ask("PUT", f"{COMPUTE}/os-services/{service}", {"status": "disabled"})
        killing = threading.Thread(target=_kill_before_the_process, args=(first.lab,), daemon=True)
        killing.start()
        server = fleet.api.create("half-started", flavor)
        killing.join(2 * PATIENCE_SECONDS)
        fleet.api.ask("PUT", f"{COMPUTE}/os-services/{service}", {"status": "enabled"})
        status = first.lab.run_dir / "qemu" / f"instance-{server}.xml"
        caught = status.exists() and _has_no_process(status)
        began = time.monotonic()
        first.lab.start_daemon()
        shown = fleet.api.await_status(server, "ACTIVE")
        if caught:
            break
        fleet.api.delete(server)
    assert caught, "libvirtd was never killed at that moment"
    assert shown["OS-EXT-SRV-ATTR:host"] == second.name
    print(f"the guest of a half-done start ran elsewhere {time.monotonic() - began:.0f} s after libvirtd was back")
    other = fleet.api.create("in its place", flavor, host=first.name)
    fleet.api.await_status(other, "ACTIVE")
    assert f"delete {status.name}" in first.agent.errors().replace(f"{status.parent}/", "")
    assert defined(first.lab) == {*bystanders, server, other}
    first.lab.kill_daemon()
    status.unlink()
    first.lab.start_daemon()
    until(lambda: defined(first.lab) == {*bystanders, other}, "the agent takes away what libvirt had defined")
    fleet.api.delete(server)
    fleet.api.delete(other)
    _rest(fleet)


def _kill_before_the_process(lab: LabHost) -> None:
    """Kill libvirtd as soon as it starts a guest that has no process yet."""
    daemon = int((lab.run_dir / "libvirtd-lab.pid").read_text())
    until(lambda: any(_has_no_process(path) for path in (lab.run_dir / "qemu").glob("instance-*.xml")), "a guest starts", pause=0.001)
    os.kill(daemon, signal.SIGKILL)


def _has_no_process(status: Path) -> bool:
    try:
        return " pid='0'" in status.read_text()[:400]
    except FileNotFoundError:
        return False


def _bounce(fleet: Fleet, halted: Process) -> None:
    """Kill PostgreSQL under a process that halts at its point, and let both go on.

    Who asks on a connection of before is told that the database is away; the process has new ones from then on.
    """
    assert fleet.postgresql is not None
    fleet.postgresql.kill()
    fleet.postgresql.resume()
    halted.send(signal.SIGCONT)
    until(lambda: fleet.api.http.get(f"{COMPUTE}/servers").is_success, "the API answers again")


def _create(fleet: Fleet, process: Process, flavor: str) -> None:
    try:
        fleet.service(process).create("caught", flavor)
    except (httpx.HTTPError, AssertionError):
        return


def _rest(fleet: Fleet, *done: Process) -> None:
    for process in done:
        process.kill()
    until(lambda: not fleet.api.servers(), "no server is left")
    fleet.await_up()
    fleet.await_rest()
    fleet.verdict()


def test_every_named_point_was_hit_in_this_run(request: pytest.FixtureRequest) -> None:
    ran = {item.path.name for item in request.session.items}
    if (
        not {"test_survival.py", "test_rebuild.py", "test_networks.py", Path(__file__).name} <= ran
        or request.config.getoption("keyword")
        or request.session.testsfailed
    ):
        pytest.skip("only a whole run tells")
    assert sorted(POINTS) == sorted(points.HIT)

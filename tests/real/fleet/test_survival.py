"""What a fleet survives: every process killed at named points of a create and a delete, a Placement that fails, orders that come too late.

After each of these the fleet comes to rest by itself: Placement, ledger and domains equal, nothing left over, no bystander touched. A judge
that knows nothing of pinfold watches throughout.
"""

from __future__ import annotations

import contextlib
import json
import signal
import threading
from collections.abc import Iterator

import httpx
import psycopg2
import pytest
from tests.real.patience import PATIENCE_SECONDS, until
from tests.rig.client import COMPUTE, ISOLATE, SHARE
from tests.rig.fits import vcpu_cpus
from tests.rig.fleet import LONG_SECONDS, Fleet
from tests.rig.processes import Domain, Process, defined, domains, virsh
from tests.survive import points
from tests.survive.proxy import Fault

FOREIGN = """
<domain type="{kind}"><name>stranger</name><memory unit="MiB">16</memory><vcpu>1</vcpu>
<cputune><vcpupin vcpu="0" cpuset="{cpus}"/></cputune>
<os><type arch="x86_64">hvm</type></os></domain>
"""


def put(method: str, path: str) -> bool:
    """Whether a request books an allocation."""
    return method == "PUT" and path.startswith("/allocations/")


@pytest.fixture(scope="module")
def bystanders(fleet: Fleet) -> dict[str, Domain]:
    """A guest on each host that nobody does anything to."""
    flavors = [fleet.api.flavor("share", **SHARE), fleet.api.flavor("isolate", **ISOLATE)]
    made = [fleet.api.create("bystander", flavor, host=host.name) for host, flavor in zip(fleet.hosts, flavors, strict=True)]
    for server in made:
        fleet.api.await_status(server, "ACTIVE")
    return fleet.running()


@pytest.fixture(autouse=True)
def _survived(fleet: Fleet, bystanders: dict[str, Domain]) -> Iterator[None]:
    """After each test: everything that is not a bystander goes, the fleet is at rest, and no promise was broken on the way."""
    yield
    for host in fleet.hosts:
        host.lab.start_daemon()
        host.proxy.clear()
        host.proxy.upstream = fleet.apis[0].told["url"]
        if host.agent.running:
            host.agent.send(signal.SIGCONT)
        else:
            fleet.restart_agent(host)
    if fleet.placement is not None:
        fleet.placement.clear()
    fleet.await_up()
    fleet.api.delete_others(bystanders.keys())
    fleet.await_rest()
    fleet.verdict()
    assert fleet.running() == bystanders


def test_what_one_api_process_is_asked_every_other_one_knows(fleet: Fleet) -> None:
    first, second = (fleet.service(process) for process in fleet.apis)
    servers = [api.create("vm", flavor, host=host.name) for host in fleet.hosts for api, flavor in ((first, "share"), (second, "isolate"))]
    for server in servers:
        second.await_status(server, "ACTIVE")
    assert fleet.running().keys() >= set(servers)
    fleet.await_rest()
    first.act(servers[0], "os-stop")
    second.await_status(servers[0], "SHUTOFF")
    second.act(servers[0], "os-start")
    first.await_status(servers[0], "ACTIVE")
    found = fleet.verdict()
    assert found["most_running"] >= len(servers) and found["compared"]["Placement >= ledger"] > 1


def test_an_api_process_killed_at_any_point_of_a_create(fleet: Fleet) -> None:
    doomed = _doomed(fleet, points.CREATE)
    for point, process in doomed.items():
        with pytest.raises(httpx.HTTPError):
            fleet.service(process).create(point, "share")
        process.await_hit(point)
    servers = {server["name"]: server["id"] for server in fleet.api.servers()}
    for point in points.CREATE:
        fleet.api.await_status(servers[point], "ACTIVE")
        assert servers[point] in fleet.running()


def test_an_api_process_killed_at_any_point_of_a_delete(fleet: Fleet) -> None:
    doomed, host = _doomed(fleet, points.DELETE), fleet.hosts[0]
    servers = {point: fleet.api.create(point, "share", host=host.name) for point in points.DELETE}
    for point, process in doomed.items():
        fleet.api.await_status(servers[point], "ACTIVE")
        host.proxy.upstream = process.told["url"]
        fleet.api.delete(servers[point], wait=False)
        process.await_hit(point)
        host.proxy.upstream = fleet.apis[0].told["url"]
        fleet.api.await_gone(servers[point])
        assert servers[point] not in defined(host.lab)


def _doomed(fleet: Fleet, points: tuple[str, ...]) -> dict[str, Process]:
    """A process of the API for each point, at which it is to die of what it is asked. None is asked before all of them are ready."""
    made = {point: fleet.add_api(f"doomed-{point}", fault=point, wait=False, heal_seconds=LONG_SECONDS) for point in points}
    for process in made.values():
        process.await_ready()
    return made


def test_an_api_process_killed_as_it_tells_placement_of_a_host_that_changed(fleet: Fleet) -> None:
    (point,), host, stranger = points.REPORT, fleet.hosts[0], _stranger(fleet)
    doomed = fleet.add_api(f"doomed-{point}", fault=point)
    host.proxy.upstream = doomed.told["url"]
    for _ in range(25):  # the healer of another process may be faster, several times in a row
        virsh(host.lab, "create", stranger)
        until(lambda: doomed.hits(point) or _offered(fleet, host.name)["reserved"] == 1, "Placement hears of the stranger")
        if not doomed.hits(point):
            virsh(host.lab, "destroy", "stranger")
            until(lambda: doomed.hits(point) or _offered(fleet, host.name)["reserved"] == 0, "Placement hears that the stranger is gone")
        if doomed.hits(point):
            break
    doomed.await_hit(point)
    host.proxy.upstream = fleet.apis[0].told["url"]
    server = fleet.api.create("vm", "share", host=host.name)
    fleet.api.await_status(server, "ACTIVE")
    if "stranger" in virsh(host.lab, "list", "--name").split():
        virsh(host.lab, "destroy", "stranger")
    until(lambda: _offered(fleet, host.name)["reserved"] == 0, "Placement hears that the stranger is gone")


def test_a_report_whose_answer_was_lost_is_not_taken_for_the_one_before(fleet: Fleet) -> None:
    """The service keeps a report that the agent knows nothing of, and the host is as before again when the agent is next heard."""
    host, stranger = fleet.hosts[0], _stranger(fleet)
    host.proxy.add(Fault(kind="lost", matches=_reports, times=1))
    host.proxy.add(Fault(kind="away", matches=_reports))
    virsh(host.lab, "create", stranger)
    until(lambda: _offered(fleet, host.name)["reserved"] == 1, "Placement hears of the stranger")
    virsh(host.lab, "destroy", "stranger")
    host.proxy.clear()
    until(lambda: _offered(fleet, host.name)["reserved"] == 0, "Placement hears that the stranger is gone")


def test_a_report_that_is_heard_after_a_newer_one_does_not_stay(fleet: Fleet) -> None:
    host, stranger = fleet.hosts[0], _stranger(fleet)
    late = host.proxy.add(Fault(kind="late", matches=_reports, times=1, seconds=8.0))
    host.proxy.add(Fault(kind="away", matches=_reports))
    virsh(host.lab, "create", stranger)
    until(lambda: late.hits, "the agent reports the stranger")
    virsh(host.lab, "destroy", "stranger")
    host.proxy.clear()
    until(lambda: late.answered == [200], "the service hears of the stranger")
    until(lambda: _offered(fleet, host.name)["reserved"] == 0, "Placement hears that the stranger is gone")


def _reports(method: str, path: str) -> bool:
    return (method, path) == ("PUT", "/agent/v1/host")


def _stranger(fleet: Fleet) -> str:
    """The definition of a guest of nobody's, pinned to the first host's pCPU 30."""
    path = fleet.folder / "stranger.xml"
    path.write_text(FOREIGN.format(kind="kvm" if fleet.hosts[0].lab.kvm else "qemu", cpus="30"))
    return str(path)


def _offered(fleet: Fleet, host: str) -> dict[str, int]:
    """What Placement offers of the host's dedicated pCPUs."""
    found: dict[str, int] = fleet.ask_placement(f"/resource_providers/{fleet.api.host(host)['id']}/inventories/PCPU")
    return found


def test_an_agent_killed_at_every_point_of_one_guests_life(fleet: Fleet) -> None:
    """Each life of the agent finds what the one before it left, and dies one point further on."""
    host = fleet.hosts[0]
    creating, deleting = points.START, points.REMOVE
    fleet.restart_agent(host, fault=creating[0])
    server = fleet.api.create("mortal", "share", host=host.name)
    for point, following in zip(creating, (*creating[1:], ""), strict=True):
        host.agent.await_hit(point)
        host.agent.start(fault=following, wait=False)
    fleet.api.await_status(server, "ACTIVE")
    assert domains(host.lab)[server].alive
    fleet.restart_agent(host, fault=deleting[0])
    fleet.api.delete(server, wait=False)
    for point, following in zip(deleting, (*deleting[1:], ""), strict=True):
        host.agent.await_hit(point)
        host.agent.start(fault=following, wait=False)
    fleet.api.await_gone(server)
    host.agent.await_ready()


def test_libvirtd_killed_in_a_start_and_in_a_removal(fleet: Fleet) -> None:
    host = fleet.hosts[0]
    before = host.agent.hits("start.paused")
    fleet.restart_agent(host, fault="start.paused:stop")
    server = fleet.api.create("vm", "share", host=host.name)
    host.agent.await_hit("start.paused", times=before + 1, dead=False)
    assert server in domains(host.lab)
    host.lab.kill_daemon()
    host.agent.send(signal.SIGCONT)
    host.lab.start_daemon()
    fleet.api.await_status(server, "ACTIVE")
    before = host.agent.hits("agent.remove")
    fleet.restart_agent(host, fault="agent.remove:stop")
    fleet.api.delete(server, wait=False)
    host.agent.await_hit("agent.remove", times=before + 1, dead=False)
    host.lab.kill_daemon()
    host.agent.send(signal.SIGCONT)
    host.lab.start_daemon()
    fleet.api.await_gone(server)


def test_postgresql_killed_in_a_create_and_in_a_delete(fleet: Fleet) -> None:
    assert fleet.postgresql is not None
    host = fleet.hosts[0]
    creating = fleet.add_api("halted-create", fault="claim.allocated:stop", wait=False)
    deleting = fleet.add_api("halted-delete", fault="release.unpinned:stop", wait=False)
    victim = fleet.api.create("victim", "share", host=host.name)
    fleet.api.await_status(victim, "ACTIVE")
    creating.await_ready()
    deleting.await_ready()
    asking = threading.Thread(target=_create_or_fail, args=(fleet, creating), daemon=True)
    asking.start()
    host.proxy.upstream = deleting.told["url"]
    fleet.api.delete(victim, wait=False)
    creating.await_hit("claim.allocated", dead=False)
    deleting.await_hit("release.unpinned", dead=False)
    fleet.postgresql.kill()
    fleet.postgresql.resume()
    host.proxy.upstream = fleet.apis[0].told["url"]
    for process in (creating, deleting):
        process.send(signal.SIGCONT)
    asking.join(PATIENCE_SECONDS)
    fleet.api.await_gone(victim)
    (caught,) = (server["id"] for server in fleet.api.servers() if server["name"] == "caught")
    until(lambda: fleet.api.show(caught)["status"] in ("ACTIVE", "ERROR"), "the server caught in the middle is decided on")
    fleet.await_up()
    later = fleet.api.create("later", "share")
    fleet.api.await_status(later, "ACTIVE")
    for process in (creating, deleting):
        process.kill()


def _create_or_fail(fleet: Fleet, process: object) -> None:
    try:
        fleet.service(process).create("caught", "share")  # type: ignore[arg-type]
    except (httpx.HTTPError, AssertionError):
        return


def test_a_placement_that_is_away_slow_or_wrong(fleet: Fleet) -> None:
    assert fleet.placement is not None
    for kind, seconds, times, ending in (
        ("away", 0.0, 99, "ERROR"),
        ("500", 0.0, 99, "ERROR"),
        ("409", 0.0, 2, "ACTIVE"),
        ("slow", 2.0, 1, "ACTIVE"),
        ("lost", 0.0, 1, "ERROR"),
    ):
        fault = fleet.placement.add(Fault(kind=kind, matches=put, times=times, seconds=seconds))
        server = fleet.api.create(kind, "share")
        until(lambda server=server: fleet.api.show(server)["status"] in ("ACTIVE", "ERROR"), f"{kind} is decided on")  # type: ignore[misc]
        shown = fleet.api.show(server)
        assert fault.hits and shown["status"] == ending, (kind, shown)
        if ending == "ERROR":
            assert "Placement" in shown["fault"]["message"], shown["fault"]
        fleet.placement.clear()


def test_a_placement_that_is_away_while_a_server_is_deleted(fleet: Fleet) -> None:
    assert fleet.placement is not None
    for kind in ("away", "500", "409"):
        server = fleet.api.create(kind, "share")
        fleet.api.await_status(server, "ACTIVE")
        here = next(host for host in fleet.hosts if server in domains(host.lab))
        # Emptying an allocation is a PUT of no resources, so that its generation is checked.
        fault = fleet.placement.add(Fault(kind=kind, matches=lambda _, path: "/allocations" in path))
        fleet.api.delete(server, wait=False)
        until(lambda fault=fault: fault.hits > 2, "Placement is asked")  # type: ignore[misc]
        until(lambda here=here, server=server: server not in defined(here.lab), "its domain goes")  # type: ignore[misc]
        fleet.placement.clear()
        fleet.api.await_gone(server)
        fleet.await_rest()


def test_a_decision_on_an_index_that_is_stale_by_the_time_of_the_claim(fleet: Fleet) -> None:
    """One API process has decided and booked, and halts before the ledger; another one takes the very pCPUs that it decided on.

    A single server keeps off what others intend to claim. Servers of one body are decided on together, from what is claimed.
    """
    host = fleet.hosts[0]
    # Nobody takes the halted one for dead: its server would be placed anew, on those pCPUs.
    halted = fleet.add_api("halted-stale", fault="claim.allocated:stop", heal_seconds=LONG_SECONDS, claim_seconds=LONG_SECONDS)
    made: list[str] = []
    asking = threading.Thread(target=lambda: made.append(fleet.service(halted).create("behind", "share", host=host.name)), daemon=True)
    asking.start()
    halted.await_hit("claim.allocated", dead=False)
    (decided,) = _vcpus(fleet, "behind", "intended")
    beside = fleet.api.create("beside", "share", host=host.name)
    assert _vcpus(fleet, "beside", "held") != [decided]
    fleet.api.delete(beside)
    fleet.api.create("ahead", "share", host=host.name, min_count=2)
    assert decided in _vcpus(fleet, "ahead-%", "held")
    halted.send(signal.SIGCONT)
    asking.join(PATIENCE_SECONDS)
    assert len(made) == 1
    servers = [server["id"] for server in fleet.api.servers() if server["name"] in ("ahead-1", "ahead-2", "behind")]
    for server in servers:
        fleet.api.await_status(server, "ACTIVE")
    vcpus = [set(vcpu_cpus(fleet.api.placement(server)["claim"]["fit"])) for server in servers]
    assert len(vcpus) == 3 and sum(map(len, vcpus)) == len(set.union(*vcpus))
    halted.kill()


def _vcpus(fleet: Fleet, names: str, state: str) -> list[object]:
    """Where the vCPUs of stored claims in that state are to run, by a pattern of the servers' names."""
    assert fleet.postgresql is not None
    query = "SELECT c.fit FROM claim c JOIN guest g ON g.id = c.guest WHERE g.name LIKE %s AND c.state = %s"
    with contextlib.closing(psycopg2.connect(fleet.database.replace("+psycopg2", ""))) as connection, connection.cursor() as cursor:
        cursor.execute(query, (names, state))
        return [[cell["pins"] for cell in json.loads(fit)["value"]["cells"]] for (fit,) in cursor.fetchall()]


def test_a_booking_that_arrives_after_its_claim_was_given_up(fleet: Fleet) -> None:
    assert fleet.placement is not None
    fault = fleet.placement.add(Fault(kind="late", matches=put, times=1, seconds=3.0))
    server = fleet.api.create("late", "share")
    assert fleet.api.show(server)["status"] == "ERROR" and fault.hits == 1

    until(lambda: fault.answered, "the late booking lands")
    assert fault.answered == [204]
    until(lambda: not fleet.ask_placement(f"/allocations/{server}")["allocations"], "the healer empties it")


def test_a_start_order_that_a_removal_has_overtaken(fleet: Fleet) -> None:
    host = fleet.hosts[0]
    server = fleet.api.create("stale", "share", host=host.name)
    fleet.api.await_status(server, "ACTIVE")
    orders = fleet.orders(host)
    assert server in [order["guest"] for order in orders["orders"]]
    fleet.api.delete(server)
    with fleet.replaying(host, orders, of=server):
        other = fleet.api.create("after", "share", host=host.name)
    fleet.api.await_status(other, "ACTIVE")
    assert server not in defined(host.lab)


def test_a_host_cut_off_from_its_service_for_longer_than_its_lease(fleet: Fleet, bystanders: dict[str, Domain]) -> None:
    host = fleet.hosts[1]
    (here,) = domains(host.lab)
    fault = host.proxy.add(Fault(kind="away"))
    fleet.api.await_host(host.name, up=False)
    assert fleet.api.show(here)["status"] == "UNKNOWN" and fault.hits
    assert domains(host.lab)[here] == bystanders[here]
    host.proxy.clear()
    fleet.api.await_host(host.name, up=True)
    fleet.api.await_status(here, "ACTIVE")


def test_a_host_with_less_than_is_recorded_hands_the_guest_on(fleet: Fleet) -> None:
    first, second = fleet.hosts
    before = first.agent.hits("agent.start")
    fleet.restart_agent(first, fault="agent.start:stop")
    fleet.api.ask("PUT", f"{COMPUTE}/os-services/{fleet.service_id(second.name)}", {"status": "disabled"})
    server = fleet.api.create("handed-on", "share")
    first.agent.await_hit("agent.start", times=before + 1, dead=False)
    fleet.api.ask("PUT", f"{COMPUTE}/os-services/{fleet.service_id(second.name)}", {"status": "enabled"})
    stranger = fleet.folder / "stranger.xml"
    stranger.write_text(FOREIGN.format(kind="kvm" if first.lab.kvm else "qemu", cpus="2-15,18-31"))
    virsh(first.lab, "create", str(stranger))
    first.agent.send(signal.SIGCONT)
    shown = fleet.api.await_status(server, "ACTIVE")
    assert shown["OS-EXT-SRV-ATTR:host"] == second.name
    assert server in domains(second.lab) and server not in defined(first.lab)
    virsh(first.lab, "destroy", "stranger")

"""Two API processes on PostgreSQL, a host with an agent each: everything arrives whichever process is asked, and is at rest after."""

from __future__ import annotations

from tests.real.fleet.fleet_rig import Fleet

SHARE = {"hw__cpu_policy": "dedicated", "hw__emulator_threads_policy": "share"}
ISOLATE = {"hw__cpu_policy": "dedicated", "hw__emulator_threads_policy": "isolate"}


def test_what_one_api_process_is_asked_every_other_one_knows(fleet: Fleet) -> None:
    first, second = (fleet.service(process) for process in fleet.apis)
    flavors = [first.flavor("share", **SHARE), first.flavor("isolate", **ISOLATE)]
    with fleet.judged() as found:
        servers = [api.create(flavor, host=host.name) for host in fleet.hosts for api in (first, second) for flavor in flavors]
        for server in servers:
            second.await_status(server, "ACTIVE")
        assert fleet.running().keys() == set(servers)
        fleet.await_rest()
        first.act(servers[0], "os-stop")
        second.await_status(servers[0], "SHUTOFF")
        second.act(servers[0], "os-start")
        first.await_status(servers[0], "ACTIVE")
        for server in servers:
            second.delete(server, wait=False)
        for server in servers:
            first.await_gone(server)
        fleet.await_rest()
    assert found["most_running"] == len(servers)
    assert found["compared"]["Placement >= ledger"] > 1

"""What is stored while Placement is away stands, and Placement follows: an agent is heard, an aggregate has its hosts."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from tests.build.hosts import report
from tests.rig.client import COMPUTE, compute, server_body
from tests.rig.in_process import Agent, Fleet, open_fleet
from tests.rig.served_fleet import served_fleet

from pinfold.accounting.client import Placement
from pinfold.accounting.embedded import Embedded


@dataclass
class _Line(httpx.BaseTransport):
    """The line to the real Placement, which may be cut."""

    real: httpx.BaseTransport
    cut: bool = False
    slow: threading.Event | None = None
    waiting: int = 0
    seconds: float = 0.0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if self.cut:
            raise httpx.ConnectError("the line is cut")
        if self.slow is not None:
            self.waiting += 1
            self.slow.wait(60)
            raise httpx.ReadTimeout("the line is slow")
        return self.real.handle_request(request)


@pytest.fixture
def line(embedded: Embedded) -> _Line:
    return _Line(httpx.WSGITransport(app=embedded.app))


@pytest.fixture
def far(tmp_path: Path, sqlite_file: Path, embedded: Embedded, line: _Line) -> Iterator[Fleet]:
    """The application, its Placement at the end of the line."""
    client = httpx.Client(transport=line, base_url="http://placement.far", headers={"X-Auth-Token": "admin"})
    with open_fleet(tmp_path, sqlite_file, Embedded(app=embedded.app, client=Placement(client, clock=lambda: line.seconds))) as made:
        yield made


def _added(fleet: Fleet, name: str) -> Agent:
    told = fleet.http.post("/v1/hosts", json={"name": name}).json()
    fleet.agents[name] = Agent(http=fleet.http, id=told["host"]["id"], name=name, token=told["token"], reported=report())
    return fleet.agents[name]


def _placed(fleet: Fleet, name: str) -> tuple[str, str]:
    """Where a new server comes, and the message of its fault."""
    shown = fleet.show(fleet.create(name, "pin"))
    return shown["OS-EXT-SRV-ATTR:host"] or "", shown.get("fault", {}).get("message", "")


def test_a_first_hello_is_heard_and_the_host_takes_guests_once_placement_knows_it(far: Fleet, line: _Line) -> None:
    far.flavor("pin", vcpus=2, hw_cpu_policy="dedicated")
    agent = _added(far, "c1")
    line.cut = True
    welcome = agent.hello()
    assert (welcome.status_code, welcome.json()["host"]) == (200, agent.id)
    assert far.ask("GET", "/os-services").json()["services"][0]["state"] == "up"
    assert _placed(far, "early")[0] == ""
    assert far.services.fleet.providers.behind

    line.cut = False
    host, fault = _placed(far, "sooner")
    assert host == ""
    assert fault.startswith("No host takes the guest: c1: Placement refused the allocation:")
    assert f"'{agent.id}' that does not exist" in fault
    far.services.fleet.healer.start()
    assert not far.services.fleet.providers.behind
    assert _placed(far, "later") == ("c1", "")


def test_a_host_that_changed_is_heard_and_placement_follows(far: Fleet, line: _Line) -> None:
    agent = far.host("c1")
    line.cut = True
    assert agent.hello(report(cells=1)).status_code == 200
    line.cut = False
    assert far.placement(f"/resource_providers/{agent.id}/inventories")["inventories"]["PCPU"]["total"] == 14
    far.services.fleet.healer.heal()
    assert far.placement(f"/resource_providers/{agent.id}/inventories")["inventories"]["PCPU"]["total"] == 6


def test_an_aggregate_has_its_hosts_at_once_and_placement_follows(far: Fleet, line: _Line) -> None:
    agent = far.host("c1")
    made = far.ask("POST", "/os-aggregates", {"aggregate": {"name": "quiet", "availability_zone": "az1"}}, status=200).json()["aggregate"]
    for action, members in (("add_host", ["c1"]), ("remove_host", [])):
        line.cut = True
        answer = far.ask("POST", f"/os-aggregates/{made['id']}/action", {action: {"host": "c1"}}, status=200)
        assert answer.json()["aggregate"]["hosts"] == members
        line.cut = False
        far.services.fleet.healer.heal()
        found = far.placement(f"/resource_providers/{agent.id}/aggregates")["aggregates"]
        assert found == ([made["uuid"]] if members else [])


def test_users_are_answered_while_placement_hangs(far: Fleet, line: _Line) -> None:
    far.host("c1")
    far.flavor("pin", vcpus=2, hw_cpu_policy="dedicated")
    line.cut = True
    _placed(far, "first")
    line.cut, line.slow, line.seconds = False, threading.Event(), 60.0
    try:
        with served_fleet(far) as url, httpx.Client(base_url=url, auth=far.http.auth, timeout=30) as http, ThreadPoolExecutor(60) as pool:
            body = {"server": server_body("vm", "pin")}
            made = [pool.submit(http.post, f"{COMPUTE}/servers", json=body, headers=compute()) for _ in range(60)]  # more than threads
            while sum(one.done() for one in made) < 56:
                time.sleep(0.01)
            assert len(http.get(f"{COMPUTE}/servers?limit=100").json()["servers"]) == 61
            assert line.waiting == 4
            line.slow.set()
            assert {one.result().status_code for one in made} == {202}
    finally:
        line.slow.set()
    line.slow = None
    assert {far.status(server["id"]) for server in far.ask("GET", "/servers?limit=100").json()["servers"]} == {"ERROR"}
    assert _placed(far, "later") == ("c1", "")

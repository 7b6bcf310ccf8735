"""The life of a small fleet over HTTP: every answer of `/v1`, of the agents' protocol and of Compute, and a database at its end.

Agents speak in plain JSON here, as those of the recorded code do, whatever the code's own types have become.
"""

from __future__ import annotations

import itertools
import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import httpx
from tests.build.hosts import report
from tests.replay import adapter
from tests.replay.recording import Answers, Names
from tests.rig.client import server_body
from tests.rig.in_process import Agent, Fleet

RUNNING = {"observed": "running"}
PIN = {"hw_cpu_policy": "dedicated"}
FLAVORS: dict[str, dict[str, Any]] = {
    "tiny": {"vcpus": 1},
    "pin": {"vcpus": 2, **PIN},
    "share": {"vcpus": 2, **PIN, "hw_emulator_threads_policy": "share"},
    "isolate": {"vcpus": 2, **PIN, "hw_emulator_threads_policy": "isolate"},
    "cores": {"vcpus": 1, **PIN, "hw_cpu_thread_policy": "isolate"},
    "realtime": {"vcpus": 2, **PIN, "hw_cpu_realtime": "yes", "hw_cpu_realtime_mask": "^0"},
    "mixed": {"vcpus": 3, "hw_cpu_policy": "mixed", "hw_cpu_dedicated_mask": "0-1"},
    "cells": {"vcpus": 2, "ram": 128, **PIN, "hw_numa_nodes": "2"},
    "large": {"vcpus": 64, **PIN},
}
STATES = ("running", "stopped", "paused", "crashed", "rebooting", "failing", "deleting", "building")
HALF_WAY = ("intended", "releasing", "abandoned")


@contextmanager
def lasting_ids() -> Iterator[None]:
    """New ids ascend, so that what is ordered by them comes in the same order in every run."""
    numbers = itertools.count(1)

    def uuid4() -> uuid.UUID:
        return uuid.UUID(int=next(numbers) << 16, version=4)

    with patch.object(uuid, "uuid4", uuid4):
        yield


class Transcript:
    """Every exchange of a client from now on: what was asked, and what was answered, in order."""

    def __init__(self, http: httpx.Client) -> None:
        self._said: list[tuple[str, str, bytes, int, bytes]] = []
        http.event_hooks["response"].append(self._hear)

    def answers(self, names: Names) -> Answers:
        """The exchanges, each under its number and what was asked."""
        found: Answers = {}
        for number, (method, path, asked, status, answer) in enumerate(self._said):
            plain = names({"asked": _json(asked), "status": status, "answer": _json(answer)})
            found[f"{number:03} {method} {names(path)}"] = plain
        return found

    def _hear(self, response: httpx.Response) -> None:
        response.read()
        request = response.request
        self._said.append((request.method, request.url.raw_path.decode(), request.content, response.status_code, response.content))


def tell(fleet: Fleet) -> dict[str, str]:
    """The story; servers' ids by their names."""
    hosts = _hosts(fleet)
    made = _servers(fleet, hosts["c1"])
    made |= _changes(fleet, hosts)
    _look(fleet, made)
    return made


def names(fleet: Fleet, made: dict[str, str]) -> dict[str, str]:
    """The names of hosts' and servers' ids."""
    hosts = {agent.id: f"<host {name}>" for name, agent in fleet.agents.items()}
    return hosts | {server: f"<server {name}>" for name, server in made.items()}


def _hosts(fleet: Fleet) -> dict[str, Agent]:
    hosts = {name: fleet.host(name, report(cores=8, shared="0-7") if name == "c1" else None) for name in ("c1", "c2", "c3", "c4", "c5")}
    fleet.http.post("/v1/hosts", json={"name": "c1"})
    fleet.http.post("/v1/hosts", json={"name": "never-seen"})
    fleet.http.post("/v1/hosts/c2/token", json={})
    for agent in hosts.values():
        agent.protocol = 1  # that of the agents of the recorded code
    for name, parts in FLAVORS.items():
        fleet.flavor(name, **parts)
    fleet.ask("PUT", "/flavors/tiny", {"flavor": {"description": "one vCPU"}})
    hosts["c4"].ask("POST", "/heartbeat")
    aggregate = fleet.ask("POST", "/os-aggregates", {"aggregate": {"name": "fast", "availability_zone": "z1"}}, status=200)
    number = aggregate.json()["aggregate"]["id"]
    fleet.ask("POST", f"/os-aggregates/{number}/action", {"add_host": {"host": "c4"}}, status=200)
    fleet.ask("POST", f"/os-aggregates/{number}/action", {"set_metadata": {"metadata": {"ssd": "true"}}}, status=200)
    fleet.ask("POST", "/os-aggregates", {"aggregate": {"name": "empty"}}, status=200)
    return hosts


def _servers(fleet: Fleet, agent: Agent) -> dict[str, str]:
    made = {name: fleet.create(name, "tiny", host="c1") for name in STATES if name != "building"}
    more = {"metadata": {"role": "web"}, "description": "with notes", "host": "c1"}
    for name in ("mixed", "share", "isolate", "cores", "realtime", "cells"):
        made[name] = fleet.create(name, name, **(more if name == "share" else {"host": "c1"}))
    for order in agent.orders()["orders"]:
        _report(agent, order["guest"], RUNNING, boot=order["boot"], threads=_threads(order))
    made["building"] = fleet.create("building", "pin", host="c1")
    for name, observed in (("paused", "paused"), ("crashed", "crashed")):
        _report(agent, made[name], {"observed": observed}, boot=1)
    _act(fleet, made["stopped"], {"os-stop": None})
    agent.orders()
    _report(agent, made["stopped"], {"observed": "stopped"}, boot=1)
    _act(fleet, made["rebooting"], {"reboot": {"type": "SOFT"}})
    _act(fleet, made["failing"], {"reboot": {"type": "HARD"}})
    _report(agent, made["failing"], {"observed": "stopped"}, boot=2, failure="pCPU 4 is not online on this host")
    fleet.ask("DELETE", f"/servers/{made['deleting']}", status=204)
    gone = fleet.create("gone", "pin", host="c1")
    fleet.ask("DELETE", f"/servers/{gone}", status=204)
    agent.ask("POST", f"/guests/{gone}/absence", {"revision": agent.order(gone)["revision"]})
    made["nowhere"] = fleet.create("nowhere", "large")
    failed = fleet.create("failed", "pin", host="c1")
    agent.ask("POST", f"/guests/{failed}/absence", {"revision": agent.order(failed)["revision"], "failure": "no such image"})
    agent.orders()
    for state in HALF_WAY:
        made[state] = fleet.create(state, "pin", host="c4")
    return made | {"gone": gone, "failed": failed}


def _changes(fleet: Fleet, hosts: dict[str, Agent]) -> dict[str, str]:
    moved = fleet.create("moved", "share", host="c3")
    hosts["c3"].obey()
    _act(fleet, moved, {"os-stop": None})
    hosts["c3"].obey()
    hosts["c3"].hello(report(shared="0-3"))
    _act(fleet, moved, {"os-start": None})
    fleet.http.get(f"/v1/servers/{moved}/placement")
    hosts["c3"].obey()
    fleet.http.post(f"/v1/servers/{moved}/rebook", json={})
    lost = fleet.create("lost", "pin", host="c2")
    fleet.http.post("/v1/hosts/c2/fence", json={"powered_off": True})
    hosts["c5"].ask("DELETE", "/host")
    fleet.http.request("DELETE", "/v1/hosts/c1")
    fleet.http.request("DELETE", "/v1/hosts/never-seen")
    fleet.ask("PUT", f"/os-services/{hosts['c3'].id}", {"status": "disabled", "disabled_reason": "a new fan"}, status=200)
    fleet.http.get(f"/v1/servers/{lost}/placement")
    adapter.end_lease(fleet.database, hosts["c2"].id)
    fleet.http.post("/v1/hosts/c2/fence", json={"powered_off": True})
    return {"moved": moved, "lost": lost}


def _look(fleet: Fleet, made: dict[str, str]) -> None:
    fleet.http.get("/v1/hosts")
    for name in ("c1", "c2", "c3", "c4", "c5", "nobody"):
        fleet.http.get(f"/v1/hosts/{name}")
        fleet.http.get(f"/v1/hosts/{name}/map")
    for server in (*made.values(), str(uuid.UUID(int=1))):
        fleet.http.get(f"/v1/servers/{server}/placement")
    for flavor in FLAVORS:
        fleet.http.post("/v1/fits", json={"flavor": flavor})
    inline = {"vcpus": 2, "ram": 64, "extra_specs": {"hw:cpu_policy": "dedicated", "hw:mem_page_size": "large", "hw:sound_model": "usb"}}
    fleet.http.post("/v1/fits", json={"flavor": inline, "host": "c4"})
    fleet.http.post("/v1/fits", json={"flavor": "absent"})
    fleet.http.post(f"/v1/servers/{made['nowhere']}/rebook", json={})
    for path in ("/servers/detail", "/flavors/detail", "/os-aggregates", "/os-hypervisors/detail", "/os-services", "/limits"):
        fleet.ask("GET", path)
    fleet.ask("POST", "/servers", {"server": server_body("odd", "absent")})
    for name in fleet.agents:
        fleet.agents[name].ask("GET", "/orders?after=-1&wait=0")


def _act(fleet: Fleet, server: str, body: dict[str, Any]) -> None:
    fleet.ask("POST", f"/servers/{server}/action", body, status=202)


def _report(agent: Agent, guest: str, body: dict[str, Any], **more: Any) -> None:
    answer = agent.ask("POST", f"/guests/{guest}", {"revision": agent.order(guest)["revision"], **body, **more})
    assert answer.status_code == 204, answer.text


def _threads(order: dict[str, Any]) -> dict[str, Any]:
    fit = order["fit"]
    names = [("qemu-system-x86", "emulator", fit["emulator"], None)]
    names += [(f"CPU {vcpu}/KVM", "vcpu", f"{pcpu}", vcpu) for cell in fit["cells"] for vcpu, pcpu in cell["pins"]]
    seen = [
        {"tid": 100 + number, "name": name, "thread_class": kind, "allowed": allowed, "recorded": allowed, "vcpu": vcpu}
        for number, (name, kind, allowed, vcpu) in enumerate(names)
    ]
    return {"witness": "procfs", "threads": seen, "drift": ["thread 101 may run on 0-9"] if len(seen) > 2 else []}


def _json(body: bytes) -> Any:
    try:
        return json.loads(body) if body else None
    except ValueError:
        return body.decode(errors="replace")

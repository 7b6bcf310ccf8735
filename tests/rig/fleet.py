"""A whole fleet as real processes: a database, Placement, API processes, lab hosts with an agent each, and the judge that watches them.

What is done to them, and what is expected then, stands in the tests.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import bcrypt
import httpx
from tests.ports import free_port
from tests.postgres import PostgreSQL
from tests.real.patience import until
from tests.rig import loaded
from tests.rig.client import COMPUTE
from tests.rig.processes import Process, Service, configuration, domains, virsh
from tests.rig.watch import Watch, settings_of
from tests.survive.clock import WallClock
from tests.survive.proxy import Fault, FaultProxy

from pinfold.agent.wire import PROTOCOL
from pinfold.lab.daemon import LabHost

ACCOUNT = ("admin", "correct horse battery staple")
TOKEN = {"X-Auth-Token": "admin"}
LEASE_SECONDS = 30.0
"""Long enough that no host counts as down because the machine is busy: a create would be refused then."""
CLAIM_SECONDS = 10.0
"""Short, since what a dead process claimed is waited for. One that is slow is overtaken by the healer, and its server placed anew."""
LONG_SECONDS = 3600.0
SPEAKING = ("/agent/v1/host", "/agent/v1/heartbeat")


@dataclass
class FleetHost:
    """One lab host with its agent, which talks to the API through a proxy of its own."""

    name: str
    lab: LabHost
    state: Path
    agent: Process
    proxy: FaultProxy


@dataclass
class Fleet:
    """Everything of one fleet. `apis` are the healthy ones; the first one is what `api` asks and agents talk to."""

    folder: Path
    database: str
    postgresql: PostgreSQL | None
    placement: FaultProxy | None
    placement_url: str
    apis: list[Process] = field(default_factory=list)
    hosts: list[FleetHost] = field(default_factory=list)
    stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    embedded: str = ""
    service_clock: WallClock | None = None
    host_clock: WallClock | None = None
    consoles: bool = False
    """Whether users type into consoles. Each API process tells agents its own address then."""

    @property
    def api(self) -> Service:
        """The first API process, as a client sees it."""
        return self.service(self.apis[0])

    def service(self, process: Process) -> Service:
        """One API process, as a client sees it."""
        return Service(process.told["url"], ACCOUNT)

    def add_api(
        self, name: str, *, fault: str = "", wait: bool = True, heal_seconds: float = 1.0, claim_seconds: float = CLAIM_SECONDS
    ) -> Process:
        """Start one more API process; it is killed with the fleet. `fault` is a named place where it is to die.

        One that is to die of what it is asked heals seldom: or it may die, of what it heals, before it is asked.
        """
        state = self.folder / name
        state.mkdir(exist_ok=True, mode=0o711)
        config = self.folder / f"{name}.conf"
        placement = (
            f"endpoint_override = {self.placement.url}\nauth_type = none" if self.placement else f"embedded_connection = {self.embedded}"
        )
        text = f"[pinfold]\nstate_dir = {state}\nimages_dir = {self.folder}/images\n"
        text += f"[pinfold_database]\nconnection = {self.database}\npool_size = 10\n[pinfold_placement]\n{placement}\n"
        port = 0
        if self.consoles:
            port = free_port()
            text += f"[serial_console]\nenabled = true\nagent_url = http://127.0.0.1:{port}\n"
        text += f"[pinfold_api]\nport = {port}\nlease_seconds = {LEASE_SECONDS}\n"
        text += f"heal_seconds = {heal_seconds}\nclaim_seconds = {claim_seconds}\n"
        text += f"accounts_file = {self.folder}/accounts\n"
        config.write_text(text)
        process = Process(("api", "--config", str(config)), self.folder, name, environment=by(self.service_clock))
        self.stack.callback(process.kill)
        return process.start(fault=fault, wait=wait)

    def add_host(self, name: str, lab: LabHost, *, sweep_seconds: float = 2.0) -> FleetHost:
        """Make a host known, and start its agent."""
        token = self.api.ask("POST", "/v1/hosts", {"name": name})["token"]
        state = self.folder / f"state-{name}"
        state.mkdir(mode=0o711)
        with os.fdopen(os.open(state / "agent.token", os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
            file.write(token)
        proxy = self.stack.enter_context(FaultProxy(self.apis[0].told["url"]))
        config = self.folder / f"{name}.conf"
        agent = f"api_url = {proxy.url}\nsweep_seconds = {sweep_seconds}"
        config.write_text(configuration(lab, state, host=name, pinfold_agent=agent))
        process = Process(("agent", "--config", str(config)), self.folder, f"agent-{name}", environment=by(self.host_clock))
        self.stack.callback(sweep, lab)
        self.stack.callback(process.kill)
        made = FleetHost(name=name, lab=lab, state=state, agent=process, proxy=proxy)
        self.hosts.append(made)
        process.start()
        self.api.await_host(name, up=True)
        return made

    def restart_agent(self, host: FleetHost, *, fault: str = "") -> None:
        """Kill a host's agent, start it anew, and wait until the new one has spoken, so that its host is up for a whole lease."""
        host.agent.kill()
        self.await_word(host, after=lambda: host.agent.start(fault=fault))

    def await_word(self, *hosts: FleetHost, after: Callable[[], object]) -> None:
        """Do something, and wait until the hosts' agents have spoken since."""
        spoken = {host.name: host.proxy.add(Fault(kind="pass", matches=lambda _, path: path in SPEAKING)) for host in hosts}
        after()
        for host in hosts:
            word = spoken[host.name]
            until(lambda word=word: any(status < 300 for status in word.answered), f"the agent of {host.name} speaks")  # type: ignore[misc]
            host.proxy.remove(word)

    def await_up(self) -> None:
        """Wait until every host is up."""
        for host in self.hosts:
            self.api.await_host(host.name, up=True)

    def ask_placement(self, path: str) -> Any:
        """What the Placement of its own answers."""
        return httpx.get(f"{self.placement_url}{path}", headers=TOKEN, timeout=180.0, verify=False).json()

    def orders(self, host: FleetHost) -> Any:
        """What a host's agent is told."""
        token = (host.state / "agent.token").read_text()
        url, headers = f"{self.apis[0].told['url']}/agent/v1/orders?protocol={PROTOCOL}", {"Authorization": f"Bearer {token}"}
        return httpx.get(url, headers=headers, timeout=180.0, verify=False).json()

    @contextlib.contextmanager
    def replaying(self, host: FleetHost, orders: Any, *, of: str) -> Iterator[None]:
        """Let a host's agent hear old orders once more as if they were new, and none else until it has refused to start that guest.

        It asks for orders anew once there are some: the block sees to that.
        """
        told = json.dumps(orders | {"count": orders["count"] + 1_000_000}).encode()
        host.proxy.add(Fault(kind="replay", matches=lambda _, path: path.startswith("/agent/v1/orders"), times=1, content=told))
        host.proxy.add(Fault(kind="away", matches=lambda _, path: path.startswith("/agent/v1/orders")))
        refused = host.proxy.add(Fault(kind="pass", matches=lambda _, path: path == f"/agent/v1/guests/{of}/absence"))
        yield
        until(lambda: refused.answered, "the agent refuses the order")
        host.proxy.clear()

    @cached_property
    def _watch(self) -> Watch:
        return Watch(self.folder, self._judge_settings)

    def _judge_settings(self) -> dict[str, Any]:
        placement = {"url": self.placement_url}
        if self.placement is None:
            placement = {"url": f"{self.apis[0].told['url']}/placement", "user": ACCOUNT[0], "password": ACCOUNT[1]}
        return settings_of(self.database, placement, [(host.name, host.lab, host.state) for host in self.hosts])

    def watch(self) -> None:
        """The judge watches from now on, until the fleet ends."""
        self._watch.start(self.stack)

    def verdict(self) -> dict[str, Any]:
        """What the judge has found so far, one more sample included; a broken promise fails the test."""
        return self._watch.verdict()

    def await_rest(self, *, seconds: float = 240.0) -> None:
        """Wait until the judge finds the fleet at rest; fails with what it says otherwise."""
        self._watch.await_rest(seconds=seconds)

    def service_id(self, host: str) -> str:
        """The id of a host's compute service, by which it is disabled and enabled."""
        found: str = self.api.ask("GET", f"{COMPUTE}/os-services?host={host}")["services"][0]["id"]
        return found

    def running(self) -> dict[str, Any]:
        """Every running guest of every host, by id."""
        return {guest: domain for host in self.hosts for guest, domain in domains(host.lab).items()}


def by(clock: WallClock | None) -> dict[str, str]:
    """What a process needs in its environment to go by that clock; nothing for the machine's own."""
    return clock.environment if clock else {}


def write_accounts(folder: Path) -> None:
    """The accounts file, with a hash that is quick to check."""
    hashed = bcrypt.hashpw(ACCOUNT[1].encode(), bcrypt.gensalt(4)).decode()
    with os.fdopen(os.open(folder / "accounts", os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
        file.write(f"{ACCOUNT[0]}:admin:{hashed}\n")


def start_placement(folder: Path, database: str, stack: contextlib.ExitStack) -> str:
    """Start a Placement of its own, and wait until it answers; its address."""
    port = free_port()
    with open(os.devnull) as nothing, (folder / "placement.log").open("ab") as log:
        streams = (nothing.fileno(), log.fileno(), log.fileno())
        process = loaded.start("placement", (database, str(port)), loaded.importing(), streams)
    stack.callback(process.wait, 240)
    stack.callback(process.send_signal, signal.SIGKILL)

    def answers() -> bool:
        assert process.poll() is None, (folder / "placement.log").read_text()
        with socket.socket() as attempt:
            return attempt.connect_ex(("127.0.0.1", port)) == 0

    until(answers, "Placement answers")
    return f"http://127.0.0.1:{port}"


def sweep(lab: LabHost) -> None:
    """End every guest of a lab, whoever started it."""
    lab.start_daemon()
    for guest in domains(lab):
        virsh(lab, "destroy", guest)
    for guest in virsh(lab, "list", "--all", "--uuid").split():
        virsh(lab, "undefine", guest)
    until(lambda: not domains(lab), "no guest is left")

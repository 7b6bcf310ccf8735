"""A real agent, as root, at the mercy of a service that lies to it."""

from __future__ import annotations

import json
import subprocess
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.real.fleet.fleet_rig import sweep
from tests.real.fleet.rig import Process, configuration, defined, domains, ending
from tests.real.patience import until

from pinfold.agent.wire import GuestOrder, Hello, Welcome
from pinfold.core.fit.engine import fit
from pinfold.core.fit.model import Fit
from pinfold.core.ledger import HostState, Ledger
from pinfold.core.request.compile import compile_request
from pinfold.core.request.model import Flavor
from pinfold.lab.daemon import LabHost
from pinfold.store import codec
from pinfold.store.model import Desired


@dataclass
class Liar:
    """A service of three lines: what it orders and which image it gives is the test's; it keeps what it heard."""

    orders: dict[str, Any] = field(default_factory=lambda: {"count": 0})
    image: bytes = b""
    suffix: str = ".rom"
    hello: dict[str, Any] = field(default_factory=dict)
    heard: list[tuple[str, str, Any]] = field(default_factory=list)
    server: ThreadingHTTPServer = field(init=False)

    def __post_init__(self) -> None:
        liar = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                self.send(*liar.answer(self.command, self.path, body))

            def send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
                self.send_response(status)
                for key, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(key, value)
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_PUT = do_POST = do_DELETE = answer  # noqa: N815

            def log_message(self, *_: object) -> None:
                """Not to the test's output."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, bytes, dict[str, str]]:
        """The status, body and headers of one answer."""
        self.heard.append((method, path, json.loads(body) if body else None))
        if path == "/agent/v1/host" and method == "PUT":
            self.hello = json.loads(body)
        if path.startswith("/agent/v1/orders"):
            return 200, json.dumps(self.orders).encode(), {}
        if path.startswith("/agent/v1/images/"):
            return 200, self.image, {"X-Pinfold-Suffix": self.suffix}
        if "/guests/" in path:
            return 204, b"", {}
        welcome = Welcome(host=str(uuid.uuid4()), revision=1, report="", orders=self.orders["count"], lease_seconds=2.0)
        return 200, json.dumps(codec.to_plain(welcome, Welcome)).encode(), {}

    def order(self, *orders: dict[str, Any], tombstones: tuple[dict[str, Any], ...] = ()) -> None:
        """Give these orders from now on."""
        self.orders = {"count": self.orders["count"] + 1, "orders": list(orders), "tombstones": list(tombstones)}

    def wanted(self, image: str, **changes: Any) -> dict[str, Any]:
        """An order as a true service gives it, for the host that has said hello; with changes."""
        report = codec.from_plain(self.hello, Hello).report
        state = HostState(topology=report.topology, pools=report.pools, limits=report.limits, ledger=Ledger())
        request = compile_request(Flavor(vcpus=1, memory_mib=16, extra_specs=(("hw:cpu_policy", "dedicated"),)), disks=1)
        found = fit(request, state, report.strategy)
        assert isinstance(found, Fit)
        order = GuestOrder(
            guest=str(uuid.uuid4()),
            name="vm",
            claim=str(uuid.uuid4()),
            revision=3,
            desired=Desired.RUNNING,
            boot=1,
            flavor="f",
            request=request,
            fit=found,
            image=image,
        )
        return {**codec.to_plain(order, GuestOrder), **changes}

    def failure(self, guest: str) -> str:
        """Why the agent said first that a guest was not started; '' while it has not said it."""
        said = [body for _, path, body in self.heard if path == f"/agent/v1/guests/{guest}/absence"]
        return str(said[0]["failure"]) if said else ""


@dataclass
class Victim:
    """An agent and its liar."""

    liar: Liar
    agent: Process
    lab: LabHost
    state: Path


@pytest.fixture
def victim(fleet_lab: LabHost, lab_name: str, tmp_path: Path) -> Iterator[Victim]:
    """A real agent that has said hello to a liar."""
    for each in (tmp_path, tmp_path.parent):
        each.chmod(0o711)
    state = tmp_path / "state"
    state.mkdir(mode=0o711)
    token = state / "agent.token"
    token.touch(mode=0o600)
    token.write_text("anything")
    liar = Liar()
    threading.Thread(target=liar.server.serve_forever, daemon=True).start()
    config = tmp_path / "agent.conf"
    config.write_text(configuration(fleet_lab, state, host=f"{lab_name}-v", pinfold_agent=f"api_url = {liar.url}\nsweep_seconds = 1"))
    agent = Process(("agent", "--config", str(config)), tmp_path, "agent")
    with ending(agent):
        agent.start()
        until(lambda: liar.hello, "the agent says hello")
        yield Victim(liar=liar, agent=agent, lab=fleet_lab, state=state)
    liar.server.shutdown()
    liar.server.server_close()
    sweep(fleet_lab)


def test_an_order_with_a_path_for_an_id_deletes_nothing_and_holds_up_no_other_order(victim: Victim, probe_rom: Path) -> None:
    liar, precious = victim.liar, {}
    for path in (victim.state / "overlays/other.qcow2", victim.state / "other.qcow2", victim.state / "overlays/other.starting"):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"precious")
        precious[path] = path.stat().st_ino
    liar.image, ids = probe_rom.read_bytes(), ["../other", f"{victim.state}/other", "../../other", "..", "%2e%2e/other"]
    good = liar.wanted("probe")
    removals = [liar.wanted("", guest=guest, desired="absent") for guest in ids]
    damaged = liar.wanted("probe", fit={"vcpus": 2**62})
    liar.order(*removals, damaged, good, tombstones=tuple({"guest": guest, "revision": 9} for guest in ids))

    until(lambda: good["guest"] in domains(victim.lab), "the good order is carried out")
    until(lambda: "tombstone 5" in victim.agent.errors(), "the last one is refused")
    said = victim.agent.errors()
    for index in range(1, 7):
        assert f"order {index} " in said
    assert f"order 6 for guest {damaged['guest']} in the service's answer is refused: " in said
    liar.order({**good, "desired": "absent"})
    until(lambda: not defined(victim.lab), "the good order's guest is removed")
    assert {path: path.stat().st_ino for path in precious} == precious
    assert not [path for _, path, _ in liar.heard if "other" in path or ".." in path]
    assert victim.agent.end() == 0


@pytest.mark.parametrize(("suffix", "said"), [("/../../x", "the service named the suffix"), (".qcow2", "names another file")])
def test_an_image_that_reaches_for_other_files_is_not_booted(victim: Victim, tmp_path: Path, suffix: str, said: str) -> None:
    secret, image = tmp_path / "secret", tmp_path / "image.qcow2"
    secret.write_bytes(bytes(1 << 20))
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", str(secret), str(image)], check=True)
    victim.liar.image, victim.liar.suffix = image.read_bytes(), suffix
    order = victim.liar.wanted("borrowed")
    victim.liar.order(order)
    until(lambda: victim.liar.failure(order["guest"]), "the start fails")
    assert said in victim.liar.failure(order["guest"])
    assert list((victim.state / "fetched").iterdir()) == []

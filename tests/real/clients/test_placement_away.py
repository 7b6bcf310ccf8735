"""A Placement that runs elsewhere and is not always there: the real one, as a process of its own, under a real `pinfold api`."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.build.hosts import report
from tests.ports import free_port
from tests.real.patience import until
from tests.rig.client import COMPUTE
from tests.rig.fleet import ACCOUNT, write_accounts
from tests.rig.in_process import Agent
from tests.rig.processes import Process, Service, ending

from pinfold.api.image.catalog import image_id


@dataclass
class Elsewhere:
    """A Placement on a database and a port of its own, started and ended by the test."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [sys.executable, "-m", "tests.survive.placement", f"sqlite:///{self.folder}/placement.db", str(self.port)]
        with (self.folder / "placement.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)

    def end(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(240)
            self.process = None

    def ask(self, path: str) -> Any:
        """What it answers itself."""
        return httpx.get(
            f"{self.url}{path}", headers={"X-Auth-Token": "admin", "OpenStack-API-Version": "placement 1.39"}, timeout=180.0
        ).json()


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Elsewhere]:
    found = Elsewhere(folder=tmp_path, port=free_port())
    yield found
    found.end()


@pytest.fixture
def config(tmp_path: Path, elsewhere: Elsewhere) -> Path:
    write_accounts(tmp_path)
    (tmp_path / "images").mkdir()
    (tmp_path / "images/probe.rom").touch()
    path = tmp_path / "pinfold.conf"
    lines = f"[pinfold]\nstate_dir = {tmp_path}\n[pinfold_api]\nheal_seconds = 5\nclaim_seconds = 600\nlease_seconds = 3600\n"
    path.write_text(f"{lines}[pinfold_placement]\nendpoint_override = {elsewhere.url}\n")
    return path


def _health(api: Service) -> tuple[int, str]:
    answer = api.http.get("/healthz")
    return answer.status_code, answer.json().get("error", {}).get("message", "")


def _consumers(elsewhere: Elsewhere, host: str) -> set[str]:
    return set(elsewhere.ask(f"/resource_providers/{host}/allocations")["allocations"])


def test_the_service_starts_without_placement_says_so_and_catches_up(elsewhere: Elsewhere, config: Path) -> None:
    process = Process(("api", "--port", "0", "--config", str(config)), config.parent, "api")
    with ending(process):
        process.start()
        api = Service(url=process.told["url"], account=ACCOUNT)
        status, sentence = _health(api)
        assert status == 503
        assert re.fullmatch(
            rf"placement: away since \d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\dZ: Placement at {elsewhere.url} does not answer GET / \(.*refused\)",
            sentence,
        )
        since = sentence.split()[3]
        flavor = api.flavor("pin", vcpus=2, hw_cpu_policy="dedicated")
        assert api.servers() == []
        added = api.ask("POST", "/v1/hosts", {"name": "c1"}, status=201)
        agent = Agent(http=api.http, id=added["host"]["id"], name="c1", token=added["token"], reported=report(cells=1, cores=4))
        until(lambda: agent.hello().is_success, "the agent is heard")

        refused = api.ask("POST", f"{COMPUTE}/servers", _server("early", flavor), status=202)["server"]["id"]
        shown = api.show(refused)
        assert shown["status"] == "ERROR"
        assert shown["fault"]["message"].startswith(
            f"The guest could not be placed: Placement at {elsewhere.url} does not answer PUT /alloc"
        )
        assert _health(api)[1].split()[3] == since
        api.delete(refused)

        elsewhere.start()
        until(lambda: _health(api)[0] == 200, "Placement is back")
        until(lambda: "inventories" in elsewhere.ask(f"/resource_providers/{agent.id}/inventories"), "the provider is there")
        until(lambda: elsewhere.ask(f"/resource_providers/{agent.id}/inventories")["inventories"].get("PCPU"), "and its inventory")
        assert _consumers(elsewhere, agent.id) == set()
        kept = api.ask("POST", f"{COMPUTE}/servers", _server("kept", flavor), status=202)["server"]["id"]
        agent.obey()
        assert api.show(kept)["status"] == "ACTIVE"

        elsewhere.end()
        late = api.ask("POST", f"{COMPUTE}/servers", _server("late", flavor), status=202)["server"]["id"]
        assert api.show(late)["status"] == "ERROR"
        assert _health(api)[0] == 503
        api.delete(kept, wait=False)
        agent.obey()
        cores = [core for cell in api.ask("GET", "/v1/hosts/c1/map")["cells"] for core in cell["cores"]]
        assert [owner for core in cores for pcpu in core["pcpus"] for owner in pcpu["owners"]] == []
        elsewhere.start()
        until(lambda: _health(api)[0] == 200, "Placement is back")
        until(lambda: _consumers(elsewhere, agent.id) == set(), "nothing is allocated any more")
        until(lambda: api.http.get(f"{COMPUTE}/servers/{kept}").status_code == 404, "the deleted server is gone")


def _server(name: str, flavor: str) -> dict[str, Any]:
    return {"server": {"name": name, "flavorRef": flavor, "imageRef": image_id("probe"), "networks": "none"}}


def test_the_clients_find_a_remote_placement_by_what_pinfold_prints(elsewhere: Elsewhere, config: Path, tmp_path: Path) -> None:
    elsewhere.start()
    (tmp_path / "password").write_text(ACCOUNT[1])
    process = Process(("api", "--port", "0", "--config", str(config)), config.parent, "api")
    with ending(process):
        process.start()
        command = [
            sys.executable,
            "-m",
            "pinfold.wiring.command",
            "config",
            "clouds",
            "--url",
            process.told["url"],
            "--username",
            ACCOUNT[0],
        ]
        command += ["--password-file", str(tmp_path / "password"), "--config", str(config)]
        (tmp_path / "clouds.yaml").write_text(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        api = Service(url=process.told["url"], account=ACCOUNT)
        added = api.ask("POST", "/v1/hosts", {"name": "c1"}, status=201)
        agent = Agent(http=api.http, id=added["host"]["id"], name="c1", token=added["token"], reported=report(cells=1, cores=4))
        until(lambda: _health(api)[0] == 200, "Placement is there")
        assert agent.hello().is_success
        listed = _openstack(tmp_path, "pinfold-placement", "resource", "provider", "list")
        assert [(row["uuid"], row["name"]) for row in listed] == [(agent.id, "c1")]
        assert [row["Hypervisor Hostname"] for row in _openstack(tmp_path, "pinfold", "hypervisor", "list")] == ["c1"]


def _openstack(folder: Path, cloud: str, *words: str) -> Any:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("OS_")}
    environment = kept | {"OS_CLIENT_CONFIG_FILE": str(folder / "clouds.yaml"), "OS_CLOUD": cloud, "HOME": str(folder)}
    program = str(Path(sys.executable).with_name("openstack"))
    done = subprocess.run([program, *words, "-f", "json"], env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)

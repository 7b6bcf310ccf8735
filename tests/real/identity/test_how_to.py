"""docs/how-to/keystone.md, typed to the letter but for the addresses: a real Keystone, a real `pinfold api`, the real client."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from msgspec.structs import replace
from tests.build.hosts import report
from tests.ports import free_port
from tests.real.clients.conftest import Obedience
from tests.rig.in_process import Agent
from tests.rig.keystone import Keystone, running_keystone
from tests.rig.processes import Process

from pinfold.agent.wire import PROTOCOL
from pinfold.store.records import PROTOCOL_FACT

pytestmark = [pytest.mark.slow, pytest.mark.installs, pytest.mark.real_clients, pytest.mark.timeout(900)]
PAGE = (Path(__file__).parents[3] / "docs/how-to/keystone.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```bash\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@dataclass
class Reader:
    """Somebody who types what the page shows, in a folder, with the service at another address."""

    folder: Path
    keystone: Keystone
    url: str

    def type(self, block: str, user: str, project: str, *, status: int = 0) -> str:
        """A block in a shell, with the credentials of a user; what it printed."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("OS_", "PINFOLD"))}
        kept |= {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HOME": str(self.folder), "COLUMNS": "200"}
        typed = block.replace("https://pinfold.example:8774", self.url)
        command = ["sh", "-e", "-c", typed]
        variables = self.keystone.variables(user, project)
        done = subprocess.run(command, env=kept | variables, cwd=self.folder, capture_output=True, text=True, timeout=600, check=False)
        assert done.returncode == status, f"{typed}\n{done.stdout}\n{done.stderr}"
        return done.stdout if status == 0 else done.stderr


def block(beginning: str) -> str:
    """The block of the page that begins so."""
    (found,) = [one for one in BLOCKS if one.startswith(beginning)]
    return found


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    folder = tmp_path_factory.mktemp("reader")
    with running_keystone(tmp_path_factory.mktemp("keystone")) as keystone:
        keystone.project("demo")
        keystone.user("mia", demo="member")
        keystone.user("rob", demo="reader")
        yield Reader(folder=folder, keystone=keystone, url=f"http://127.0.0.1:{free_port()}")


@pytest.fixture(scope="module")
def api(reader: Reader) -> Iterator[Process]:
    """The API as the page configures it."""
    port = reader.url.rpartition(":")[2]
    (reader.folder / "images").mkdir()
    (reader.folder / "images/probe.rom").write_bytes(b"\x00" * 64)
    own = f"[pinfold]\nstate_dir = {reader.folder}/state\nimages_dir = {reader.folder}/images\n"
    own += "[pinfold_api]\nlease_seconds = 3600\n"  # the agent that the test plays sends no heartbeats
    (reader.folder / "pinfold.conf").write_text(own)
    (reader.folder / "pinfold.conf").chmod(0o600)
    shown = reader.type(BLOCKS[0], "admin", "admin")
    assert f"openstack endpoint create --region RegionOne pinfold-compute public {reader.url}/compute/v2.1\n" in shown
    assert "everything is registered" not in shown
    reader.type(BLOCKS[1], "admin", "admin")
    assert stat.S_IMODE((reader.folder / "authtoken.conf").stat().st_mode) == 0o600
    assert "# everything is registered\n" in reader.type(BLOCKS[0], "admin", "admin")
    reader.type(block("cat authtoken.conf"), "admin", "admin")
    words = block("pinfold api").split()
    made = Process(arguments=(*words[1:3], str(reader.folder / words[3]), "--port", port), folder=reader.folder, name="api").start()
    yield made
    made.end()


@pytest.fixture(scope="module")
def host(reader: Reader, api: Process) -> Iterator[str]:
    """A host whose agent obeys at once, and a flavor; made with an admin's token."""
    token = {"X-Auth-Token": reader.keystone.token("admin", "admin")}
    with httpx.Client(base_url=reader.url, headers=token, timeout=180) as http:
        made = http.post("/v1/hosts", json={"name": "c1"})
        assert made.status_code == 201, made.text
        facts = ((PROTOCOL_FACT, str(PROTOCOL)),)
        known = made.json()
        agent = Agent(
            http=http, id=known["host"]["id"], name="c1", token=known["token"], reported=replace(report(cells=2, cores=4), facts=facts)
        )
        assert agent.hello().status_code == 200
        obedience = Obedience(agent)
        obedience.start()
        reader.type("openstack flavor create --vcpus 1 --ram 64 --disk 0 tiny", "admin", "admin")
        yield "c1"
        obedience.stop()  # the thread ends with the API, if that has ended before


def test_a_member_works_with_an_account_of_the_cloud(reader: Reader, host: str) -> None:
    assert reader.type("openstack server list -f json", "mia", "demo") == "[]\n"
    reader.type("openstack server create --flavor tiny --image probe --no-network --wait web", "mia", "demo")
    member = block("openstack server list\nopenstack flavor list")
    printed = reader.type(member, "mia", "demo")
    assert " web " in printed and " tiny " in printed and " total_instances_used " in printed and " instances " in printed
    assert " web " in reader.type("openstack server list", "rob", "demo")
    assert "The account rob may read only." in reader.type("openstack server delete web", "rob", "demo", status=1)
    refused = reader.type("openstack server list --all-projects", "mia", "demo", status=1)
    assert "Policy doesn't allow os_compute_api:servers:detail:get_all_tenants to be performed: it needs the role admin." in refused
    assert reader.type(block("openstack server list --all-projects"), "admin", "admin").count(" web ") == 2


def test_an_admin_limits_a_project(reader: Reader, host: str) -> None:
    lines = block("openstack quota set").splitlines()
    shown = reader.type("\n".join((lines[0], f"{lines[1]} -f json")), "admin", "admin")
    limits = {row["Resource"]: row["Limit"] for row in json.loads(shown)}
    assert (limits["instances"], limits["cores"], limits["ram"]) == (10, 40, 65536)
    reader.type("openstack quota set --instances 1 demo", "admin", "admin")
    create = "openstack server create --flavor tiny --image probe --no-network more"
    assert "Quota exceeded for instances" in reader.type(create, "mia", "demo", status=1)
    demo = reader.keystone.id_of("projects", "demo")
    token = {"X-Auth-Token": reader.keystone.token("admin", "admin")}
    (body,) = re.findall(r"`PUT /v1/projects/ID/quota` with `(.*?)`", PAGE)
    answer = httpx.put(f"{reader.url}/v1/projects/{demo}/quota", json=json.loads(body), headers=token, timeout=60)
    assert (answer.status_code, _pcpus(answer.json())) == (200, 16)
    reader.type(lines[2], "admin", "admin")
    reader.type(create.replace("more", "--wait more"), "mia", "demo")


def test_the_cache_of_tokens_and_keystone_away_are_as_the_page_says(reader: Reader, api: Process, host: str) -> None:
    servers = f"{reader.url}/compute/v2.1/servers"
    token = reader.keystone.token("mia", "demo")
    assert httpx.get(servers, headers={"X-Auth-Token": token}, timeout=60).status_code == 200
    reader.keystone.revoke(token)
    assert httpx.get(servers, headers={"X-Auth-Token": token}, timeout=60).status_code == 200
    (line,) = re.findall(r"^```ini\n(token_cache_time = \d+)\n```$", PAGE, re.MULTILINE)
    file = reader.folder / "pinfold.conf"
    text = file.read_text()
    api.end()
    file.write_text(text.replace("[keystone_authtoken]\n", "[keystone_authtoken]\ntoken_cache_time = -1\n"))
    api.start()
    assert httpx.get(servers, headers={"X-Auth-Token": token}, timeout=60).status_code == 401
    fresh = reader.keystone.token("mia", "demo")
    assert httpx.get(servers, headers={"X-Auth-Token": fresh}, timeout=60).status_code == 200
    reader.keystone.revoke(fresh)
    assert httpx.get(servers, headers={"X-Auth-Token": fresh}, timeout=60).status_code == 401
    assert line == "token_cache_time = 30"
    away = reader.keystone.token("mia", "demo")
    reader.keystone.process.kill()
    reader.keystone.process.wait()
    answer = httpx.get(servers, headers={"X-Auth-Token": away}, timeout=120)
    assert (answer.status_code, "cannot check tokens now; try again in a few seconds" in answer.text) == (503, True)


def _pcpus(quota: Any) -> int:
    return int(quota["limits"]["pcpus"])

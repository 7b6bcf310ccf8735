"""Running servers are re-pinned through the service, as the page says it. The lab's records are the witness."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.real.fleet.conftest import make_fleet
from tests.real.patience import until
from tests.rig import loaded
from tests.rig.client import SHARE
from tests.rig.fleet import ACCOUNT, Fleet, FleetHost
from tests.rig.processes import Domain, domains, virsh

from pinfold.core.cpuset import CpuSet
from pinfold.lab.witness import LabWitness

_DOMAIN = """
<domain type='qemu'>
  <name>stranger</name><memory unit='MiB'>8</memory><vcpu>1</vcpu>
  <cputune><vcpupin vcpu='0' cpuset='{pcpu}'/></cputune><os><type>hvm</type></os>
</domain>
"""
_PAGE = (Path(__file__).parents[3] / "docs/how-to/repin-guests.md").read_text(encoding="utf-8")
_SECTION = _PAGE.partition("## A host of a service")[2]
(_ENDING,) = re.findall(r"the command ends with\n\n```\n(.*?)\n```", _SECTION)


def _commands(host: FleetHost) -> list[list[str]]:
    """The commands of the page, for that host and the flavor of these tests."""
    (block,) = re.findall(r"^```console\n(.*?)^```$", _SECTION, re.MULTILINE | re.DOTALL)
    return [line.replace("c01", host.name).replace("large", "share").split()[1:] for line in block.splitlines()]


@pytest.fixture(scope="module")
def fleet(lab_name: str, lab_possible: None, tmp_path_factory: pytest.TempPathFactory, probe_rom: Path) -> Iterator[Fleet]:
    """One API process on SQLite, and one lab host with its agent."""
    folder = tmp_path_factory.mktemp("repin")
    with make_fleet(folder, lab_name, probe_rom, hosts=1, apart=False, apis=1, sqlite=True) as made:
        auth = {"username": ACCOUNT[0], "password": ACCOUNT[1], "endpoint": f"{made.apis[0].told['url']}/compute/v2.1"}
        (folder / "clouds.yaml").write_text(json.dumps({"clouds": {"pinfold": {"auth_type": "http_basic", "auth": auth}}}))
        made.api.flavor("share", vcpus=1, **SHARE)
        yield made


@pytest.fixture
def host(fleet: Fleet) -> Iterator[FleetHost]:
    """The host, with the pools of its file and no server before and after."""
    (found,) = fleet.hosts
    yield found
    fleet.api.delete_others()
    fleet.api.http.delete(f"/v1/hosts/{found.name}/pools")
    until(lambda: fleet.api.http.get(f"/v1/hosts/{found.name}/pools").json()["used"]["dedicated"] == "2-15,18-31", "its own pools")


def typed(fleet: Fleet, *arguments: str, status: int = 0) -> str:
    """What a pinfold command prints to an administrator of the service."""
    client = {"OS_CLIENT_CONFIG_FILE": str(fleet.folder / "clouds.yaml"), "OS_CLOUD": "pinfold", "COLUMNS": "160"}
    done = loaded.run("pinfold", [*arguments, "--config", str(fleet.folder / f"{fleet.hosts[0].name}.conf")], loaded.importing() | client)
    assert done.returncode == status, (done.returncode, done.stdout, done.stderr)
    return done.stdout


def servers(fleet: Fleet, number: int) -> dict[str, Domain]:
    """So many running servers, and their domains."""
    made = [fleet.api.create(f"vm{one}", "share") for one in range(number)]
    for server in made:
        fleet.api.await_status(server, "ACTIVE")
    found = domains(fleet.hosts[0].lab)
    return {server: found[server] for server in sorted(made)}


def asked(fleet: Fleet, domain: Domain) -> str:
    """Where the domain's only vCPU may run, by the lab's records."""
    return str(LabWitness(fleet.hosts[0].lab.folder.records).allowed(domain.vcpus[0]))


def fit(fleet: Fleet, server: str) -> dict[str, Any]:
    found: dict[str, Any] = fleet.api.placement(server)["claim"]["fit"]
    return found


def pcpu_of(fleet: Fleet, server: str) -> str:
    """The pCPU of the server's only vCPU, by its claim."""
    return str(fit(fleet, server)["cells"][0]["pins"][0][1])


def retired(fleet: Fleet, host: FleetHost, pcpus: set[str]) -> None:
    """An administrator takes these pCPUs out of the dedicated pool."""
    left = CpuSet.parse("2-15,18-31") - CpuSet(map(int, pcpus))
    typed(fleet, "host", "order-pools", host.name, "--shared", "0-1,16-17", "--dedicated", str(left))
    until(lambda: fleet.api.http.get(f"/v1/hosts/{host.name}/pools").json()["used"]["dedicated"] == str(left), "its agent uses them")


def test_an_administrator_frees_the_retiring_pcpus_of_a_host(fleet: Fleet, host: FleetHost) -> None:
    made = servers(fleet, 2)
    before = {server: pcpu_of(fleet, server) for server in made}
    retired(fleet, host, set(before.values()))
    look, choose, carry_out = _commands(host)
    shown = typed(fleet, *choose)
    assert typed(fleet, *look).count("vCPU 0") == 2
    said = re.search(r"^2 guests to move; `pinfold (.*) --apply` moves them, without a restart$", shown, re.MULTILINE)
    assert said is not None, shown
    assert said[1].split()[: len(choose)] == choose, "the typed options are in the command that carries it out"
    assert f"retiring pCPUs {CpuSet(map(int, before.values()))} become free of guests" in shown
    assert {server: asked(fleet, domain) for server, domain in made.items()} == before, "a plan moves nothing"

    assert _ENDING in typed(fleet, *carry_out)
    after = {server: pcpu_of(fleet, server) for server in made}
    assert set(after.values()).isdisjoint(before.values())
    assert {server: asked(fleet, domain) for server, domain in made.items()} == after
    assert all(domain.alive for domain in made.values()) and domains(host.lab).keys() == made.keys()
    for server in made:
        until(lambda server=server: fleet.api.placement(server)["observed"]["drift"] == [], "the agent sees no drift")  # type: ignore[misc]
        assert fleet.api.show(server)["status"] == "ACTIVE"
    assert "no move helps: no guest holds a retiring pCPU" in typed(fleet, "host", "repin", "--apply"), "on the host itself, too"
    assert [fleet.api.allocations(host.name)[server]["PCPU"] for server in made] == [1, 1]


def test_all_servers_are_where_they_were_if_one_cannot_be_moved(fleet: Fleet, host: FleetHost) -> None:
    made = servers(fleet, 2)
    before = {server: pcpu_of(fleet, server) for server in made}
    retired(fleet, host, set(before.values()))
    plan = json.loads(typed(fleet, "host", "repin", host.name, "--json"))
    target = plan["steps"][-1]["moves"][0]["to"]
    host.agent.send(signal.SIGSTOP)  # somebody takes the pCPU, and the service does not know it yet
    try:
        answer = fleet.api.http.post(f"/v1/hosts/{host.name}/repin", json={"revision": plan["revision"]})
        assert answer.status_code == 202, answer.text
        stranger = fleet.folder / "stranger.xml"
        stranger.write_text(_DOMAIN.format(pcpu=target))
        virsh(host.lab, "define", str(stranger))
    finally:
        host.agent.send(signal.SIGCONT)
    try:
        url = f"/v1/hosts/{host.name}/repin"
        until(lambda: fleet.api.http.get(url).json()["last"]["phase"] == "undone", "all are where they were")
        last = fleet.api.http.get(url).json()["last"]
        assert re.fullmatch(rf"guest vm\d was not moved: pCPU {target} has more than one owner: .*stranger.*", last["failure"])
        assert {server: pcpu_of(fleet, server) for server in made} == before
        assert {server: asked(fleet, domain) for server, domain in made.items()} == before
        assert all(domain.alive for domain in made.values())
        for server in made:
            until(lambda server=server: fleet.api.placement(server)["observed"]["drift"] == [], "no drift is left")  # type: ignore[misc]
        until(lambda: fleet.api.http.get(url).json()["steps"] != [], "the host is known again")
        assert _ENDING in typed(fleet, "host", "repin", host.name, "--apply"), "around the stranger"
        assert target not in {asked(fleet, domain) for domain in made.values()}
    finally:
        virsh(host.lab, "undefine", "stranger")

"""A domain that virsh made is adopted by a service and given back, by the commands of the page. The lab's records are the witness."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator

import pytest
from tests.real.fleet.conftest import make_fleet
from tests.real.fleet.test_repin import typed
from tests.real.patience import until
from tests.rig.client import SHARE
from tests.rig.fleet import ACCOUNT, Fleet, FleetHost
from tests.rig.processes import Domain, domains, virsh

from pinfold.lab.witness import LabWitness

_ID = "0a0a0a0a-0000-4000-8000-000000000001"
_DOMAIN = f"""
<domain type='{{kind}}'>
  <name>vm</name><uuid>{_ID}</uuid><memory unit='MiB'>8</memory><vcpu>1</vcpu>
  <cputune><vcpupin vcpu='0' cpuset='3'/></cputune><numatune><memory mode='strict' nodeset='0'/></numatune>
  <os><type>hvm</type></os>
</domain>
"""
URL = f"/v1/servers/{_ID}/placement"


@pytest.fixture(scope="module")
def fleet(lab_name: str, lab_possible: None, tmp_path_factory: pytest.TempPathFactory, probe_rom: object) -> Iterator[Fleet]:
    """One API process on SQLite, and one lab host with its agent."""
    folder = tmp_path_factory.mktemp("adopt")
    with make_fleet(folder, lab_name, probe_rom, hosts=1, apart=False, apis=1, sqlite=True) as made:  # type: ignore[arg-type]
        auth = {"username": ACCOUNT[0], "password": ACCOUNT[1], "endpoint": f"{made.apis[0].told['url']}/compute/v2.1"}
        (folder / "clouds.yaml").write_text(json.dumps({"clouds": {"pinfold": {"auth_type": "http_basic", "auth": auth}}}))
        made.api.flavor("share", vcpus=1, **SHARE)
        yield made


@pytest.fixture
def vm(fleet: Fleet) -> Iterator[Domain]:
    """A running domain of virsh's on the only host, whose vCPU has pCPU 3."""
    (host,) = fleet.hosts
    definition = fleet.folder / "vm.xml"
    definition.write_text(_DOMAIN.format(kind="kvm" if host.lab.kvm else "qemu"))
    virsh(host.lab, "define", str(definition))
    virsh(host.lab, "start", "vm")
    yield domains(host.lab)[_ID]
    fleet.api.delete_others()
    if _ID in domains(host.lab):
        virsh(host.lab, "destroy", "vm")
        virsh(host.lab, "undefine", "vm")


def asked(host: FleetHost, tid: int) -> str:
    """Where a thread may run, by the lab's records."""
    return str(LabWitness(host.lab.folder.records).allowed(tid))


def foreign(fleet: Fleet) -> bool:
    """Whether the service counts pCPU 3 as a stranger's."""
    shown = fleet.api.http.get(f"/v1/hosts/{fleet.hosts[0].name}/map").json()
    return any(pcpu["pcpu"] == 3 and pcpu["role"] == "foreign" for pcpu in _pcpus(shown))


def _pcpus(shown: object) -> Iterator[dict[str, object]]:
    if isinstance(shown, dict):
        if "pcpu" in shown and "role" in shown:
            yield shown
        for one in shown.values():
            yield from _pcpus(one)
    elif isinstance(shown, list):
        for one in shown:
            yield from _pcpus(one)


def test_an_administrator_adopts_a_running_guest_and_gives_it_back(fleet: Fleet, vm: Domain) -> None:
    (host,) = fleet.hosts
    shown = typed(fleet, "guest", "adopt", "vm")
    assert "vm: vCPUs on 3, emulator threads on the overhead pool" in shown
    assert re.search(r"`pinfold guest adopt vm --config \S+ --apply` adopts it, without a restart", shown), shown
    assert fleet.api.servers() == [], "a plan changes nothing"

    assert "✓ guest vm is adopted" in typed(fleet, "guest", "adopt", "vm", "--apply")
    assert domains(host.lab)[_ID] == vm and vm.alive, "it has not been restarted"
    assert (asked(host, vm.vcpus[0]), asked(host, vm.pid)) == ("3", "0-1,16-17")
    fleet.api.await_status(_ID, "ACTIVE")
    until(lambda: (fleet.api.placement(_ID)["observed"] or {}).get("drift") == [], "the agent sees no drift")
    assert fleet.api.allocations(host.name)[_ID]["PCPU"] == 1
    typed(fleet, "guest", "adopt", "vm", status=2)  # it has a record already
    assert "flavors, from the service;" in typed(fleet, "advise", "--service", "--assume", "guests=4", "--assume", "cpu-per-guest=0.1")

    fleet.api.act(_ID, "os-stop", None)
    fleet.api.await_status(_ID, "SHUTOFF")
    fleet.api.act(_ID, "os-start", None)
    fleet.api.await_status(_ID, "ACTIVE")
    again = domains(host.lab)[_ID]
    assert again.pid != vm.pid and (asked(host, again.vcpus[0]), asked(host, again.pid)) == ("3", "0-1,16-17")

    assert "guest vm is released: it runs on where it is pinned" in typed(fleet, "guest", "release", "vm")
    assert domains(host.lab)[_ID] == again and again.alive
    assert "urn:pinfold" not in virsh(host.lab, "dumpxml", "vm") + virsh(host.lab, "dumpxml", "--inactive", "vm")
    assert fleet.api.allocations(host.name) == {} and fleet.api.servers() == []
    until(lambda: foreign(fleet), "it counts as a stranger again")
    other = fleet.api.create("other", "share")
    fleet.api.await_status(other, "ACTIVE")
    assert asked(host, domains(host.lab)[other].vcpus[0]) != "3"
    assert "✓ guest vm is adopted" in typed(fleet, "guest", "adopt", "vm", "--apply")
    fleet.api.delete(_ID)
    assert _ID not in domains(host.lab), "a server that its user deletes ends, adopted or not"


def test_an_agent_that_is_killed_takes_the_guest_over_when_it_is_back(fleet: Fleet, vm: Domain) -> None:
    (host,) = fleet.hosts
    plan = json.loads(typed(fleet, "guest", "adopt", "vm", "--json"))["record"]
    body = {"guest": _ID, "name": "vm", "fit": plan["fit"], "request": plan["request"]}
    fleet.restart_agent(host, fault="agent.start")
    assert fleet.api.http.post(f"/v1/hosts/{host.name}/adoptions", json=body).status_code == 202
    host.agent.await_hit("agent.start", times=host.agent.hits("agent.start") or 1)
    host.agent.wait()
    host.agent.start(fault="agent.started", wait=False)
    host.agent.wait()
    assert asked(host, vm.vcpus[0]) == "3" and vm.alive
    host.agent.start()
    fleet.api.await_status(_ID, "ACTIVE")
    assert domains(host.lab)[_ID] == vm and asked(host, vm.pid) == "0-1,16-17"
    typed(fleet, "guest", "release", "vm")


def test_what_has_changed_since_the_plan_is_not_adopted(fleet: Fleet, vm: Domain) -> None:
    """Somebody pins the guest elsewhere before its agent takes it over."""
    (host,) = fleet.hosts
    plan = json.loads(typed(fleet, "guest", "adopt", "vm", "--json"))["record"]
    body = {"guest": _ID, "name": "vm", "fit": plan["fit"], "request": plan["request"]}
    host.agent.send(signal.SIGSTOP)
    try:
        assert fleet.api.http.post(f"/v1/hosts/{host.name}/adoptions", json=body).status_code == 202
        virsh(host.lab, "vcpupin", "vm", "0", "5", "--live", "--config")
    finally:
        host.agent.send(signal.SIGCONT)
    server = fleet.api.await_status(_ID, "ERROR")
    assert server["fault"]["message"] == (
        "The guest was not adopted: guest vm has other pins, or its host other pools, than when the plan was made; look at it anew"
    )
    assert fleet.api.allocations(host.name) == {} and vm.alive and asked(host, vm.vcpus[0]) == "5"
    assert "✓ guest vm is adopted" in typed(fleet, "guest", "adopt", "vm", "--apply")
    typed(fleet, "guest", "release", "vm")

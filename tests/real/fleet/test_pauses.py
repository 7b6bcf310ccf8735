"""Servers that are paused in memory and on disk, on real guests: what the guest's own ticks, its process, libvirt and the audit say."""

from __future__ import annotations

from typing import Any

import pytest
from tests.real.fleet.conftest import UpRig
from tests.real.fleet.test_disks_and_stops import STRANGER
from tests.real.patience import until
from tests.rig.client import server_body
from tests.rig.fits import vcpu_cpus
from tests.rig.processes import domains, virsh

from pinfold.api.image.catalog import image_id
from pinfold.lab import rom

STATES = ("status", "OS-EXT-STS:vm_state", "OS-EXT-STS:task_state", "OS-EXT-STS:power_state")


def states(up: UpRig, server: str) -> tuple[Any, ...]:
    shown = up.api.show(server)
    return tuple(shown[key] for key in STATES)


def serial(up: UpRig, server: str) -> str:
    """What the guest said since it was made."""
    path = up.state / "serial" / f"{server}.log"
    return path.read_text(errors="replace") if path.exists() else ""


def ticks(up: UpRig, server: str) -> int:
    return serial(up, server).count("T 0 0")


def ticking(up: UpRig, name: str) -> str:
    """A server with one pinned vCPU that says `T 0 0` about every second."""
    image = up.state / "images" / "ticker.rom"
    if not image.exists():
        rom.write(image, rom.Parameters(behaviour=rom.Behaviour.TICK, io_period_us=4000))
    flavor = up.api.flavor(f"{name}.flavor", vcpus=1, hw_cpu_policy="dedicated")
    body = {"server": server_body(name, flavor, imageRef=image_id("ticker"))}
    server = str(up.api.ask("POST", "/compute/v2.1/servers", body, status=202)["server"]["id"])
    up.api.await_status(server, "ACTIVE")
    until(lambda: ticks(up, server) > 0, "it ticks")
    return server


def findings(up: UpRig) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = up.api.ask("GET", f"/v1/hosts/{up.host}/drift")["findings"]
    return [one for one in found if one["severity"] == "drift"]


def sees_again(up: UpRig) -> None:
    """Wait until the agent has begun anew, and has audited the host since."""
    up.restart()
    until(lambda: up.api.ask("GET", f"/v1/hosts/{up.host}/drift")["reported"] is not None, "an audit is reported")


def test_a_paused_server_keeps_its_process_over_a_restart_of_its_agent_and_goes_on(up: UpRig) -> None:
    server = ticking(up, "paused")
    pid = domains(up.lab)[server].pid
    up.api.act(server, "pause")
    up.api.await_status(server, "PAUSED")
    assert states(up, server) == ("PAUSED", "paused", None, 3)
    assert virsh(up.lab, "domstate", server).strip() == "paused"
    said = ticks(up, server)
    sees_again(up)
    assert states(up, server) == ("PAUSED", "paused", None, 3)
    assert (ticks(up, server), domains(up.lab)[server].pid, findings(up)) == (said, pid, [])
    virsh(up.lab, "resume", server)  # somebody on the host lets it run; the agent pauses it again
    until(lambda: virsh(up.lab, "domstate", server).strip() == "paused", "it is paused again")
    up.api.act(server, "unpause")
    up.api.await_status(server, "ACTIVE")
    now = ticks(up, server)
    until(lambda: ticks(up, server) > now, "it ticks on")
    assert domains(up.lab)[server].pid == pid


def test_a_suspended_server_has_no_process_and_goes_on_from_its_memory_in_its_place(up: UpRig) -> None:
    server = ticking(up, "suspended")
    placed = vcpu_cpus(up.api.placement(server)["claim"]["fit"])
    up.api.act(server, "suspend")
    up.api.await_status(server, "SUSPENDED")
    assert states(up, server) == ("SUSPENDED", "suspended", None, 4)
    assert server not in domains(up.lab)
    assert up.api.allocations(up.host)[server]["PCPU"] == 1
    sees_again(up)
    assert (states(up, server), findings(up)) == (("SUSPENDED", "suspended", None, 4), [])
    before = ticks(up, server)
    up.api.act(server, "resume")
    up.api.await_status(server, "ACTIVE")
    until(lambda: ticks(up, server) > before, "it ticks on")
    assert serial(up, server).count("PROBE-UP") == 1
    assert vcpu_cpus(up.api.placement(server)["claim"]["fit"]) == placed
    until(lambda: not findings(up), "nothing has drifted")


def test_a_hard_reboot_forgets_the_memory_of_a_suspended_server_and_a_delete_its_file(up: UpRig) -> None:
    server = ticking(up, "rebooted")
    up.api.act(server, "suspend")
    up.api.await_status(server, "SUSPENDED")
    up.api.act(server, "reboot", {"type": "HARD"})
    up.api.await_status(server, "ACTIVE")
    until(lambda: serial(up, server).count("PROBE-UP") == 2, "it boots")
    up.api.act(server, "suspend")
    up.api.await_status(server, "SUSPENDED")
    saved = list(up.lab.folder.path.rglob("*.save"))
    assert len(saved) == 1
    up.api.delete(server)
    assert not saved[0].exists()


def test_a_resume_in_whose_middle_the_agent_dies_goes_on_from_the_saved_memory(up: UpRig) -> None:
    server = ticking(up, "resumed")
    up.api.act(server, "suspend")
    up.api.await_status(server, "SUSPENDED")
    up.restart(fault="start.verified")
    before = ticks(up, server)
    up.api.act(server, "resume")
    up.process.await_hit("start.verified")
    assert virsh(up.lab, "domstate", server).strip() == "paused"
    assert list(up.lab.folder.path.rglob("*.save")) == [], "its memory is nowhere else"
    pid = domains(up.lab)[server].pid
    up.start()
    up.api.await_status(server, "ACTIVE")
    until(lambda: ticks(up, server) > before, "it ticks on")
    assert (domains(up.lab)[server].pid, serial(up, server).count("PROBE-UP")) == (pid, 1)


@pytest.mark.unwatched  # somebody else takes its pCPU
@pytest.mark.parametrize(("rest", "resting", "goes_on"), [("pause", "PAUSED", "unpause"), ("suspend", "SUSPENDED", "resume")])
def test_a_server_whose_place_somebody_took_keeps_its_memory_and_goes_on_when_that_one_has_left(
    up: UpRig, rest: str, resting: str, goes_on: str
) -> None:
    server = ticking(up, f"contested-{rest}")
    (cpu,) = vcpu_cpus(up.api.placement(server)["claim"]["fit"])
    up.api.act(server, rest)
    up.api.await_status(server, resting)
    stranger = up.process.folder / "stranger.xml"
    stranger.write_text(STRANGER.format(cpus=cpu, rom=up.state / "images/ticker.rom"))
    virsh(up.lab, "create", str(stranger))
    before = ticks(up, server)
    up.api.act(server, goes_on)
    fault = up.api.await_status(server, "ERROR")["fault"]["message"]
    assert "stranger" in fault, fault
    virsh(up.lab, "destroy", "stranger")
    if rest == "pause":  # a suspended one has no process yet, and waits for a start
        assert virsh(up.lab, "domstate", server).strip() == "paused" and "it stays paused with its memory" in fault
    else:
        up.api.act(server, "os-start")
    until(lambda: states(up, server) == ("ACTIVE", "active", None, 1), "it is active")
    until(lambda: ticks(up, server) > before, "it ticks on")
    assert serial(up, server).count("PROBE-UP") == 1

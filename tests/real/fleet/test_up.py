"""`pinfold up` as one process on one host: a server's life, and what it survives. procfs and the lab's records are the witnesses."""

from __future__ import annotations

import signal
import stat
from typing import Any

import pytest
from tests.ports import free_port
from tests.real.fleet.conftest import UpRig
from tests.real.patience import until
from tests.rig.client import COMPUTE, ISOLATE, SHARE
from tests.rig.fits import vcpu_cpus
from tests.rig.fleet import LEASE_SECONDS
from tests.rig.processes import Domain, Process, defined, domains, ending, virsh

from pinfold.api.accounts import hash_password
from pinfold.core.cpuset import CpuSet
from pinfold.lab.witness import LabWitness


def running(up: UpRig, server: str) -> Domain:
    """The server's domain, which must run."""
    found = domains(up.lab)
    assert server in found, f"{server} does not run; {list(found)} do"
    return found[server]


def asked(up: UpRig, domain: Domain) -> tuple[list[str], str]:
    """What was asked of each vCPU's thread, and of QEMU's main thread: the shim's records."""
    witness = LabWitness(up.lab.folder.records)
    return [str(witness.allowed(tid)) for tid in domain.vcpus], str(witness.allowed(domain.pid))


def recorded(up: UpRig, server: str) -> dict[str, Any]:
    """What the service recorded."""
    fit: dict[str, Any] = up.api.placement(server)["claim"]["fit"]
    return fit


def test_it_is_ready_when_its_host_takes_guests(up: UpRig) -> None:
    assert up.process.end() == 0
    up.process.start()
    up.start_asking()
    assert up.api.host(up.host)["up"] is True


def test_a_host_that_cannot_report_is_said_when_it_is_ready(up: UpRig) -> None:
    config = up.process.folder / "beyond.conf"
    config.write_text(f"[pinfold]\nstate_dir = {up.process.folder}/beyond\n[libvirt]\nconnection_uri = {up.lab.uri}\n")
    with config.open("a") as file:
        file.write(f"[pinfold_api]\nport = {free_port()}\n[compute]\ncpu_dedicated_set = 900\n")
    other = Process(("up", "--config", str(config)), up.process.folder, "beyond")
    with ending(other):
        other.start()
        assert "has not reported to the service yet" in other.errors()


def test_a_servers_life(up: UpRig) -> None:
    api = up.api
    share, isolate = api.flavor("rt.share", vcpus=4, **SHARE), api.flavor("rt.isolate", vcpus=2, **ISOLATE)
    first, second = api.create("one", share), api.create("two", isolate)
    for server in (first, second):
        api.await_status(server, "ACTIVE")
        vcpus, main = asked(up, running(up, server))
        fit = recorded(up, server)
        assert vcpus == vcpu_cpus(fit)
        assert main == fit["emulator"]
        seen = api.placement(server)["observed"]
        assert seen["drift"] == [] and len(seen["threads"]) >= 3
    assert recorded(up, first)["emulator"] == "0-1,16-17"
    used = up.api.allocations(up.host)
    assert used[first] == {"PCPU": 4, "MEMORY_MB": 64, "CUSTOM_OVERHEAD_MILLICPU": 28}
    assert used[second] == {"PCPU": 3, "MEMORY_MB": 64}

    before = running(up, first)
    api.act(first, "os-stop")
    api.await_status(first, "SHUTOFF")
    assert not before.alive and first in defined(up.lab)
    api.act(first, "os-start")
    api.await_status(first, "ACTIVE")
    started = running(up, first)
    assert asked(up, started)[0] == vcpu_cpus(recorded(up, first))
    api.act(first, "reboot", {"type": "HARD"})
    api.await_status(first, "ACTIVE")
    assert not started.alive and running(up, first).alive
    api.delete(first)
    api.delete(second)
    assert not domains(up.lab) and not defined(up.lab)
    until(lambda: up.api.allocations(up.host) == {}, "the allocations are emptied")
    assert list((up.state / "serial").iterdir()) == []


def test_restarts_and_kills_leave_running_guests_alone(up: UpRig) -> None:
    server = up.api.create("vm", up.api.flavor("f", **SHARE))
    up.api.await_status(server, "ACTIVE")
    guest = running(up, server)
    up.restart()
    up.api.await_status(server, "ACTIVE")
    assert guest.alive

    up.lab.restart_daemon()
    up.api.await_host(up.host, up=True)  # an agent without its libvirt is silent for a moment
    other = up.api.create("vm", "f")
    up.api.await_status(other, "ACTIVE")
    assert guest.alive

    up.lab.kill_daemon()
    up.process.kill()
    up.lab.start_daemon()
    up.start()
    for each in (server, other):
        up.api.await_status(each, "ACTIVE")
    assert guest.alive and running(up, server) == guest
    up.api.delete(server)
    up.api.delete(other)
    assert not guest.alive


def test_a_guest_that_is_killed_behind_the_back_is_shown_off_and_starts_again_when_asked(up: UpRig) -> None:
    server = up.api.create("vm", up.api.flavor("f", **SHARE))
    up.api.await_status(server, "ACTIVE")
    guest = running(up, server)
    virsh(up.lab, "destroy", server)
    up.api.await_status(server, "SHUTOFF")
    assert up.api.allocations(up.host)[server]["PCPU"] == 2
    up.api.act(server, "os-start")
    up.api.await_status(server, "ACTIVE")
    assert running(up, server) != guest


@pytest.mark.unwatched("a vCPU is moved off its pCPU")
def test_drift_is_reported_within_a_sweep_and_strangers_count_as_taken(up: UpRig) -> None:
    server = up.api.create("vm", up.api.flavor("f", **SHARE))
    up.api.await_status(server, "ACTIVE")
    pin = CpuSet.parse(vcpu_cpus(recorded(up, server))[0])
    virsh(up.lab, "vcpupin", server, "0", "30", "--live")

    def drift() -> list[str]:
        return (up.api.placement(server)["observed"] or {}).get("drift", [])

    told = until(drift, "the drift is reported")
    assert any("30" in sentence and str(pin) in sentence for sentence in told), told
    virsh(up.lab, "vcpupin", server, "0", str(pin), "--live")
    until(lambda: not drift(), "the drift is over")


@pytest.mark.unwatched("a host is fenced that was not powered off")
def test_a_host_whose_agent_is_silent_is_down_and_nothing_of_it_is_released_until_it_is_fenced(up: UpRig) -> None:
    """The agent of `up` is halted together with its API, so a second API process is the one that looks."""
    server = up.api.create("vm", up.api.flavor("f", **SHARE))
    up.api.await_status(server, "ACTIVE")
    guest = running(up, server)
    up.set_lease(4.0)
    up.restart()
    up.process.kill()
    up.set_lease(LEASE_SECONDS)
    config = up.process.arguments[-1]
    alone = Process(("api", "--port", "0", "--config", config), up.process.folder, "alone")
    alone.start()
    try:
        up.api = type(up.api)(alone.told["url"], up.api.account)
        up.api.await_host(up.host, up=False)
        assert up.api.show(server)["status"] == "UNKNOWN"
        refused = up.api.create("vm", "f")
        assert up.api.show(refused)["status"] == "ERROR"
        up.api.delete(server, wait=False)
        assert up.api.show(server)["OS-EXT-STS:task_state"] == "deleting"
        assert up.api.allocations(up.host)[server]["PCPU"] == 2 and guest.alive
        assert up.api.ask("POST", f"/v1/hosts/{up.host}/fence", {"powered_off": True})
        up.api.await_gone(server)
        until(lambda: up.api.allocations(up.host) == {}, "the allocations are emptied")
        assert guest.alive, "the lab's host was not powered off after all"
    finally:
        alone.kill()
    # The host returns, with a guest that it should not have any more.
    up.start()
    until(lambda: not guest.alive, "the buried guest is removed")
    until(lambda: not defined(up.lab), "its definition is removed")
    again = up.api.create("vm", "f")
    up.api.await_status(again, "ACTIVE")


def test_secrets_and_databases_are_for_their_owner_alone(up: UpRig) -> None:
    server = up.api.create("vm", up.api.flavor("f", **SHARE))
    up.api.await_status(server, "ACTIVE")
    secret = {path.name for path in up.state.iterdir() if path.is_file()}
    assert {"pinfold.sqlite", "placement.sqlite", "clouds.yaml", "accounts", "agent.token", "agent.memory"} <= secret
    for path in up.state.iterdir():
        if path.is_file() and not path.name.endswith(".owner"):
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    assert up.api.http.get(f"{COMPUTE}/servers", auth=("admin", "wrong")).status_code == 401


def test_sighup_reads_accounts_and_configuration_again_and_ends_nothing(up: UpRig) -> None:
    server = up.api.create("vm", up.api.flavor("f", **SHARE))
    up.api.await_status(server, "ACTIVE")
    before, carol = running(up, server), ("carol", "a password")
    text = (up.state / "accounts").read_text()
    (up.state / "accounts").write_text(f"{text}carol:reader:{hash_password(carol[1], rounds=4)}\n")
    up.process.send(signal.SIGHUP)
    until(lambda: up.api.http.get("/v1/hosts", auth=carol).status_code == 200, "the new account is let in")
    (up.state / "accounts").write_text(text)
    up.process.send(signal.SIGHUP)
    until(lambda: up.api.http.get("/v1/hosts", auth=carol).status_code == 401, "and out again")
    until(lambda: up.process.errors().count("it is what this process runs with") == 2, "the log says that the configuration is as it was")
    assert up.process.running
    assert running(up, server) == before


def test_a_second_one_says_in_a_sentence_why_it_cannot_be(up: UpRig) -> None:
    again = Process(up.process.arguments, up.process.folder, "again")
    again.start(wait=False)
    assert again.wait() == 4
    assert f"process {up.process.pid} is the agent of" in again.errors()
    port = up.process.told["url"].rpartition(":")[2]
    other = up.process.folder / "other.conf"
    other.write_text(f"[pinfold]\nstate_dir = {up.process.folder}/other\n[libvirt]\nconnection_uri = {up.lab.uri}\n")
    taken = Process(("up", "--port", port, "--config", str(other)), up.process.folder, "taken")
    taken.start(wait=False)
    assert taken.wait() == 3
    assert f"port {port}: Address already in use" in taken.errors()


def test_a_libvirt_that_is_away_is_said_in_a_sentence(up: UpRig) -> None:
    assert up.process.end() == 0
    up.lab.kill_daemon()
    again = Process(up.process.arguments, up.process.folder, "away")
    again.start(wait=False)
    assert again.wait() == 3
    assert "Traceback" not in again.errors() and "libvirt" in again.errors()
    up.lab.start_daemon()


def test_it_ends_in_order_while_starts_are_under_way(up: UpRig) -> None:
    flavor = up.api.flavor("f", **SHARE)
    servers = [up.api.create(f"s{number}", flavor) for number in range(6)]
    up.process.send(signal.SIGTERM)
    assert up.process.wait() == 0, up.process.errors()
    up.start()
    for server in servers:
        up.api.await_status(server, "ACTIVE")
    assert domains(up.lab).keys() == set(servers)

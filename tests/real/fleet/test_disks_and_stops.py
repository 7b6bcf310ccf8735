"""A guest's disk is never lost, and a stop is no power cut: guests that write to their disks, hear their power button, or are deaf to it.

The guests' own serial lines, the files of their disks, and libvirt's logs (`reason=shutdown` or `destroyed`) are the witnesses.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.ports import free_port
from tests.real.fleet.conftest import QUICK, TOPOLOGY, UpRig
from tests.real.patience import until
from tests.rig import loaded
from tests.rig.client import SHARE
from tests.rig.fits import vcpu_cpus
from tests.rig.fleet import sweep
from tests.rig.processes import Process, configuration, defined, domains, ending, virsh

from pinfold.api.image.catalog import image_id
from pinfold.core.hosttext import host
from pinfold.lab import rom
from pinfold.lab.daemon import LabHost
from pinfold.lab.witness import SYNTHETIC

LONG = 600
STRANGER = """
<domain type="qemu"><name>stranger</name><memory unit="MiB">16</memory><vcpu>1</vcpu>
<cputune><vcpupin vcpu="0" cpuset="{cpus}"/></cputune>
<os><type arch="x86_64">hvm</type><loader readonly="yes" type="rom">{rom}</loader></os></domain>
"""
"""Its ROM sleeps for good. A BIOS that finds nothing to boot may end it whenever it likes."""


@pytest.fixture(autouse=True)
def _witness_of_fleets(request: pytest.FixtureRequest, lab_possible: None) -> None:
    """Say which witness these tests had: a BIOS does not start under every KVM."""
    request.node.user_properties.append(("witness", f"TCG, no cgroups, {SYNTHETIC}"))


@pytest.fixture(scope="module")
def fleet_lab(lab_name: str, lab_possible: None) -> Iterator[LabHost]:
    """One synthetic lab host without KVM."""
    with LabHost(f"{lab_name}-disks", topology=host(TOPOLOGY), kvm=False) as lab:
        yield lab


@pytest.fixture(scope="module")
def up_once(fleet_lab: LabHost, lab_name: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[UpRig]:
    """`pinfold up` whose guests may take very long to shut down, with the images `probe`, `deaf` and `counter`."""
    folder, name = tmp_path_factory.mktemp("up"), f"{lab_name}-a"
    images = folder / "state" / "images"
    images.mkdir(parents=True)
    for each in (folder.parent, folder, folder / "state", images):
        each.chmod(0o711)
    rom.write(images / "probe.rom")
    rom.write(images / "deaf.rom", rom.Parameters(deaf=1))
    _write_counter(images / "counter.raw")
    process = Process(("up", "--port", str(free_port()), "--config", str(folder / "pinfold.conf")), folder, "up")
    made = UpRig(lab=fleet_lab, process=process, host=name, state=folder / "state", api=None)  # type: ignore[arg-type]
    _configure(made, shutdown_seconds=LONG)
    with ending(process):
        made.start()
        yield made
    sweep(fleet_lab)


def _write_counter(path: Path) -> None:
    source, built = Path(__file__).with_name("counter.S"), path.with_suffix(".o")
    subprocess.run(["gcc", "-c", str(source), "-o", str(built)], check=True)
    subprocess.run(["objcopy", "-O", "binary", "-j", ".text", str(built), str(path)], check=True)
    built.unlink()
    path.write_bytes(path.read_bytes().ljust(1 << 20, b"\0"))
    path.chmod(0o644)


def _configure(up: UpRig, *, shutdown_seconds: int) -> None:
    agent = f"sweep_seconds = 1\nshutdown_seconds = {shutdown_seconds}"
    up.process.folder.joinpath("pinfold.conf").write_text(
        configuration(up.lab, up.state, host=up.host, pinfold_api=QUICK, pinfold_agent=agent)
    )


def serial(up: UpRig, server: str) -> str:
    """What the guest said since its last start."""
    path = up.state / "serial" / f"{server}.log"
    return path.read_text(errors="replace") if path.exists() else ""


def ends(up: UpRig, server: str) -> list[str]:
    """How each run of the guest ended, as libvirt tells: by itself (`shutdown`) or by force (`destroyed`)."""
    text = (up.lab.folder.path / "log/qemu" / f"instance-{server}.log").read_text(errors="replace")
    return re.findall(r"shutting down, reason=(\w+)", text)


def overlay(up: UpRig, server: str) -> int:
    """Which file the guest's disk is: its inode."""
    (path,) = (up.state / "overlays").glob(f"*/{server}.qcow2")
    return path.stat().st_ino


def pinfold(up: UpRig, *words: str) -> subprocess.CompletedProcess[str]:
    """One command of ours, asking the service that is up."""
    return loaded.run("pinfold", [*words, "--config", up.process.arguments[-1]], loaded.importing() | {"COLUMNS": "200"})


def booted(up: UpRig, server: str, count: int) -> None:
    """Wait until the guest has told the count of its boots, which stands on its disk; until then it may be in error from before."""
    until(lambda: up.api.show(server)["status"] == "ACTIVE", f"{server} runs")
    until(lambda: f"#{count}\n" in serial(up, server), f"boot {count} is on the disk of {server}")


def refused(up: UpRig, server: str, reason: str, *, tries: int) -> None:
    """Wait until the server is in error for that reason, on its host, after so many tries of this process; see that it is the last one."""
    shown = up.api.await_status(server, "ERROR")
    assert shown["OS-EXT-SRV-ATTR:host"] == up.host
    assert f"The start failed on {up.host}: " in shown["fault"]["message"] and reason in shown["fault"]["message"], shown["fault"]
    assert up.api.allocations(up.host)[server]["PCPU"] == 2
    assert up.process.errors().count("does not run") == tries
    up.lab.restart_daemon()  # every turn of the agent looks anew
    up.api.await_host(up.host, up=True)
    assert up.process.errors().count("does not run") == tries
    assert up.api.show(server)["status"] == "ERROR"


def test_a_disk_outlives_whatever_becomes_of_its_guest_until_the_user_deletes_it(up: UpRig) -> None:
    server = up.api.create("vm", up.api.flavor("f", **SHARE), imageRef=image_id("counter"))
    booted(up, server, 1)
    disk = overlay(up, server)
    pins = ",".join(vcpu_cpus(up.api.placement(server)["claim"]["fit"]))

    up.api.act(server, "os-stop")
    up.api.await_status(server, "SHUTOFF")
    stranger = up.process.folder / "stranger.xml"
    stranger.write_text(STRANGER.format(cpus=pins, rom=up.state / "images/probe.rom"))
    virsh(up.lab, "create", str(stranger))
    started = pinfold(up, "server", "start", "--wait", server)
    assert started.returncode == 1 and "stranger" in started.stdout, started
    refused(up, server, "stranger", tries=1)
    _end_the_stranger(up)
    assert pinfold(up, "server", "start", "--wait", server).returncode == 0
    booted(up, server, 2)
    assert "fault" not in up.api.show(server) and overlay(up, server) == disk

    up.api.act(server, "os-stop")
    up.api.await_status(server, "SHUTOFF")
    virsh(up.lab, "undefine", server)
    image, away = up.state / "images/counter.raw", up.state / "images/away"
    image.rename(away)
    up.api.act(server, "reboot", {"type": "HARD"})
    refused(up, server, "counter", tries=2)
    assert server not in defined(up.lab)
    up.restart()
    refused(up, server, "counter", tries=0)
    away.rename(image)
    assert pinfold(up, "server", "reboot", server).returncode != 0
    assert pinfold(up, "server", "reboot", "--hard", "--wait", server).returncode == 0
    booted(up, server, 3)
    assert overlay(up, server) == disk

    virsh(up.lab, "destroy", server)
    virsh(up.lab, "undefine", server)
    booted(up, server, 4)
    _change_the_claim(up, server)
    booted(up, server, 5)
    assert overlay(up, server) == disk

    up.api.delete(server)
    assert not list((up.state / "overlays").glob(f"*/{server}*"))


def test_a_server_outside_of_the_pools_starts_in_another_place_on_its_disk(up: UpRig) -> None:
    """The pools change below a running agent; what `pinfold audit` advises about a guest of the service is done word by word."""
    server = up.api.create("vm", up.api.flavor("f", **SHARE), imageRef=image_id("counter"))
    booted(up, server, 1)
    disk, config = overlay(up, server), Path(up.process.arguments[-1])
    before, text = up.api.placement(server)["claim"], config.read_text()
    config.write_text(text.replace("cpu_shared_set = 0-1,16-17", "cpu_shared_set = 0-15").replace("= 2-15,18-31", "= 16-31"))
    try:
        audited = json.loads(pinfold(up, "audit", "--json").stdout)
        advice = next(finding["advice"] for finding in audited["guests"][0]["findings"] if finding["code"] == "outside-pool")
        commands = re.findall("`pinfold ([^`]+)`", advice)
        assert advice.startswith("let the agent of ") and "where `pinfold up` runs, SIGHUP to that process" in advice
        assert commands[1:] == [f"server stop {server} --wait", f"server start {server} --wait"]
        up.process.send(signal.SIGHUP)
        until(lambda: up.api.placement(server)["claim"]["fit"]["emulator"] == "0-15", "the server's claim follows the shared pool of today")
        stopped, started = (pinfold(up, *command.split()) for command in commands[1:])
        assert (stopped.returncode, started.returncode) == (0, 0), (stopped, started)
        assert "starts in another place" in started.stdout and "outside the pool of today (16-31)" in started.stdout
        booted(up, server, 2)
        after = up.api.placement(server)["claim"]
        assert (after["id"], after["amounts"]) == (before["id"], before["amounts"])
        assert {int(cpus) for cpus in vcpu_cpus(after["fit"])} <= set(range(16, 32))
        assert after["fit"]["emulator"] == "0-15"
        assert overlay(up, server) == disk
        assert pinfold(up, "audit").returncode == 0
    finally:
        config.write_text(text)
        up.restart()


def test_a_server_that_is_booked_anew_runs_on_and_its_record_follows(up: UpRig) -> None:
    """The overhead's rate changes below a running server, and `server rebook` amends its claim."""
    server = up.api.create("vm", up.api.flavor("f", **SHARE), imageRef=image_id("counter"))
    booted(up, server, 1)
    config, before, process = Path(up.process.arguments[-1]), up.api.placement(server)["claim"], domains(up.lab)[server]
    text = config.read_text()
    config.write_text(text + "\n[overhead]\nguest_millicpu = 55\n")
    try:
        up.restart()
        assert pinfold(up, "server", "rebook", server).returncode == 0
        after = up.api.placement(server)["claim"]
        assert after["id"] == before["id"] and after["revision"] > before["revision"]
        assert after["amounts"]["CUSTOM_OVERHEAD_MILLICPU"] == before["amounts"]["CUSTOM_OVERHEAD_MILLICPU"] + 35
        millicpu = after["amounts"]["CUSTOM_OVERHEAD_MILLICPU"]

        def follows() -> bool:
            record = virsh(up.lab, "metadata", server, "urn:pinfold:guest:2")
            return all(part in record for part in (after["id"], str(after["revision"]), f'"overhead_millicpu":{millicpu}'))

        until(follows, "the record follows the claim")
        assert domains(up.lab)[server] == process and up.api.show(server)["status"] == "ACTIVE"
        assert pinfold(up, "audit").returncode == 0
    finally:
        config.write_text(text)
        up.restart()


def _end_the_stranger(up: UpRig) -> None:
    """See to it that the foreign guest has ended. On a busy machine libvirt may have lost it as the daemon started anew, and ended it."""
    subprocess.run(["virsh", "-c", up.lab.uri, "destroy", "stranger"], capture_output=True, check=False, timeout=240)
    until(lambda: "stranger" not in virsh(up.lab, "list", "--name").split(), "the stranger has ended")


def _change_the_claim(up: UpRig, server: str) -> None:
    """Give the definition the record of another claim, and end the guest."""
    text = virsh(up.lab, "dumpxml", "--inactive", server)
    changed, count = re.subn(r"""("claim":)"[-0-9a-f]{36}\"""", rf'\1"{uuid.uuid4()}"', text)
    assert count == 1, text
    definition = up.process.folder / "changed.xml"
    definition.write_text(changed)
    virsh(up.lab, "define", str(definition))
    virsh(up.lab, "destroy", server)


def test_a_stop_and_a_soft_reboot_let_the_guest_shut_down_a_hard_one_does_not(up: UpRig) -> None:
    server = up.api.create("vm", up.api.flavor("f", **SHARE))
    up.api.await_status(server, "ACTIVE")
    until(lambda: "PROBE-UP" in serial(up, server), "it is up")
    up.api.act(server, "os-stop")
    up.api.await_status(server, "SHUTOFF")
    assert "POWER-BUTTON" in serial(up, server)
    up.api.act(server, "os-start")
    for kind in ("SOFT", "HARD"):
        up.api.await_status(server, "ACTIVE")
        until(lambda: "PROBE-UP" in serial(up, server), "it is up")
        before = domains(up.lab)[server]
        up.api.act(server, "reboot", {"type": kind})
        up.api.await_status(server, "ACTIVE")
        assert domains(up.lab)[server] != before
    assert ends(up, server) == ["shutdown", "shutdown", "destroyed"]


def test_nobody_waits_for_guests_that_do_not_hear_and_their_time_ends(up: UpRig) -> None:
    flavor = up.api.flavor("f", **SHARE)
    first, second, *others = servers = [up.api.create(f"deaf{number}", flavor, imageRef=image_id("deaf")) for number in range(6)]
    for server in servers:
        up.api.await_status(server, "ACTIVE")
    before = domains(up.lab)
    up.api.act(first, "reboot", {"type": "SOFT"})
    for server in (second, *others):
        up.api.act(server, "os-stop")
    up.api.await_status(first, "REBOOT", task="rebooting")
    up.api.await_status(second, "ACTIVE", task="powering-off")
    later = up.api.create("later", flavor)
    up.api.await_status(later, "ACTIVE")
    up.api.delete(second)
    up.api.act(first, "reboot", {"type": "HARD"})
    up.api.await_status(first, "ACTIVE")
    after = domains(up.lab)
    assert second not in after and after[first] != before[first]
    assert {server: after[server] for server in others} == {server: before[server] for server in others}

    assert up.process.end() == 0, up.process.errors()
    _configure(up, shutdown_seconds=1)
    up.start()
    for server in others:
        up.api.await_status(server, "SHUTOFF")
        assert ends(up, server) == ["destroyed"]
    up.api.act(first, "reboot", {"type": "SOFT"})
    up.api.await_status(first, "ACTIVE")
    assert domains(up.lab)[first] != after[first] and ends(up, first) == ["destroyed", "destroyed"]

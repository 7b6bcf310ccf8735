"""A server that is rebuilt: its disk is the new image's, and nothing else of it has changed. Guests that write to their disks tell it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from tests.ports import free_port
from tests.real.fleet.conftest import QUICK, TOPOLOGY, UpRig
from tests.real.fleet.test_config_drives import drive_of, read
from tests.real.patience import until
from tests.rig.client import COMPUTE, SHARE, server_body
from tests.rig.fits import vcpu_cpus
from tests.rig.fleet import sweep
from tests.rig.openstack import of_cloud
from tests.rig.processes import Process, configuration, defined, ending, virsh
from tests.stories.test_key_pairs import KEY
from tests.survive import points

from pinfold.api.image.catalog import image_id
from pinfold.core.hosttext import host
from pinfold.lab.daemon import LabHost
from pinfold.lab.witness import SYNTHETIC

SECRET = b"#cloud-config\nkept-over-a-rebuild: 1\n"


@pytest.fixture(autouse=True)
def _witness_of_fleets(request: pytest.FixtureRequest, lab_possible: None) -> None:
    """Say which witness these tests had: a BIOS does not start under every KVM."""
    request.node.user_properties.append(("witness", f"TCG, no cgroups, {SYNTHETIC}"))


@pytest.fixture(scope="module")
def fleet_lab(lab_name: str, lab_possible: None) -> Iterator[LabHost]:
    """One synthetic lab host without KVM."""
    with LabHost(f"{lab_name}-rebuild", topology=host(TOPOLOGY), kvm=False) as lab:
        yield lab


@pytest.fixture(scope="module")
def up_once(fleet_lab: LabHost, lab_name: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[UpRig]:
    """`pinfold up` with images whose guests count their boots on their disks: `counter` says `#1`, `letter` says `@1`. `firmware` is for
    UEFI, which does not start what that image has.
    """
    folder, name = tmp_path_factory.mktemp("up"), f"{lab_name}-a"
    images = folder / "state" / "images"
    images.mkdir(parents=True)
    for each in (folder.parent, folder, folder / "state", images):
        each.chmod(0o711)
    _write(images / "counter.raw", "#")
    _write(images / "letter.raw", "@")
    _write(images / "firmware.raw", "!")
    (images / "firmware.toml").write_text('hw_firmware_type = "uefi"\n')
    process = Process(("up", "--port", str(free_port()), "--config", str(folder / "pinfold.conf")), folder, "up")
    made = UpRig(lab=fleet_lab, process=process, host=name, state=folder / "state", api=None)  # type: ignore[arg-type]
    agent = "sweep_seconds = 1\nshutdown_seconds = 60"
    (folder / "pinfold.conf").write_text(configuration(fleet_lab, made.state, host=name, pinfold_api=QUICK, pinfold_agent=agent))
    with ending(process):
        made.start()
        yield made
    sweep(fleet_lab)


def _write(path: Path, sign: str) -> None:
    """A disk whose boot sector tells its count of boots behind that sign."""
    source, built = Path(__file__).with_name("counter.S"), path.with_suffix(".o")
    subprocess.run(["gcc", "-c", f"-DSIGN='{sign}'", str(source), "-o", str(built)], check=True)
    subprocess.run(["objcopy", "-O", "binary", "-j", ".text", str(built), str(path)], check=True)
    built.unlink()
    path.write_bytes(path.read_bytes().ljust(1 << 20, b"\0"))
    path.chmod(0o644)


def said(up: UpRig, server: str) -> list[str]:
    """What the guest said since it has its disk."""
    path = up.state / "serial" / f"{server}.log"
    return path.read_text(errors="replace").split() if path.exists() else []


def place(up: UpRig, server: str) -> Any:
    """The claim of a server, without its revision."""
    claim = up.api.placement(server)["claim"]
    return claim["id"], vcpu_cpus(claim["fit"])


def rebuild(up: UpRig, server: str, image: str, **more: Any) -> Any:
    body = {"rebuild": {"imageRef": image_id(image)} | more}
    return up.api.ask("POST", f"{COMPUTE}/servers/{server}/action", body, status=202)["server"]


def counting(up: UpRig, name: str) -> str:
    """A server of the image `counter`, in its second boot."""
    body = {"server": server_body(name, up.api.flavor("share", **SHARE), imageRef=image_id("counter"))}
    server = str(up.api.ask("POST", f"{COMPUTE}/servers", body, status=202)["server"]["id"])
    up.api.await_status(server, "ACTIVE")
    until(lambda: said(up, server) == ["#1"], "it has booted")
    up.api.act(server, "reboot", {"type": "HARD"})
    until(lambda: said(up, server) == ["#1", "#2"], "it has booted again")
    up.api.await_status(server, "ACTIVE")
    return server


def test_the_openstack_client_rebuilds_a_server_whose_disk_is_then_the_new_images(up: UpRig, tmp_path: Path) -> None:
    openstack = of_cloud(up.clouds, tmp_path)
    (tmp_path / "key.pub").write_text(KEY, encoding="ascii")
    (tmp_path / "user-data").write_bytes(SECRET)

    openstack(f"keypair create --public-key {tmp_path}/key.pub mine")
    up.api.flavor("share", **SHARE)
    create = "server create --flavor share --image counter --no-network --wait vm1 -f json"
    made = openstack(f"{create} --key-name mine --user-data {tmp_path}/user-data")
    server, before = made["id"], place(up, made["id"])
    until(lambda: said(up, server) == ["#1"], "it has booted")
    openstack("server rebuild --image letter --password pass-of-the-rebuild --property role=db --wait vm1")
    until(lambda: said(up, server) == ["@1"], "it boots the new image, whose count begins")
    shown = openstack("server show vm1 -f json")
    assert (shown["status"], shown["image"].split()[0], shown["key_name"]) == ("ACTIVE", "letter", "mine")
    assert place(up, server) == before
    meta = json.loads(read(drive_of(up, server), "openstack/latest/meta_data.json"))
    assert (meta["public_keys"], meta["admin_pass"], meta["meta"]) == ({"mine": KEY}, "pass-of-the-rebuild", {"role": "db"})
    assert read(drive_of(up, server), "openstack/latest/user_data") == SECRET
    events = openstack(f"server event list {server} -f json")
    assert [event["Action"] for event in events] == ["rebuild", "create"]
    openstack("server reboot --hard --wait vm1")
    until(lambda: said(up, server) == ["@1", "@2"], "its disk stays from then on")
    assert place(up, server) == before
    openstack("keypair delete mine")


def test_a_stopped_server_stays_stopped_and_has_the_new_disk_when_it_starts(up: UpRig) -> None:
    server = counting(up, "stopped")
    up.api.act(server, "os-stop")
    up.api.await_status(server, "SHUTOFF")
    rebuild(up, server, "letter")
    up.api.await_status(server, "SHUTOFF")
    assert server in defined(up.lab) and said(up, server) == []
    up.api.act(server, "os-start")
    until(lambda: said(up, server) == ["@1"], "it boots the new image")


def test_a_rebuild_that_fails_before_the_guest_ended_leaves_it_running_and_goes_on_with_the_next_boot(up: UpRig) -> None:
    server = counting(up, "spoilt")
    image = up.state / "images" / "spoilt.qcow2"
    image.write_bytes(b"no qcow2")
    image.chmod(0o644)
    try:
        rebuild(up, server, "spoilt")
        up.api.await_status(server, "ERROR")
        shown = up.api.show(server)
        assert "The rebuild failed on" in shown["fault"]["message"] and "spoilt.qcow2" in shown["fault"]["message"]
        assert shown["OS-EXT-STS:power_state"] == 1 and said(up, server) == ["#1", "#2"]
        subprocess.run(["qemu-img", "convert", "-O", "qcow2", str(image.with_name("letter.raw")), str(image)], check=True)
        up.api.act(server, "reboot", {"type": "HARD"})
        until(lambda: up.api.show(server)["status"] == "ACTIVE", "its error is over")
        until(lambda: said(up, server) == ["@1"], "it boots the new image")
    finally:
        up.api.delete(server)
        image.unlink()


def variables(up: UpRig, server: str) -> Path:
    """The file of a guest's UEFI variables."""
    path = ElementTree.fromstring(virsh(up.lab, "dumpxml", server)).findtext("os/nvram", default="")
    return up.lab.folder.path / "lib" / "qemu" / "nvram" / Path(path).name


def test_a_rebuild_brings_uefi_begins_its_variables_anew_and_takes_it_away(up: UpRig) -> None:
    server = counting(up, "uefi")
    before = place(up, server)
    rebuild(up, server, "firmware")
    up.api.await_status(server, "ACTIVE")
    assert "type='pflash'" in virsh(up.lab, "dumpxml", server)
    kept = variables(up, server)
    with kept.open("r+b") as file:
        file.seek(-len(b"marked"), 2)
        file.write(b"marked")
    end(up, server)
    up.api.act(server, "os-start")
    up.api.await_status(server, "ACTIVE")
    assert kept.read_bytes().endswith(b"marked"), "a start keeps the variables"
    end(up, server)
    rebuild(up, server, "firmware")
    up.api.await_status(server, "SHUTOFF")
    up.api.act(server, "os-start")
    up.api.await_status(server, "ACTIVE")
    assert not kept.read_bytes().endswith(b"marked"), "a rebuild does not"
    end(up, server)
    rebuild(up, server, "letter")
    up.api.await_status(server, "SHUTOFF")
    up.api.act(server, "os-start")
    until(lambda: said(up, server) == ["@1"], "it boots by its BIOS again")
    assert "pflash" not in virsh(up.lab, "dumpxml", server) and not kept.exists()
    assert place(up, server) == before


def end(up: UpRig, server: str) -> None:
    """End a guest as by the loss of its power: firmware without a system does not obey the power button."""
    virsh(up.lab, "destroy", server)
    up.api.await_status(server, "SHUTOFF")


def test_an_agent_killed_at_any_point_of_a_rebuild_goes_on_with_it_and_does_it_once(up: UpRig) -> None:
    server = counting(up, "mortal")
    before = place(up, server)
    up.process.kill()
    up.start(fault=points.REBUILD[0])
    rebuild(up, server, "letter")
    for point, following in zip(points.REBUILD, (*points.REBUILD[1:], ""), strict=True):
        up.process.await_hit(point)
        if point in points.REBUILD[:2]:
            assert said(up, server) == ["#1", "#2"] and server in defined(up.lab)
        up.process.start(fault=following, wait=False)
    up.process.await_ready()
    up.start_asking()
    up.api.await_status(server, "ACTIVE")
    until(lambda: said(up, server) == ["@1"], "it boots the new image once")
    assert place(up, server) == before
    assert not list((up.state / "overlays").glob("*/*.new.*"))

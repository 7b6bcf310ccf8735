"""A cloud for tempest: a real Keystone, `pinfold up` on a lab host with a bridge, two images and two flavors."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.ports import free_port
from tests.real.fleet.conftest import QUICK, TOPOLOGY, service_of
from tests.rig.client import COMPUTE
from tests.rig.fleet import sweep
from tests.rig.keystone import ADMIN, Keystone, python_with_keystone, running_keystone
from tests.rig.keystone_stand_in import authtoken
from tests.rig.network_namespace import network_namespace
from tests.rig.processes import Process, Service, configuration, ending
from tests.tempest.results import VERSION, Result, expanded

from pinfold.core.hosttext import host
from pinfold.lab import rom
from pinfold.lab.daemon import LabHost

HERE: Final = Path(__file__).parent
SELECTED: Final = r"tempest\.(api\.(compute|image|network)|serial_tests\.api\.compute)\."
"""The tests of tempest that are run."""
PACKAGE: Final = f"tempest=={VERSION}"
NETWORKS: Final = """
[networks.lan]
kind = "bridge"
source = "br0"
subnet = "192.0.2.0/24"
range = "192.0.2.10-192.0.2.250"
gateway = "192.0.2.1"
"""
_FLAVORS: Final = (("101", "tempest.small", 64), ("102", "tempest.large", 128))


@dataclass
class Cloud:
    """The running cloud, and the folder in which tempest works on it."""

    keystone: Keystone
    api: Service
    folder: Path
    programs: Path

    def tempest(self, *words: str) -> subprocess.CompletedProcess[str]:
        """One `tempest` command in the folder, with low priority; its exit status is left to the caller."""
        command = ["nice", str(self.programs / "tempest"), *words]
        return subprocess.run(command, cwd=self.folder, env=_clean(), capture_output=True, text=True, check=False)


def run(made: Cloud, selected: str) -> tuple[Result, ...]:
    """Run the selected tests, one after the other; a result for each of them."""
    listed = made.tempest("run", "--list-tests", "--regex", selected).stdout.splitlines()
    made.tempest("run", "--serial", "--regex", selected)
    stream = made.folder / "last.subunit"
    with stream.open("wb") as file:
        subprocess.run([str(made.programs / "stestr"), "last", "--subunit"], cwd=made.folder, stdout=file, check=False)
    read = [str(made.programs / "python"), str(HERE / "read_results.py"), str(stream)]
    lines = subprocess.run(read, capture_output=True, text=True, check=True).stdout.splitlines()
    tests = [line for line in listed if line.startswith(("tempest.", "whitebox_tempest_plugin."))]
    return expanded(tests, [tuple(json.loads(line)) for line in lines])


def programs_of_tempest(folder: Path, *more: str, given: str = "PINFOLD_TEST_TEMPEST") -> Path:
    """The folder of tempest's programs in an environment of its own, with more packages; the variable `given` names one that is there."""
    if there := os.environ.get(given):
        return Path(there)
    uv = str(Path(sys.executable).with_name("uv"))
    subprocess.run([uv, "venv", "-q", "-p", sys.executable, str(folder)], check=True)
    subprocess.run([uv, "pip", "install", "-q", "--python", str(folder / "bin" / "python"), PACKAGE, *more], check=True)
    return folder / "bin"


@contextmanager
def keystone_and_lab(folder: Path, name: str, topology: str, *, kvm: bool = True) -> Iterator[tuple[Keystone, LabHost]]:
    """A Keystone and a lab host with a bridge, in a network namespace, which this thread and what it starts is in until the block ends."""
    for each in (folder, folder.parent):
        each.chmod(0o711)
    (folder / "keystone").mkdir()
    python = python_with_keystone(folder / "keystone" / "venv")
    with network_namespace("br0") as namespace, namespace.inside(), running_keystone(folder / "keystone", python) as keystone:
        keystone.project("service")
        keystone.user("pinfold", service="service")
        lab = LabHost(name, topology=host(topology), kvm=kvm).up()
        try:
            yield keystone, lab
            sweep(lab)
        finally:
            lab.down()


@contextmanager
def cloud(folder: Path, name: str) -> Iterator[Cloud]:
    """The cloud, until the block ends. `name` is the beginning of the lab's name."""
    programs = programs_of_tempest(folder / "tempest-venv")
    with keystone_and_lab(folder, f"{name}-tempest", TOPOLOGY) as (keystone, lab), serving(folder, f"{name}-t", lab, keystone.url) as api:
        describe(keystone, api)
        yield prepared(folder, keystone, api, programs)


@contextmanager
def serving(folder: Path, name: str, lab: LabHost, keystone: str) -> Iterator[Service]:
    """`pinfold up` with the images on a lab host with the bridge, and with the Keystone at that address, until the block ends."""
    state, config = folder / "state", folder / "pinfold.conf"
    state.mkdir(mode=0o711)
    write_images(state / "images")
    more = {
        "pinfold_api": f"{QUICK}\nauth = keystone\naccounts_file = {state}/accounts",
        "pinfold_agent": "sweep_seconds = 1",
        "api": "enable_instance_password = false",
    }
    config.write_text(roomy(configuration(lab, state, host=name, **more)) + authtoken(keystone))
    (folder / "networks.toml").write_text(NETWORKS)
    process = Process(("up", "--port", str(free_port()), "--config", str(config)), folder, "up")
    with ending(process):
        process.start()
        api = service_of(process, state)
        api.await_host(name, up=True)
        yield api


def roomy(text: str) -> str:
    """A host's configuration with room for many servers, and a processor for its guests that every KVM gives: a nested one may promise more
    than it has.
    """
    return text.replace("[DEFAULT]", "[DEFAULT]\ncpu_allocation_ratio = 16", 1).replace("[libvirt]", "[libvirt]\ncpu_mode = none", 1)


def write_images(images: Path) -> None:
    """The two images."""
    images.mkdir(mode=0o755)
    for image in ("probe.rom", "probe-alt.rom"):
        rom.write(images / image)


def describe(keystone: Keystone, api: Service) -> None:
    """Put the service into Keystone's catalogue, and make the flavors."""
    for kind, path in (("compute", "/compute/v2.1"), ("image", "/image"), ("network", "/network"), ("placement", "/placement")):
        keystone.service(kind, f"{api.url}{path}")
    make_flavors(api)


def make_flavors(api: Service) -> None:
    """The two flavors."""
    for flavor, called, ram in _FLAVORS:
        body = {"flavor": {"id": flavor, "name": called, "vcpus": 1, "ram": ram, "disk": 0}}
        api.ask("POST", f"{COMPUTE}/flavors", body, status=200)


def prepared(folder: Path, keystone: Keystone, api: Service, programs: Path, more: str = "") -> Cloud:
    """Tempest's folder with its configuration, and more of it."""
    work = folder / "tempest"
    subprocess.run(
        [str(programs / "tempest"), "init", "--workspace-path", str(folder / "workspace.yaml"), str(work)],
        env=_clean(),
        check=True,
        capture_output=True,
    )
    token = {"X-Auth-Token": keystone.token(ADMIN, ADMIN)}
    listed = api.http.get("/image/v2/images", headers=token, auth=None).json()["images"]
    ids = {image["name"]: image["id"] for image in listed}
    values = {
        "folder": work,
        "password": keystone.password,
        "keystone": keystone.url,
        "image": ids["probe"],
        "other_image": ids["probe-alt"],
    }
    text = (HERE / "tempest.conf").read_text(encoding="utf-8")
    for key, value in values.items():
        text = text.replace("{" + key + "}", str(value))
    (work / "etc" / "tempest.conf").write_text(text + more)
    return Cloud(keystone=keystone, api=api, folder=work, programs=programs)


def _clean() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("OS_", "PINFOLD", "PYTEST", "PYTHON"))}

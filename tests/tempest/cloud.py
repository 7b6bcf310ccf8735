"""A cloud for tempest: a real Keystone, `pinfold up` on a lab host with a bridge, two images and two flavors."""

from __future__ import annotations

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
from tests.real.identity.conftest import authtoken
from tests.rig.client import COMPUTE
from tests.rig.fleet import sweep
from tests.rig.keystone import ADMIN, Keystone, running_keystone
from tests.rig.network_namespace import network_namespace
from tests.rig.processes import Process, Service, configuration, ending
from tests.tempest.results import VERSION

from pinfold.core.hosttext import host
from pinfold.lab import rom
from pinfold.lab.daemon import LabHost

HERE: Final = Path(__file__).parent
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


def programs_of_tempest(folder: Path) -> Path:
    """The folder of tempest's programs in an environment of its own; `$PINFOLD_TEST_TEMPEST` names one that is there already."""
    if given := os.environ.get("PINFOLD_TEST_TEMPEST"):
        return Path(given)
    uv = str(Path(sys.executable).with_name("uv"))
    subprocess.run([uv, "venv", "-q", "-p", sys.executable, str(folder)], check=True)
    subprocess.run([uv, "pip", "install", "-q", "--python", str(folder / "bin" / "python"), PACKAGE], check=True)
    return folder / "bin"


@contextmanager
def cloud(folder: Path, name: str) -> Iterator[Cloud]:
    """The cloud, until the block ends. `name` is the beginning of the lab's name."""
    for each in (folder, folder.parent):
        each.chmod(0o711)
    (folder / "keystone").mkdir()
    programs = programs_of_tempest(folder / "tempest-venv")
    with running_keystone(folder / "keystone") as keystone, network_namespace("br0") as namespace:
        keystone.project("service")
        keystone.user("pinfold", service="service")
        with namespace.inside():
            lab = LabHost(f"{name}-tempest", topology=host(TOPOLOGY)).up()
        try:
            with _service(folder, f"{name}-t", lab, keystone) as api:
                _catalogue(keystone, api.url)
                for flavor, called, ram in _FLAVORS:
                    body = {"flavor": {"id": flavor, "name": called, "vcpus": 1, "ram": ram, "disk": 0}}
                    api.ask("POST", f"{COMPUTE}/flavors", body, status=200)
                yield _prepared(folder, keystone, api, programs)
            sweep(lab)
        finally:
            lab.down()


@contextmanager
def _service(folder: Path, name: str, lab: LabHost, keystone: Keystone) -> Iterator[Service]:
    state, config = folder / "state", folder / "pinfold.conf"
    images = state / "images"
    state.mkdir(mode=0o711)
    images.mkdir(mode=0o755)
    for image in ("probe.rom", "probe-alt.rom"):
        rom.write(images / image)
    more = {
        "pinfold_api": f"{QUICK}\nauth = keystone\naccounts_file = {state}/accounts",
        "pinfold_agent": "sweep_seconds = 1",
        "api": "enable_instance_password = false",
    }
    text = configuration(lab, state, host=name, **more).replace("[DEFAULT]", "[DEFAULT]\ncpu_allocation_ratio = 16", 1)
    config.write_text(text + authtoken(keystone))
    (folder / "networks.toml").write_text(NETWORKS)
    process = Process(("up", "--port", str(free_port()), "--config", str(config)), folder, "up")
    with ending(process):
        process.start()
        api = service_of(process, state)
        api.await_host(name, up=True)
        yield api


def _catalogue(keystone: Keystone, url: str) -> None:
    for kind, path in (("compute", "/compute/v2.1"), ("image", "/image"), ("network", "/network"), ("placement", "/placement")):
        keystone.service(kind, f"{url}{path}")


def _prepared(folder: Path, keystone: Keystone, api: Service, programs: Path) -> Cloud:
    """Tempest's folder with its configuration."""
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
    (work / "etc" / "tempest.conf").write_text(text)
    return Cloud(keystone=keystone, api=api, folder=work, programs=programs)


def _clean() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("OS_", "PINFOLD", "PYTEST", "PYTHON"))}

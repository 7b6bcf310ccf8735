"""Lab hosts for the suites of this folder, and the service on them as real processes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from tests.real.fleet.rig import Process, Service, configuration, domains, ending, until

from pinfold.core.hosttext import host
from pinfold.lab import rom
from pinfold.lab.daemon import LabHost

TOPOLOGY = "pack:2 core:8 pu:2 mem:16384"
QUICK = "lease_seconds = 4\nheal_seconds = 1\nclaim_seconds = 3"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test here has a real Placement beside its lab."""
    for item in items:
        if "fleet" in str(item.path):
            item.add_marker(pytest.mark.real_placement)


@dataclass
class UpRig:
    """`pinfold up` on one lab host."""

    lab: LabHost
    process: Process
    host: str
    state: Path
    api: Service

    def start(self, **options: str) -> None:
        """Start it (again), and ask it at its new address."""
        self.process.start(**options)
        self.api = service_of(self.process, self.state)

    def restart(self, **options: str) -> None:
        """End it in order, and start it again."""
        assert self.process.end() == 0, self.process.errors()
        self.start(**options)


def service_of(process: Process, state: Path) -> Service:
    """The API that a running `pinfold up` told of."""
    cloud = yaml.safe_load((state / "clouds.yaml").read_text())["clouds"]["pinfold"]
    return Service(process.told["url"], (cloud["auth"]["username"], cloud["auth"]["password"]))


@pytest.fixture(scope="module")
def fleet_lab(lab_name: str, lab_possible: None) -> Iterator[LabHost]:
    """One synthetic lab host for the tests of a module."""
    with LabHost(f"{lab_name}-up", topology=host(TOPOLOGY)) as lab:
        yield lab


@pytest.fixture
def up(fleet_lab: LabHost, lab_name: str, tmp_path: Path) -> Iterator[UpRig]:
    """`pinfold up` on SQLite, with nothing on it yet; its guests end with the test."""
    tmp_path.chmod(0o711)
    state, name = tmp_path / "state", f"{lab_name}-a"
    config = tmp_path / "pinfold.conf"
    config.write_text(configuration(fleet_lab, state, host=name, pinfold_api=QUICK, pinfold_agent="sweep_seconds = 1"))
    process = Process(("up", "--port", "0", "--config", str(config)), tmp_path, "up")
    with ending(process):
        process.start()
        rig = UpRig(lab=fleet_lab, process=process, host=name, state=state, api=service_of(process, state))
        yield rig
    sweep(fleet_lab)


def sweep(lab: LabHost) -> None:
    """End every guest of a lab, whoever started it."""
    from tests.real.fleet.rig import defined, virsh

    lab.start_daemon()
    for guest in domains(lab):
        virsh(lab, "destroy", guest)
    for guest in defined(lab):
        virsh(lab, "undefine", guest)
    until(lambda: not domains(lab), "no guest is left")


@pytest.fixture(scope="session")
def probe_rom(tmp_path_factory: pytest.TempPathFactory, lab_possible: None) -> Path:
    """The image that the tests' guests boot."""
    return rom.write(tmp_path_factory.mktemp("images") / "probe.rom")

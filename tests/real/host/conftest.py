"""The benches of the suites in this folder. The labs that they stand on are in `tests/real/conftest.py`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.real.host.bench import Bench, pools

from pinfold.core.settings import HostSettings
from pinfold.drivers.libvirt.driver import LibvirtDriver
from pinfold.host.stop import stop
from pinfold.lab.daemon import LabHost
from pinfold.lab.witness import witness_of


@pytest.fixture
def bench(lab: LabHost, idle_rom: Path, tmp_path: Path) -> Iterator[Bench]:
    """The lab host with no guest on it, before and after."""
    yield from _bench(lab, idle_rom, tmp_path)


@pytest.fixture
def synthetic_bench(synthetic_lab: LabHost, idle_rom: Path, tmp_path: Path) -> Iterator[Bench]:
    """The same on the synthetic host of 32 pCPUs."""
    yield from _bench(synthetic_lab, idle_rom, tmp_path)


@pytest.fixture
def own_bench(lab_name: str, lab_possible: None, idle_rom: Path, tmp_path: Path) -> Iterator[Bench]:
    """A lab host for one test alone, which may ruin it."""
    with LabHost(f"{lab_name}-own", cgroups=False) as lab:
        settings = _settings(lab, tmp_path)
        driver = LibvirtDriver(lab.uri)
        try:
            yield Bench(lab=lab, driver=driver, settings=settings, rom=idle_rom)
        finally:
            driver.close()


def _settings(lab: LabHost, tmp_path: Path) -> HostSettings:
    tmp_path.chmod(0o711)
    settings = HostSettings(uri=lab.uri, state_dir=str(tmp_path / "state"), pools=pools(shared="0", dedicated="1"))
    return replace(settings, limits=replace(settings.limits, reserved_memory_mib=0))


def _bench(lab: LabHost, idle_rom: Path, tmp_path: Path) -> Iterator[Bench]:
    settings = _settings(lab, tmp_path)
    driver = LibvirtDriver(lab.uri, witness=witness_of(lab.uri))
    try:
        yield Bench(lab=lab, driver=driver, settings=settings, rom=idle_rom)
    finally:
        for guest in driver.guests():
            if guest.record is not None:
                stop(driver, settings, guest.id, remove=True)
            else:
                driver.stop(guest.id, remove=True)
        driver.close()

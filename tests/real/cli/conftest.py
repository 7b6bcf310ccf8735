"""The command `pinfold` as a process of its own, forked from one that has imported it. The labs are in `tests/real/conftest.py`."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.rig import loaded

from pinfold.drivers.libvirt.driver import LibvirtDriver
from pinfold.lab import user_files
from pinfold.lab.daemon import LabHost

Pinfold = Callable[..., "subprocess.CompletedProcess[str]"]

FLAVORS = tuple(replace(flavor, vcpus=1, ram_mib=64) for flavor in user_files.FLAVORS if flavor.name in ("pinned", "share", "isolate"))
"""Small enough for the machine's own topology."""


def change_pools(folder: Path, shared: str, dedicated: str) -> None:
    """Other pools in the configuration."""
    config = folder / "pinfold.conf"
    text = re.sub(r"cpu_shared_set = .*", f"cpu_shared_set = {shared}", config.read_text())
    config.write_text(re.sub(r"cpu_dedicated_set = .*", f"cpu_dedicated_set = {dedicated}", text))


@pytest.fixture
def pinfold(synthetic_lab: LabHost, tmp_path: Path) -> Iterator[Pinfold]:
    """Run one command line on the synthetic host of 32 pCPUs: 0-1 and 16-17 shared, the others dedicated."""
    yield from _pinfold(synthetic_lab, tmp_path, shared="0-1,16-17", dedicated="2-15,18-31")


@pytest.fixture
def real_pinfold(lab: LabHost, tmp_path: Path) -> Iterator[Pinfold]:
    """Run one command line on the machine's own topology: pCPU 0 shared, pCPU 1 dedicated."""
    yield from _pinfold(lab, tmp_path, shared="0", dedicated="1")


def _pinfold(lab: LabHost, folder: Path, *, shared: str, dedicated: str) -> Iterator[Pinfold]:
    folder.chmod(0o711)
    (folder / "flavors.toml").write_text(user_files.flavors_file(FLAVORS))
    config = folder / "pinfold.conf"
    config.write_text(
        f"[compute]\ncpu_shared_set = {shared}\ncpu_dedicated_set = {dedicated}\n"
        "[DEFAULT]\nreserved_host_memory_mb = 0\n"
        f"[libvirt]\nconnection_uri = {lab.uri}\n"
        "[pinfold]\nstate_dir = state\nflavors_file = flavors.toml\n"
    )
    environment = loaded.importing() | {"PINFOLD_CONFIG": str(config), "COLUMNS": "100"}

    def _run(*argv: str, status: int = 0, **more: str) -> subprocess.CompletedProcess[str]:
        done = loaded.run("pinfold", argv, environment | more)
        assert done.returncode == status, (argv, done.stdout, done.stderr)
        return done

    try:
        yield _run
    finally:
        driver = LibvirtDriver(lab.uri)
        for guest in driver.guests():
            driver.stop(guest.id, remove=True)
        driver.close()

"""The memory of real guests that other processes can map: what QEMU was started with, and that another process sees what the guest has."""

from __future__ import annotations

import mmap
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.real.driver.conftest import driver_on
from tests.real.driver.guests import MEMORY_MIB, floating, pinned

from pinfold.core import host_features
from pinfold.core.request.guest_hardware import GuestHardware
from pinfold.drivers.libvirt.driver import LibvirtDriver
from pinfold.drivers.port import GuestSpec
from pinfold.lab.daemon import LabHost
from pinfold.linux import procfs

_TEMPLATE = "<domain type='qemu'><os><type arch='x86_64' machine='q35'>hvm</type></os></domain>"


@pytest.fixture(scope="module")
def emulating_lab(lab_name: str, lab_possible: None) -> Iterator[LabHost]:
    """One lab host without KVM."""
    with LabHost(f"{lab_name}-shared", kvm=False) as host:
        yield host


@pytest.fixture
def driver(emulating_lab: LabHost) -> Iterator[LibvirtDriver]:
    """A driver on it."""
    with driver_on(emulating_lab) as connected:
        yield connected


def _guest(kind: str, rom: Path, *, shared: bool) -> GuestSpec:
    made = {
        "without cells": lambda: floating(rom),
        "with a cell": lambda: pinned(rom),
        "of a template": lambda: pinned(rom, template=_TEMPLATE),
    }[kind]()
    hardware = GuestHardware(shared_memory=True) if shared else made.request.hardware
    return replace(made, request=replace(made.request, hardware=hardware))


def _backing(pid: int) -> str:
    """What QEMU was told of the guest's memory."""
    found = [argument for argument in procfs.arguments(pid) if "memory-backend" in argument and "qom-type" in argument]
    assert len(found) <= 1
    return found[0] if found else ""


@pytest.mark.parametrize("kind", ["without cells", "with a cell", "of a template"])
def test_qemu_shares_the_memory_of_a_guest_that_asks_for_it(driver: LibvirtDriver, idle_rom: Path, kind: str) -> None:
    assert host_features.SHARED_MEMORY in driver.features()
    spec = _guest(kind, idle_rom, shared=True)
    pid = driver.start(spec).pid
    assert pid is not None
    told = _backing(pid)
    assert re.search(r'"share":true', told), told
    assert driver.shape(spec.id).shared
    (memory,) = (one for one in Path(f"/proc/{pid}/fd").iterdir() if "memory-backend-memfd" in os.readlink(one))
    with open(memory, "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        assert len(mapped) == MEMORY_MIB << 20


def test_no_other_guest_shares_its_memory(driver: LibvirtDriver, idle_rom: Path) -> None:
    spec = _guest("with a cell", idle_rom, shared=False)
    pid = driver.start(spec).pid
    assert pid is not None
    assert '"share":true' not in _backing(pid)
    assert not driver.shape(spec.id).shared

"""Lab hosts and a guest to boot, for every suite on a real libvirt. Without root, libvirt or QEMU these suites are skipped, and say why."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pinfold.core.cpuset import CpuSet
from pinfold.core.topology import HostCell, PagePool, Topology
from pinfold.lab import rom
from pinfold.lab.daemon import LabHost, missing


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of lab host that the suites run on."""

    kvm: bool
    cgroups: bool

    def __str__(self) -> str:
        return f"{'kvm' if self.kvm else 'tcg'}-{'cgroups' if self.cgroups else 'no-cgroups'}"


KINDS = tuple(Kind(kvm=kvm, cgroups=cgroups) for kvm in (True, False) for cgroups in (True, False))
HAS_KVM = os.path.exists("/dev/kvm")
# Where there is KVM, it shows what cgroups do, and TCG what emulation does: TCG with cgroups would add time and hardly anything else.
_KINDS = [pytest.param(kind, marks=pytest.mark.slow if HAS_KVM and not kind.kvm and kind.cgroups else (), id=str(kind)) for kind in KINDS]

_EMULATION_MATTERS = ("driver", "host/test_policies.py", "test_lab.py")
"""Where QEMU's threads themselves are tested, with the emulation's: what the driver sees and does, and where threads run by each policy.

What stands above the driver knows no accelerator: where there is KVM, its suites run under TCG in the long form alone.
"""

_CGROUPS_SUFFICE = tuple(f"host/test_{name}.py" for name in ("adopt", "hostile_names", "races", "remote", "replace", "save", "top"))
"""Whose tests expect the same with and without cpuset cgroups. Where there are some, as on real hosts, these run without in the long form.

Without cgroups threads are moved and watched in tests/real/driver, and in the tests of policies, repairs, pools, failures and strangers.
"""

HANGS_SECONDS = 900
"""A test that takes so long hangs. Real parts on a busy machine take their time."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test that needs a lab host, and give all tests of this folder time."""
    folder = Path(__file__).parent
    for item in items:
        if folder in item.path.parents and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(HANGS_SECONDS))
        if "lab_possible" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.real_libvirt)
        kind = item.callspec.params.get("lab") if isinstance(item, pytest.Function) and hasattr(item, "callspec") else None
        if HAS_KVM and isinstance(kind, Kind) and _adds_little(kind, item.path, folder):
            item.add_marker(pytest.mark.slow)


def _adds_little(kind: Kind, file: Path, folder: Path) -> bool:
    """Whether what another kind of lab shows of this file is enough for each run."""
    if not kind.kvm:
        return not any(file.is_relative_to(folder / name) for name in _EMULATION_MATTERS)
    return not kind.cgroups and any(file == folder / name for name in _CGROUPS_SUFFICE)


@pytest.fixture(scope="session")
def lab_name() -> str:
    """The beginning of the names of this process's labs."""
    return f"t{os.getpid()}"


@pytest.fixture(scope="session")
def lab_possible() -> None:
    """Skip where no lab can be had."""
    lacking = missing()
    if lacking:
        pytest.skip(f"a lab needs {'; '.join(lacking)}")


@pytest.fixture(scope="module", params=_KINDS)
def lab(request: pytest.FixtureRequest, lab_name: str, lab_possible: None) -> Iterator[LabHost]:
    """A lab host with the machine's own topology, one for each of KVM and TCG, with and without cgroups."""
    kind: Kind = request.param
    if kind.kvm and not HAS_KVM:
        pytest.skip("this machine has no /dev/kvm")
    with LabHost(f"{lab_name}-{kind}", kvm=kind.kvm, cgroups=kind.cgroups) as host:
        yield host


@pytest.fixture(scope="module")
def synthetic_lab(lab_name: str, lab_possible: None) -> Iterator[LabHost]:
    """A lab host of two cells with eight cores of two threads each: pCPUs 0-15 and 16-31, siblings side by side."""
    with LabHost(f"{lab_name}-synthetic", topology=two_cells()) as host:
        yield host


@pytest.fixture(autouse=True)
def _witness(request: pytest.FixtureRequest) -> None:
    """Say which witness a test on a lab host had."""
    for name in ("lab", "synthetic_lab"):
        if name in request.fixturenames:
            host: LabHost = request.getfixturevalue(name)
            confined = "no cgroups" if host.cgroups == "none" else f"cgroup {host.cgroups}"
            source = f", {host.witness}" if host.synthetic else ""
            request.node.user_properties.append(("witness", f"{'KVM' if host.kvm else 'TCG'}, {confined}{source}"))


@pytest.fixture(scope="session")
def idle_rom(tmp_path_factory: pytest.TempPathFactory, lab_possible: None) -> Path:
    """A ROM whose guest boots in a tenth of a second, says PROBE-UP on its serial line, and sleeps."""
    return rom.write(tmp_path_factory.mktemp("rom") / "idle.rom")


@pytest.fixture(scope="session")
def disk_rom(tmp_path_factory: pytest.TempPathFactory, lab_possible: None) -> Path:
    """A ROM whose guest reads from its virtio disk a thousand times a second, so that QEMU makes worker threads."""
    reading = rom.Parameters(behaviour=rom.Behaviour.TICK, io=rom.Io.DISK, io_depth=8)
    return rom.write(tmp_path_factory.mktemp("rom") / "disk.rom", reading)


def two_cells() -> Topology:
    """The topology of the synthetic lab."""
    cells = []
    for cell in range(2):
        cores = tuple(CpuSet.of(cpu, cpu + 1) for cpu in range(16 * cell, 16 * cell + 16, 2))
        pages = (PagePool(size_kib=4, total=16 * 1024 * 256),)
        cells.append(HostCell(id=cell, cores=cores, sockets=(cell,) * 8, memory_mib=16 * 1024, pages=pages))
    return Topology(cells=tuple(cells))

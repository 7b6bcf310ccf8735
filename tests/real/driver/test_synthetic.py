"""The driver on a host of 32 made-up pCPUs: the lab's records are the witness, and are named as such."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from pinfold.core.cpuset import CpuSet
from pinfold.core.fit.answer import EmulatorPlacement, Fit, FitCell
from pinfold.core.overhead import masks
from pinfold.core.request.model import CpuPolicy, EmulatorPolicy, GuestCell, GuestRequest
from pinfold.drivers.kvm import thread_moves
from pinfold.drivers.libvirt.driver import LibvirtDriver
from pinfold.drivers.port import Boot, GuestSpec, Record
from pinfold.lab.daemon import LabHost
from pinfold.lab.witness import witness_of


@pytest.fixture
def synthetic(synthetic_lab: LabHost) -> Iterator[LibvirtDriver]:
    driver = LibvirtDriver(synthetic_lab.uri, witness=witness_of(synthetic_lab.uri))
    try:
        yield driver
    finally:
        for guest in driver.guests():
            driver.stop(guest.id, remove=True)
        driver.close()


def two_cells(rom: Path) -> GuestSpec:
    """Two guest cells, two vCPUs each, the emulator on a pool in the other part of the host."""
    cells = tuple(
        FitCell(
            guest_cell=index,
            host_cell=index,
            pins=((2 * index, 16 * index + 8), (2 * index + 1, 16 * index + 9)),
            memory_mib=8,
        )
        for index in (0, 1)
    )
    fit = Fit(vcpus=4, memory_mib=16, cells=cells, emulator_placement=EmulatorPlacement.POOL, emulator=CpuSet.parse("0-3,16-19"))
    guest = str(uuid.uuid4())
    request = GuestRequest(
        vcpus=4,
        memory_mib=16,
        cpu_policy=CpuPolicy.DEDICATED,
        emulator_policy=EmulatorPolicy.SHARE,
        cells=tuple(
            GuestCell(id=index, vcpus=CpuSet.of(2 * index, 2 * index + 1), dedicated=CpuSet.of(2 * index, 2 * index + 1), memory_mib=8)
            for index in (0, 1)
        ),
    )
    record = Record(guest=guest, policy=EmulatorPolicy.SHARE, fit=fit)
    return GuestSpec(name="wide", request=request, record=record, boot=Boot(rom=str(rom), iothreads=1))


def test_the_made_up_topology_is_read(synthetic: LibvirtDriver) -> None:
    topology = synthetic.topology()
    assert (str(topology.online), topology.offline, topology.threads_per_core) == ("0-31", CpuSet(), 2)
    assert [str(cell.cpus) for cell in topology.cells] == ["0-15", "16-31"]


def test_what_was_asked_of_every_thread_is_what_was_recorded(synthetic: LibvirtDriver, idle_rom: Path) -> None:
    spec = two_cells(idle_rom)
    guest = synthetic.start(spec)
    synthetic.resume(spec.id)
    observation = synthetic.observe(guest)
    assert observation.witness == "lab records (synthetic)"
    kinds = {thread.thread_class.value for thread in thread_moves.misplaced(observation, masks(spec.record.fit))}
    assert kinds <= {"kthread"}
    assert {thread.vcpu: str(thread.allowed) for thread in observation.threads if thread.vcpu is not None} == {
        0: "8",
        1: "9",
        2: "24",
        3: "25",
    }

"""`TC tc-ram-nodeN`, a real QEMU's thread that makes a cell's huge pages, beside the audit, the proof and a pin: it is left where it is.

The host is synthetic: libvirt and QEMU ask for a real thread context, whose affinity the lab records, and no page is taken.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.real.host.bench import DEDICATED, Bench, pools
from tests.real.host.domains import virsh

from pinfold.core.cpuset import CpuSet
from pinfold.core.overhead import ThreadClass
from pinfold.core.settings import HostSettings
from pinfold.core.topology import HostCell, PagePool, Topology
from pinfold.drivers.libvirt.driver import LibvirtDriver
from pinfold.drivers.port import Observation
from pinfold.host.audit import audit
from pinfold.host.stop import stop
from pinfold.host.verify import GuestOrigin
from pinfold.lab.daemon import LabHost
from pinfold.lab.witness import witness_of

HUGE = DEDICATED | {"hw:emulator_threads_policy": "share", "hw:mem_page_size": "2MB"}


@pytest.fixture(scope="module")
def synthetic_lab(lab_name: str, lab_possible: None) -> Iterator[LabHost]:
    """Two cells of four pCPUs, 256 huge pages each."""
    cells = []
    for cell in range(2):
        pages = (PagePool(size_kib=4, total=512 * 256), PagePool(size_kib=2048, total=256))
        cores = tuple(CpuSet.of(cpu) for cpu in range(4 * cell, 4 * cell + 4))
        cells.append(HostCell(id=cell, cores=cores, sockets=(cell,) * 4, memory_mib=1024, pages=pages))
    with LabHost(f"{lab_name}-huge", topology=Topology(cells=tuple(cells))) as host:
        yield host


@pytest.fixture
def bench(synthetic_lab: LabHost, idle_rom: Path, tmp_path: Path) -> Iterator[Bench]:
    """The shared pool lies in cell 0 alone; only cell 1 has dedicated pCPUs."""
    tmp_path.chmod(0o711)
    settings = HostSettings(uri=synthetic_lab.uri, state_dir=str(tmp_path / "state"), pools=pools(shared="0-1", dedicated="4-7"))
    settings = replace(settings, limits=replace(settings.limits, reserved_memory_mib=0))
    driver = LibvirtDriver(synthetic_lab.uri, witness=witness_of(synthetic_lab.uri))
    try:
        yield Bench(lab=synthetic_lab, driver=driver, settings=settings, rom=idle_rom)
    finally:
        for guest in driver.guests():
            if guest.record is not None:
                stop(driver, settings, guest.id, remove=True)
            else:
                driver.stop(guest.id, remove=True)
        driver.close()


def contexts(observation: Observation) -> dict[str, str]:
    """The thread contexts of a guest, and where each may run."""
    return {thread.name: str(thread.allowed) for thread in observation.threads if thread.thread_class is ThreadClass.THREAD_CONTEXT}


def test_a_guest_of_ours_keeps_its_thread_context_on_the_memory_s_cell_and_nothing_is_found(bench: Bench) -> None:
    started = bench.start(bench.order("huge", HUGE))
    assert (str(started.masks.overhead), contexts(started.observation)) == ("0-1", {"TC tc-ram-node0": "4-7"})
    bench.driver.pin(started.guest.id, started.masks)
    assert contexts(bench.driver.observe(bench.guest("huge"))) == {"TC tc-ram-node0": "4-7"}
    assert [finding.sentence() for guest in audit(bench.driver, bench.settings).guests for finding in guest.findings] == []


def test_a_floating_domain_of_somebody_else_s_is_not_said_to_float_over_dedicated_pcpus(bench: Bench, tmp_path: Path) -> None:
    text = f"""<domain type='{"kvm" if bench.lab.kvm else "qemu"}'><name>other</name><memory unit='MiB'>16</memory>
    <memoryBacking><hugepages/></memoryBacking><vcpu placement='static' cpuset='0-1'>1</vcpu>
    <numatune><memory mode='strict' nodeset='1'/></numatune><os><type arch='x86_64' machine='pc'>hvm</type>
    <loader readonly='yes' type='rom'>{bench.rom}</loader></os><devices><emulator>/usr/bin/qemu-system-x86_64</emulator>
    <controller type='usb' model='none'/><memballoon model='none'/></devices></domain>"""
    (tmp_path / "other.xml").write_text(text)
    virsh(bench, "define", str(tmp_path / "other.xml"))
    virsh(bench, "start", "other")
    (judged,) = audit(bench.driver, bench.settings).guests
    assert judged.origin is GuestOrigin.OTHER
    assert judged.observation is not None
    assert contexts(judged.observation) == {"TC tc-pc.ram": "4-7"}
    assert [finding.sentence() for finding in judged.findings] == []

"""What this repository promises, where a sandbox's kernel cannot show it: huge pages of a cell and realtime vCPUs under cgroup v2.

Run in the small machine, by name (`pytest tests/machine/small/inside/policies.py`); it is not collected anywhere else.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import structs
from tests.real.host.bench import DEDICATED, Bench, allowed, pools

from pinfold.core.drift import FindingCode
from pinfold.core.overhead import ThreadClass
from pinfold.core.settings import HostSettings
from pinfold.drivers.libvirt.driver import LibvirtDriver
from pinfold.drivers.port import Boot
from pinfold.host.audit import audit
from pinfold.host.start import restart
from pinfold.host.stop import stop
from pinfold.lab import rom
from pinfold.lab.daemon import LabHost

SHARE = DEDICATED | {"hw:emulator_threads_policy": "share"}
HUGE = {"hw:mem_page_size": "2MB"}


@pytest.fixture(scope="module")
def lab() -> Iterator[LabHost]:
    with LabHost("policies") as host:
        assert host.cgroups == "v2"
        yield host


@pytest.fixture
def bench(lab: LabHost, tmp_path: Path) -> Iterator[Bench]:
    """The shared pool lies in cell 0 alone; the dedicated pCPUs in cell 1."""
    tmp_path.chmod(0o711)
    settings = HostSettings(uri=lab.uri, state_dir=str(tmp_path / "state"), pools=pools(shared="0-1", dedicated="4-7"))
    settings = structs.replace(settings, limits=structs.replace(settings.limits, reserved_memory_mib=0))
    driver = LibvirtDriver(lab.uri)
    try:
        yield Bench(lab=lab, driver=driver, settings=settings, rom=rom.write(tmp_path / "idle.rom"))
    finally:
        for guest in driver.guests():
            stop(driver, settings, guest.id, remove=True)
        driver.close()


def sentences(bench: Bench) -> list[str]:
    """What an audit of the host finds."""
    found = audit(bench.driver, bench.settings)
    return [finding.sentence() for guest in found.guests for finding in guest.findings]


def test_a_share_guest_on_huge_pages_of_a_cell_without_a_pool_starts_and_starts_again(bench: Bench) -> None:
    started = bench.start(bench.order("huge", SHARE | HUGE))
    assert {str(t.allowed) for t in started.observation.threads if t.thread_class is ThreadClass.EMULATOR} == {"0-1"}
    (context,) = (t for t in started.observation.threads if t.thread_class is ThreadClass.THREAD_CONTEXT)
    assert context.name == "TC tc-ram-node0"
    pages = Path(f"/proc/{started.guest.pid}/numa_maps").read_text()
    huge = [line for line in pages.splitlines() if "huge" in line and "ram-node0" in line]
    assert [re.findall(r"N\d=\d+", line) for line in huge] == [["N1=8"]]
    assert sentences(bench) == []
    stop(bench.driver, bench.settings, started.guest.id, remove=False)
    again = restart(bench.driver, bench.settings, "huge")
    assert {str(t.allowed) for t in again.observation.threads if t.thread_class is ThreadClass.EMULATOR} == {"0-1"}
    assert sentences(bench) == []


def test_started_by_libvirt_alone_the_same_guest_is_refused_by_qemu(bench: Bench) -> None:
    started = bench.start(bench.order("huge", SHARE | HUGE))
    stop(bench.driver, bench.settings, started.guest.id, remove=False)
    done = subprocess.run(["virsh", "-q", "-c", bench.lab.uri, "start", "huge"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Setting CPU affinity failed: Invalid argument" in done.stderr


def test_a_template_that_wants_small_pages_at_once_starts_on_a_cell_without_a_pool_too(bench: Bench) -> None:
    template = f"""<domain type='{"kvm" if bench.lab.kvm else "qemu"}'><memoryBacking><allocation mode='immediate'/></memoryBacking>
    <os><type arch='x86_64' machine='pc'>hvm</type><loader readonly='yes' type='rom'>{bench.rom}</loader></os>
    <devices><emulator>/usr/bin/qemu-system-x86_64</emulator><memballoon model='none'/></devices></domain>"""
    started = bench.start(structs.replace(bench.order("once", SHARE, boot=Boot()), template=template))
    assert [t.name for t in started.observation.threads if t.thread_class is ThreadClass.THREAD_CONTEXT] == ["TC tc-ram-node0"]
    assert {str(t.allowed) for t in started.observation.threads if t.thread_class is ThreadClass.EMULATOR} == {"0-1"}
    assert sentences(bench) == []


def test_isolate_over_two_cells_of_huge_pages_starts(bench: Bench) -> None:
    wide = bench.with_pools(shared="0,4", dedicated="1-3,5-7")
    specs = DEDICATED | HUGE | {"hw:emulator_threads_policy": "isolate", "hw:numa_nodes": "2"}
    started = wide.start(wide.order("wide", specs, vcpus=2))
    assert len(started.masks.overhead) == 1
    assert sentences(wide) == []


def test_realtime_vcpus_run_fifo_under_cgroup_v2_and_the_rest_does_not(bench: Bench) -> None:
    started = bench.start(bench.order("rt", SHARE | {"hw:cpu_realtime": "yes", "hw:cpu_realtime_mask": "^0"}, vcpus=2))
    schedulers = {thread.vcpu: thread.scheduler for thread in started.observation.threads if thread.thread_class is ThreadClass.VCPU}
    assert schedulers == {0: "other", 1: "fifo"}
    assert {t.scheduler for t in started.observation.threads if t.thread_class is not ThreadClass.VCPU} == {"other"}
    assert sentences(bench) == []


def test_a_pcpu_that_was_switched_off_comes_back_by_the_printed_command(bench: Bench) -> None:
    bench.start(bench.order("web", SHARE))
    (pin,) = bench.guest("web").pins.vcpus
    before = masks(bench)
    Path(f"/sys/devices/system/cpu/cpu{min(pin[1])}/online").write_text("0")
    try:
        found = audit(bench.driver, bench.settings).findings
        assert [finding.code for finding in found] == [FindingCode.PCPU_OFFLINE], [finding.sentence() for finding in found]
        subprocess.run(["sh", "-c", found[0].repair], check=True)
    finally:
        Path(f"/sys/devices/system/cpu/cpu{min(pin[1])}/online").write_text("1")
    assert sentences(bench) == []
    assert masks(bench) == before


def masks(bench: Bench) -> dict[str, set[str]]:
    """Where the threads of the guest may run, by name."""
    pid = bench.guest("web").pid
    assert pid is not None
    return allowed(pid)

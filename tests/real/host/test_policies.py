"""The policy table of the design on running guests, with procfs as the witness: KVM and TCG, with and without cpuset cgroups.

The machine's own topology is used, of which two pCPUs are enough: 0 and 1.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from tests.real.host.bench import DEDICATED, Bench, allowed
from tests.real.host.domains import virsh

from pinfold.core.drift import Finding, FindingCode, Severity
from pinfold.core.overhead import ThreadClass
from pinfold.drivers.port import Boot, GuestState
from pinfold.host.audit import audit
from pinfold.host.start import restart
from pinfold.host.stop import stop
from pinfold.host.verify import verify

SHARE = DEDICATED | {"hw:emulator_threads_policy": "share"}
ISOLATE = DEDICATED | {"hw:emulator_threads_policy": "isolate"}
POOL = {"shared": "0", "dedicated": "1"}
NO_POOL = {"shared": None, "dedicated": "0-1"}

ROWS = [
    pytest.param(DEDICATED, POOL, "1", "1", id="unset with a pool floats over the guest's own"),
    pytest.param(DEDICATED, {"shared": None, "dedicated": "1"}, "1", "1", id="unset without a pool floats over the guest's own"),
    pytest.param(SHARE, POOL, "1", "0", id="share with a pool runs on it"),
    pytest.param(SHARE, {"shared": None, "dedicated": "1"}, "1", "1", id="share without a pool floats over the guest's own"),
    pytest.param(SHARE, {"shared": None, "dedicated": "1", "overhead": "0"}, "1", "0", id="share with a pool for overhead alone"),
    pytest.param(ISOLATE, NO_POOL, "0", "1", id="isolate has a pCPU of its own"),
    pytest.param({}, {"shared": "0", "dedicated": "1"}, "0", "0", id="a floating guest runs on the shared pool"),
]


def check(bench: Bench, name: str, vcpu: str, overhead: str) -> None:
    """Every thread of the guest's process is where the table says: by our verdict, and by procfs read without our code."""
    guest = bench.guest(name)
    assert guest.pid is not None
    verdict = verify(bench.driver, bench.settings, guest, online=bench.driver.topology().online)
    assert [finding.sentence() for finding in verdict.drift] == []
    masks = allowed(guest.pid)
    vcpus = {thread: mask for thread, mask in masks.items() if thread.startswith("CPU ")}
    others = {thread: mask for thread, mask in masks.items() if not thread.startswith(("CPU ", "kvm-"))}
    assert set.union(*vcpus.values()) == {vcpu}
    assert set.union(*others.values()) == {overhead}


def strayed(bench: Bench) -> list[Finding]:
    """The drift of every guest; other processes of this machine are not ours to judge here."""
    guests = audit(bench.driver, bench.settings).guests
    return [finding for guest in guests for finding in guest.findings if finding.severity is Severity.DRIFT]


@pytest.mark.parametrize(("specs", "pools", "vcpu", "overhead"), ROWS)
def test_every_thread_is_where_the_policy_says(
    bench: Bench, specs: dict[str, str], pools: dict[str, str | None], vcpu: str, overhead: str
) -> None:
    bench = bench.with_pools(**pools)
    started = bench.start(bench.order("web", specs))
    assert started.sight.witness == "procfs"
    assert started.guest.state is GuestState.RUNNING
    assert {thread.thread_class for thread in started.sight.threads} >= {ThreadClass.EMULATOR, ThreadClass.VCPU}
    check(bench, "web", vcpu, overhead)
    assert [finding for guest in audit(bench.driver, bench.settings).guests for finding in guest.findings] == []


@pytest.mark.parametrize(
    ("policy", "overhead"), [pytest.param({}, "0-1", id="unset"), pytest.param({"hw:emulator_threads_policy": "share"}, "0", id="share")]
)
def test_a_mixed_guest_floats_with_its_shared_vcpus(bench: Bench, policy: dict[str, str], overhead: str) -> None:
    started = bench.start(bench.order("mix", {"hw:cpu_policy": "mixed", "hw:cpu_dedicated_mask": "0"} | policy, vcpus=2))
    assert [str(cpus) for cpus in started.masks.vcpus] == ["1", "0"]
    masks = allowed(started.guest.pid or 0)
    assert {mask for name, found in masks.items() if name.startswith("CPU ") for mask in found} == {"0", "1"}
    assert {mask for name, found in masks.items() if not name.startswith(("CPU ", "kvm-")) for mask in found} == {overhead}


def test_pools_that_changed_under_a_running_guest_are_reported_and_nothing_is_moved(bench: Bench) -> None:
    bench.start(bench.order("web", SHARE))
    changed = bench.with_pools(shared="1", dedicated="0")
    assert [finding.sentence() for finding in strayed(changed)] == [
        "guest web: its pins lie on 1, outside the pool of today (0)",
        "guest web: its overhead threads lie on 0, outside the pool of today (1)",
    ]
    check(bench, "web", "1", "0")


def test_late_threads_stay_where_the_policy_says(bench: Bench, disk_rom: Path, tmp_path: Path) -> None:
    image, copy = tmp_path / "disk.img", tmp_path / "copy.img"
    image.write_bytes(os.urandom(16 << 20))
    started = bench.start(bench.order("busy", SHARE, boot=Boot(rom=str(disk_rom), disk=str(image))))
    known = {thread.tid for thread in started.sight.threads}
    # A copy of the disk, asked for by a client of the monitor, reads on many threads at once; they linger for ten seconds.
    virsh(bench, "blockcopy", "busy", "vda", str(copy), "--format", "raw", "--transient-job", "--wait", "--finish")
    sight = bench.driver.observe(bench.guest("busy"))
    late = [thread for thread in sight.threads if thread.tid not in known and thread.thread_class is ThreadClass.EMULATOR]
    assert {thread.name for thread in late} == {"worker"}
    assert {str(thread.allowed) for thread in late} == {"0"}
    check(bench, "busy", "1", "0")


def test_iothreads_run_with_the_overhead(bench: Bench) -> None:
    started = bench.start(bench.order("web", SHARE, boot=Boot(rom=str(bench.rom), iothreads=2)))
    places = [str(thread.allowed) for thread in started.sight.threads if thread.thread_class is ThreadClass.IOTHREAD]
    assert places == ["0", "0"]
    check(bench, "web", "1", "0")


def test_a_restart_of_libvirtd_moves_nothing_and_forgets_nothing(bench: Bench) -> None:
    started = bench.start(bench.order("web", SHARE))
    bench.lab.restart_daemon()
    check(bench, "web", "1", "0")
    guest = bench.guest("web")
    assert guest.pid == started.guest.pid
    assert guest.record is not None
    assert guest.record.fit == started.fit


def test_a_guest_that_is_stopped_and_started_comes_back_to_its_place(bench: Bench) -> None:
    started = bench.start(bench.order("web", SHARE))
    stop(bench.driver, bench.settings, "web")
    assert bench.guest("web").state is GuestState.STOPPED
    again = restart(bench.driver, bench.settings, "web")
    assert (again.fit, again.masks) == (started.fit, started.masks)
    check(bench, "web", "1", "0")


def test_pins_that_somebody_changed_while_the_guest_was_stopped_are_put_right_by_its_start(bench: Bench) -> None:
    bench.start(bench.order("web", SHARE))
    stop(bench.driver, bench.settings, "web")
    virsh(bench, "vcpupin", "web", "0", "0", "--config")
    virsh(bench, "emulatorpin", "web", "1", "--config")
    assert [finding.code for finding in strayed(bench)] == [FindingCode.DEFINITION_PINS] * 2
    restart(bench.driver, bench.settings, "web")
    check(bench, "web", "1", "0")


def test_a_thread_that_strays_is_found_and_the_printed_command_repairs_it(bench: Bench) -> None:
    started = bench.start(bench.order("web", SHARE))
    uri = bench.lab.uri
    subprocess.run(["virsh", "-q", "-c", uri, "emulatorpin", "web", "1", "--live"], check=True, capture_output=True)
    subprocess.run(["virsh", "-q", "-c", uri, "vcpupin", "web", "0", "0", "--live", "--config"], check=True, capture_output=True)
    drift = strayed(bench)
    assert {finding.code for finding in drift} == {FindingCode.EMULATOR_THREAD, FindingCode.VCPU_THREAD, FindingCode.DEFINITION_PINS}
    for finding in drift:
        subprocess.run(["sh", "-c", finding.repair], check=True, capture_output=True)
    assert [finding.sentence() for finding in strayed(bench)] == []
    assert started.guest.pid is not None
    check(bench, "web", "1", "0")


def test_a_scheduler_that_was_never_recorded_is_found_and_the_printed_command_repairs_it(bench: Bench) -> None:
    started = bench.start(bench.order("web", SHARE))
    vcpu = next(thread.tid for thread in started.sight.threads if thread.thread_class is ThreadClass.VCPU)
    done = subprocess.run(["chrt", "--fifo", "--pid", "1", str(vcpu)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"this machine grants no realtime scheduler there: {done.stderr.strip()}")
    (finding,) = strayed(bench)
    assert finding.sentence().endswith("runs under the scheduler fifo, recorded is other")
    subprocess.run(["sh", "-c", finding.repair], check=True, capture_output=True)
    assert strayed(bench) == []

"""The policy table (docs/reference/policies.md) on running guests, by procfs: KVM and TCG, with and without cpuset cgroups.

The machine's own topology is used, of which two pCPUs are enough: 0 and 1.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from tests.real.host.bench import DEDICATED, Bench, allowed
from tests.real.host.domains import virsh
from tests.real.patience import until

from pinfold.core.drift import Finding, FindingCode, Severity
from pinfold.core.overhead import ObservedThread, ThreadClass
from pinfold.drivers.port import Boot, GuestState
from pinfold.host.audit import audit
from pinfold.host.repair import repair
from pinfold.host.start import StartResult, restart
from pinfold.host.stop import stop
from pinfold.host.verify import Verdict, verify
from pinfold.linux import cgroup, procfs

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
    assert [finding.sentence() for finding in verdict_on(bench, name).drift] == []
    masks = allowed(guest.pid)
    vcpus = {thread: mask for thread, mask in masks.items() if thread.startswith("CPU ")}
    others = {thread: mask for thread, mask in masks.items() if not thread.startswith(("CPU ", "kvm-"))}
    assert set.union(*vcpus.values()) == {vcpu}
    assert set.union(*others.values()) == {overhead}


def verdict_on(bench: Bench, name: str) -> Verdict:
    """Our verdict on one guest as it is now."""
    return verify(bench.driver, bench.settings, bench.guest(name), online=bench.driver.topology().online)


def overhead_threads(seen: StartResult | Verdict) -> list[ObservedThread]:
    """The emulator's threads of a guest, its main thread and workers."""
    assert seen.observation is not None
    return [thread for thread in seen.observation.threads if thread.thread_class is ThreadClass.EMULATOR]


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
    assert started.observation.witness == "procfs"
    assert started.guest.state is GuestState.RUNNING
    assert {thread.thread_class for thread in started.observation.threads} >= {ThreadClass.EMULATOR, ThreadClass.VCPU}
    check(bench, "web", vcpu, overhead)
    # KVM makes a thread when the guest first runs, which on a busy machine is later than its start looks for it: that is a note, no drift.
    findings = [finding for guest in audit(bench.driver, bench.settings).guests for finding in guest.findings]
    assert [finding for finding in findings if not finding.thread.startswith("kvm-")] == []
    assert [finding for finding in findings if finding.severity is Severity.DRIFT] == []


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
    """All but a worker that QEMU makes while a vCPU's thread runs its block layer, as it may on a busy machine: that has the vCPU's place.

    Such a one is drift by the verdict, and a repair puts it where the policy says.
    """
    image, copy = tmp_path / "disk.img", tmp_path / "copy.img"
    image.write_bytes(os.urandom(16 << 20))
    started = bench.start(bench.order("busy", SHARE, boot=Boot(rom=str(disk_rom), disk=str(image))))
    known = {thread.tid for thread in started.observation.threads}
    # A copy of the disk, asked for by a client of the monitor, reads on many threads at once; they linger for ten seconds.
    virsh(bench, "blockcopy", "busy", "vda", str(copy), "--format", "raw", "--transient-job", "--wait", "--finish")
    verdict = verdict_on(bench, "busy")
    late: dict[int, ObservedThread] = {}

    def workers() -> bool:
        nonlocal verdict
        verdict = verdict_on(bench, "busy")
        late.clear()
        late.update({thread.tid: thread for thread in overhead_threads(verdict) if thread.tid not in known})
        # A new thread has its maker's name for a moment.
        return bool(late) and {thread.name for thread in late.values()} == {"worker"}

    until(workers, "there are workers")
    strays = {tid for tid, thread in late.items() if str(thread.allowed) != "0"}
    assert {str(late[tid].allowed) for tid in strays} <= {"1"}
    assert {tid for finding in verdict.drift for tid in finding.tids} == strays
    assert {finding.code for finding in verdict.drift} <= {FindingCode.EMULATOR_THREAD}

    def repaired() -> bool:
        done = repair(bench.driver, bench.settings, "busy")
        return done.complete and verdict_on(bench, "busy").drift == ()

    until(repaired, "all of them are where the policy says")


def test_a_worker_that_was_made_on_a_vcpu_is_reported_and_repaired(bench: Bench) -> None:
    started = bench.start(bench.order("web", SHARE))
    pid = started.guest.pid
    assert pid is not None
    vcpu = next(thread.tid for thread in started.observation.threads if thread.thread_class is ThreadClass.VCPU)
    worker = next(thread.tid for thread in overhead_threads(started) if thread.tid != pid)
    if bench.lab.cgroups == "none":
        os.sched_setaffinity(worker, {1})
    else:
        hierarchy = cgroup.cpuset_hierarchy()
        leaf = Path(hierarchy.root) / procfs.cpuset_path(pid, vcpu).lstrip("/")
        (leaf / ("tasks" if hierarchy.version is cgroup.CgroupVersion.V1 else "cgroup.threads")).write_text(str(worker))
    (finding,) = strayed(bench)
    assert (finding.code, finding.tid, finding.recorded, finding.observed) == (FindingCode.EMULATOR_THREAD, worker, "0", "1")
    (done,) = repair(bench.driver, bench.settings).done
    assert done.after.drift == ()
    check(bench, "web", "1", "0")


def test_iothreads_run_with_the_overhead(bench: Bench) -> None:
    started = bench.start(bench.order("web", SHARE, boot=Boot(rom=str(bench.rom), iothreads=2)))
    places = [str(thread.allowed) for thread in started.observation.threads if thread.thread_class is ThreadClass.IOTHREAD]
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
    assert [finding.code for finding in drift] == [FindingCode.DEFINITION_PINS] * 2
    for finding in drift:
        subprocess.run(["sh", "-c", finding.repair], check=True, capture_output=True)
    assert [finding.sentence() for finding in strayed(bench)] == []
    assert started.guest.pid is not None
    check(bench, "web", "1", "0")


def test_a_scheduler_that_was_never_recorded_is_found_and_the_printed_command_repairs_it(bench: Bench) -> None:
    started = bench.start(bench.order("web", SHARE))
    vcpu = next(thread.tid for thread in started.observation.threads if thread.thread_class is ThreadClass.VCPU)
    done = subprocess.run(["chrt", "--fifo", "--pid", "1", str(vcpu)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"this machine grants no realtime scheduler there: {done.stderr.strip()}")
    (finding,) = strayed(bench)
    assert finding.sentence().endswith("runs under the scheduler fifo, recorded is other")
    subprocess.run(["sh", "-c", finding.repair], check=True, capture_output=True)
    assert strayed(bench) == []

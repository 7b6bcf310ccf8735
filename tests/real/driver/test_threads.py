"""Every thread of a real guest, for every policy: after the start, under load, after a live pin. Witness: procfs, read without our code."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from pathlib import Path

import libvirt
import pytest
from msgspec.structs import replace
from tests.real.driver.guests import floating, pinned
from tests.real.patience import until

from pinfold.core.cpuset import CpuSet
from pinfold.core.errors import InvalidRequest
from pinfold.core.overhead import Masks, ThreadClass, masks
from pinfold.core.request.model import EmulatorPolicy
from pinfold.drivers.kvm import thread_moves
from pinfold.drivers.libvirt.driver import LibvirtDriver
from pinfold.drivers.port import Boot, GuestSpec, GuestState, HostGuest
from pinfold.lab.daemon import LabHost


def guest(driver: LibvirtDriver, spec: GuestSpec) -> HostGuest:
    return next(item for item in driver.guests() if item.id == spec.id)


def kernel_masks(pid: int) -> dict[int, set[int]]:
    """Thread id -> the pCPUs the kernel lets it run on, by sched_getaffinity(2)."""
    found = {}
    for tid in map(int, os.listdir(f"/proc/{pid}/task")):
        with contextlib.suppress(ProcessLookupError):
            found[tid] = set(os.sched_getaffinity(tid))
    return found


def check(driver: LibvirtDriver, spec: GuestSpec, wanted: Masks, *, busy: bool = False) -> None:
    """The driver's observation finds no thread misplaced, and the kernel says the same of every thread in it.

    Workers come and go between the two; so the two are compared when the same threads were there before and after it. Of a guest
    whose disk is `busy` one may be misplaced: QEMU makes a worker also while a vCPU's thread runs its block layer, and that has the vCPU's
    place. It is seen, and a pin brings it back.
    """
    seen = guest(driver, spec)
    pid = seen.pid
    assert pid is not None

    def in_place() -> bool:
        before = kernel_masks(pid)
        observation = driver.observe(seen)
        if before != kernel_masks(pid) or not observation.stable:
            return False
        assert observation.witness == "procfs"
        told = {thread.tid: set(thread.allowed) for thread in observation.threads}
        assert {tid: told.get(tid) for tid in before} == before
        assert [thread.vcpu for thread in observation.threads if thread.thread_class is ThreadClass.VCPU] == list(range(len(wanted.vcpus)))
        strays = thread_moves.misplaced(observation, wanted)
        if busy and strays:
            assert {thread.thread_class for thread in strays} == {ThreadClass.EMULATOR}
            assert {thread.allowed for thread in strays} <= set(wanted.vcpus)
            driver.pin(spec.id, wanted)
            return False
        assert strays == ()
        return True

    until(in_place, "the threads stay the same for the length of a look")


POLICIES = [
    pytest.param({"emulator": "1"}, id="unset"),
    pytest.param({"emulator": "0", "policy": EmulatorPolicy.SHARE}, id="share with a pool"),
    pytest.param({"emulator": "1", "policy": EmulatorPolicy.SHARE}, id="share without a pool"),
    pytest.param({"emulator": "0", "policy": EmulatorPolicy.ISOLATE}, id="isolate"),
    pytest.param({"vcpus": "0-1", "emulator": "0-1"}, id="two vCPUs"),
    pytest.param({"emulator": "0-1", "floating": "0"}, id="mixed"),
    pytest.param({"emulator": "0", "policy": EmulatorPolicy.SHARE, "boot": Boot(iothreads=2)}, id="iothreads"),
]


@pytest.mark.parametrize("how", POLICIES)
def test_every_thread_is_placed_before_and_after_the_guest_runs(driver: LibvirtDriver, idle_rom: Path, how: dict[str, object]) -> None:
    spec = pinned(idle_rom, **how)  # type: ignore[arg-type]
    started = driver.start(spec)
    assert (started.state, started.record, started.persistent) == (GuestState.PAUSED, spec.record, True)
    check(driver, spec, masks(spec.record.fit))
    driver.resume(spec.id)
    assert guest(driver, spec).state is GuestState.RUNNING
    time.sleep(0.1)
    check(driver, spec, masks(spec.record.fit))


def test_a_floating_guest_is_wholly_on_the_shared_pool(driver: LibvirtDriver, idle_rom: Path) -> None:
    spec = floating(idle_rom)
    driver.start(spec)
    driver.resume(spec.id)
    check(driver, spec, masks(spec.record.fit))


def test_a_live_pin_moves_every_thread_and_the_definition(driver: LibvirtDriver, disk_rom: Path, tmp_path: Path) -> None:
    image = tmp_path / "disk.img"
    image.touch()
    os.truncate(image, 64 << 20)
    spec = pinned(disk_rom, emulator="0", policy=EmulatorPolicy.SHARE, boot=Boot(disk=str(image), iothreads=1), vcpus="1")
    driver.start(spec)
    driver.resume(spec.id)
    time.sleep(0.5)
    swapped = Masks(vcpus=(CpuSet.of(0),), overhead=CpuSet.of(1))
    for wanted in (swapped, masks(spec.record.fit), swapped):
        driver.pin(spec.id, wanted)
        check(driver, spec, wanted, busy=True)
        time.sleep(0.2)
        check(driver, spec, wanted, busy=True)
    driver.stop(spec.id, remove=False)
    pins = guest(driver, spec).pins
    assert (pins.vcpus, pins.emulator, pins.placement) == (((0, CpuSet.of(0)),), CpuSet.of(1), CpuSet.of(1))
    assert pins.iothreads == ((1, CpuSet.of(1)),)


def test_threads_that_appear_later_inherit_the_overhead_set(driver: LibvirtDriver, disk_rom: Path, tmp_path: Path) -> None:
    image = tmp_path / "disk.img"
    image.touch()
    os.truncate(image, 64 << 20)
    spec = pinned(disk_rom, emulator="0", policy=EmulatorPolicy.SHARE, boot=Boot(disk=str(image)))
    driver.start(spec)
    before = {thread.tid for thread in driver.observe(guest(driver, spec)).threads}
    driver.resume(spec.id)

    def late() -> set[int]:
        subprocess.run(["virsh", "-q", "-c", driver.uri, "domstats", spec.name], check=True, capture_output=True)
        check(driver, spec, masks(spec.record.fit), busy=True)
        seen = driver.observe(guest(driver, spec)).threads
        return {thread.tid for thread in seen if thread.thread_class is ThreadClass.EMULATOR} - before

    until(late, "there is a new thread")


def test_an_iothread_that_is_added_later_takes_the_overhead_set(driver: LibvirtDriver, idle_rom: Path) -> None:
    spec = pinned(idle_rom, emulator="0", policy=EmulatorPolicy.SHARE)
    driver.start(spec)
    subprocess.run(["virsh", "-q", "-c", driver.uri, "iothreadadd", spec.name, "1", "--live"], check=True, capture_output=True)
    check(driver, spec, masks(spec.record.fit))
    seen = driver.observe(guest(driver, spec))
    assert [thread.thread_class for thread in seen.threads].count(ThreadClass.IOTHREAD) == 1


def test_without_libvirt_s_status_file_the_vcpus_are_known_all_the_same(
    driver: LibvirtDriver, idle_rom: Path, lab: LabHost, tmp_path: Path
) -> None:
    spec = pinned(idle_rom, emulator="0", policy=EmulatorPolicy.SHARE, boot=Boot(iothreads=1))
    driver.start(spec)
    known = guest(driver, spec)
    (tmp_path / "qemu").mkdir()
    shutil.copy(lab.run_dir / "qemu" / f"{spec.name}.pid", tmp_path / "qemu")
    other = LibvirtDriver(lab.uri, run_dir=str(tmp_path))
    try:
        until(lambda: other.observe(guest(other, spec)) == driver.observe(known), "both see the same, with no worker ending in between")
    finally:
        other.close()


def test_a_stray_thread_is_seen_and_brought_back(driver: LibvirtDriver, idle_rom: Path, lab: LabHost) -> None:
    spec = pinned(idle_rom, emulator="0", vcpus="1", policy=EmulatorPolicy.SHARE)
    pid = driver.start(spec).pid
    assert pid is not None
    if lab.cgroups != "none":
        # A cpuset cgroup keeps it in its place until somebody widens that.
        with pytest.raises(OSError, match="Invalid argument"):
            os.sched_setaffinity(pid, {1})
        return
    os.sched_setaffinity(pid, {0, 1})
    wanted = masks(spec.record.fit)
    assert [thread.tid for thread in thread_moves.misplaced(driver.observe(guest(driver, spec)), wanted)] == [pid]
    driver.pin(spec.id, wanted)
    check(driver, spec, wanted)


def test_absent_pcpus_are_refused_before_libvirt_sees_them(driver: LibvirtDriver, idle_rom: Path) -> None:
    spec = pinned(idle_rom, emulator="0,77", policy=EmulatorPolicy.SHARE)
    with pytest.raises(InvalidRequest, match="pCPU 77 is not online on this host"):
        driver.start(spec)
    assert driver.guests() == ()
    spec = pinned(idle_rom, emulator="0")
    driver.start(spec)
    with pytest.raises(InvalidRequest, match="pCPU 77-79 is not online"):
        driver.pin(spec.id, Masks(vcpus=(CpuSet.of(77),), overhead=CpuSet.of(78, 79)))
    with pytest.raises(InvalidRequest, match="pCPU 77 is not online"):
        driver.pin(spec.id, Masks(vcpus=(CpuSet.of(77),), overhead=CpuSet.of(0, 78)))
    check(driver, spec, masks(spec.record.fit))
    driver.pin(spec.id, replace(masks(spec.record.fit), overhead=CpuSet.of(0, 78)))
    check(driver, spec, masks(spec.record.fit))
    kept = guest(driver, spec).kept
    assert kept is not None and kept.emulator == CpuSet.of(0, 78)


def test_pins_for_another_number_of_vcpus_are_refused(driver: LibvirtDriver, idle_rom: Path) -> None:
    spec = pinned(idle_rom)
    driver.start(spec)
    with pytest.raises(InvalidRequest, match="has 1 vCPU, pins for 2 were given"):
        driver.pin(spec.id, Masks(vcpus=(CpuSet.of(0), CpuSet.of(1)), overhead=CpuSet.of(0)))


def may_lock_memory() -> bool:
    """Whether this process, and so its labs, has CAP_SYS_RESOURCE (bit 24)."""
    effective = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapEff:"))
    return bool(int(effective.split()[1], 16) >> 24 & 1)


def start_unlocked(driver: LibvirtDriver, spec: GuestSpec) -> None:
    """Start the very guest by libvirt alone, without locked memory."""
    connection = libvirt.open(driver.uri)
    try:
        text = driver.definition(spec)
        assert "<locked />" in text
        connection.defineXML(text.replace("<locked />", "")).createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)
    finally:
        connection.close()


def test_realtime_vcpus_run_fifo_and_without_a_pit(driver: LibvirtDriver, idle_rom: Path, lab: LabHost) -> None:
    spec = pinned(idle_rom, vcpus="1", emulator="0", policy=EmulatorPolicy.SHARE, realtime="0")
    if may_lock_memory() and lab.cgroups != "v1":
        driver.start(spec)
    else:
        with pytest.raises(InvalidRequest, match=r"locked memory|scheduler"):
            driver.start(spec)
        assert driver.guests() == ()
        if lab.cgroups == "v1":
            # RT group scheduling gives libvirt's cgroup no realtime budget there.
            with pytest.raises(libvirt.libvirtError, match="scheduler"):
                start_unlocked(driver, spec)
            return
        start_unlocked(driver, spec)
    driver.resume(spec.id)
    check(driver, spec, masks(spec.record.fit))
    threads = driver.observe(guest(driver, spec)).threads
    assert {thread.scheduler for thread in threads if thread.thread_class is ThreadClass.VCPU} == {"fifo"}
    assert not [thread for thread in threads if thread.name.startswith("kvm-pit")]


def test_a_guest_that_is_not_ours_is_seen_with_its_pins_and_left_alone(driver: LibvirtDriver, idle_rom: Path, tmp_path: Path) -> None:
    spec = pinned(idle_rom, emulator="0", boot=Boot(iothreads=1))
    text = driver.definition(replace(spec, name="theirs"))
    begin, end = text.index("  <metadata>"), text.index("</metadata>") + len("</metadata>\n")
    (tmp_path / "theirs.xml").write_text(text[:begin] + text[end:])
    subprocess.run(["virsh", "-q", "-c", driver.uri, "create", str(tmp_path / "theirs.xml")], check=True, capture_output=True)
    seen = guest(driver, spec)
    assert (seen.record, seen.problem, seen.persistent, seen.active) == (None, "", False, True)
    assert seen.pins.vcpus == ((0, CpuSet.of(1)),)
    observation = driver.observe(seen)
    classes = [thread.thread_class for thread in observation.threads]
    assert (classes.count(ThreadClass.VCPU), classes.count(ThreadClass.IOTHREAD)) == (1, 1)
    dumped = subprocess.run(["virsh", "-q", "-c", driver.uri, "dominfo", "theirs"], check=True, capture_output=True, text=True)
    assert "custom-monitor" not in dumped.stdout

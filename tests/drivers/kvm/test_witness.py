"""Observations of made-up processes, and what is remembered between two of them."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.linux.tree import add_process, add_thread

from pinfold.core.cpuset import CpuSet
from pinfold.core.overhead import ThreadClass
from pinfold.drivers.kvm import witness
from pinfold.drivers.port import Observation
from pinfold.linux import procfs

EMULATOR = "0::/machine.slice/a.scope/libvirt/emulator\n"
VCPU = "0::/machine.slice/a.scope/libvirt/vcpu0\n"


class Proc:
    """Process 7 with an emulator thread and a vCPU, observed again and again."""

    def __init__(self, proc: Path) -> None:
        self.proc = proc
        (proc / "self").mkdir()
        (proc / "self/mounts").write_text("")
        self.walks: witness.Walks = {}
        self.kernel = procfs.KernelThreads(proc=proc, clock=lambda: 0.0)
        self.fill()

    def fill(self, *, allowed: str = "0-1", cgroup: str = EMULATOR, start: int = 1000) -> None:
        add_process(self.proc, 7, comm="qemu-system-x86", cgroup=EMULATOR)
        add_thread(self.proc, 7, 7, comm="qemu-system-x86", allowed="0-1", cgroup=EMULATOR, start=start)
        add_thread(self.proc, 7, 8, comm="CPU 0/KVM", allowed="4", cgroup=VCPU)
        add_thread(self.proc, 7, 9, comm="worker", allowed=allowed, cgroup=cgroup)

    def observe(self, vcpus: dict[int, int] | None = None) -> Observation:
        return witness.observation(7, vcpus=vcpus or {8: 0}, iothreads=dict, kernel=self.kernel, walks=self.walks, proc=self.proc)


def test_a_process_that_has_not_changed_gives_the_same_observation(tmp_path: Path) -> None:
    seen = Proc(tmp_path)
    first = seen.observe()
    assert [thread.thread_class for thread in first.threads] == [ThreadClass.EMULATOR, ThreadClass.VCPU, ThreadClass.EMULATOR]
    assert seen.observe() is first


def test_a_thread_that_drifts_is_seen_though_the_process_is_known(tmp_path: Path) -> None:
    seen = Proc(tmp_path)
    seen.observe()
    seen.fill(allowed="0-3")
    assert seen.observe().threads[2].allowed == CpuSet.parse("0-3")


def test_a_thread_that_moves_into_a_vcpu_s_cgroup_is_seen_though_its_mask_stays(tmp_path: Path) -> None:
    seen = Proc(tmp_path)
    seen.observe()
    seen.fill(cgroup=VCPU)
    assert seen.observe().threads[2].leave_for


def test_what_libvirt_tells_of_vcpus_counts_though_the_threads_stay(tmp_path: Path) -> None:
    seen = Proc(tmp_path)
    seen.observe()
    assert [thread.vcpu for thread in seen.observe({8: 0, 9: 1}).threads] == [None, 0, 1]


def test_a_process_id_that_is_used_again_is_another_process(tmp_path: Path) -> None:
    seen = Proc(tmp_path)
    first = seen.observe()
    seen.fill(start=2000)
    again = seen.observe()
    assert again.threads == first.threads
    assert seen.walks[7][0].walk.threads[0].start_ticks == 2000
    shutil.rmtree(tmp_path / "7")
    assert seen.observe().threads == ()
    assert seen.walks == {}

"""Threads from recorded and made-up procfs trees."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.linux.tree import add_process, add_thread

from pinfold.core.cpuset import CpuSet
from pinfold.core.errors import Unavailable
from pinfold.linux import procfs

RECORDED = Path(__file__).parent / "recorded" / "kvm-guest-cgroup-v1" / "proc"
PID = 9155


def test_a_recorded_guest_s_threads_are_read_in_order() -> None:
    found = procfs.threads(PID, proc=RECORDED)
    assert [(thread.tid, thread.comm, str(thread.allowed)) for thread in found] == [
        (9155, "qemu-system-x86", "0"),
        (9159, "qemu-system-x86", "0"),
        (9160, "IO iothread1", "0"),
        (9161, "IO mon_iothread", "0"),
        (9162, "CPU 0/KVM", "1"),
        (9164, "kvm-nx-lpage-re", "0"),
    ]
    assert [thread.tid for thread in found if thread.in_kernel] == [9164]
    assert {thread.scheduler for thread in found} == {"other"}


def test_a_recorded_guest_s_kernel_threads_are_found_by_its_process_id() -> None:
    (pit,) = procfs.KernelThreads(proc=RECORDED).of(PID)
    assert (pit.tid, pit.comm, pit.in_kernel, pit.allowed) == (9163, f"kvm-pit/{PID}", True, CpuSet.of(1))
    assert procfs.KernelThreads(proc=RECORDED).of(1) == ()


def test_a_walk_that_finds_what_an_earlier_one_found_is_stable_at_once(tmp_path: Path) -> None:
    add_thread(tmp_path, 7, 7)
    walks = 0

    def also() -> tuple[procfs.Thread, ...]:
        nonlocal walks
        walks += 1
        return ()

    first = procfs.settled_threads(7, proc=tmp_path, also=also)
    assert (first.stable, walks) == (True, 2)
    assert procfs.settled_threads(7, proc=tmp_path, also=also, before=first.threads).threads is first.threads
    assert walks == 3
    add_thread(tmp_path, 7, 8)
    assert [thread.tid for thread in procfs.settled_threads(7, proc=tmp_path, also=also, before=first.threads).threads] == [7, 8]
    assert walks == 5


def test_a_process_that_is_gone_has_no_threads(tmp_path: Path) -> None:
    assert procfs.threads(4, proc=tmp_path) == ()
    assert procfs.start_ticks(4, proc=tmp_path) is None
    assert procfs.settled_threads(4, proc=tmp_path) == procfs.Walk(threads=())


def test_a_thread_that_ends_between_listing_and_reading_is_left_out(tmp_path: Path) -> None:
    add_thread(tmp_path, 7, 7)
    add_thread(tmp_path, 7, 8)
    (tmp_path / "7/task/8/status").unlink()
    assert [thread.tid for thread in procfs.threads(7, proc=tmp_path)] == [7]


def test_a_zombie_is_no_thread(tmp_path: Path) -> None:
    add_thread(tmp_path, 7, 7)
    add_thread(tmp_path, 7, 8, state="Z")
    assert [thread.tid for thread in procfs.threads(7, proc=tmp_path)] == [7]


def test_a_name_may_hold_blanks_and_brackets(tmp_path: Path) -> None:
    add_thread(tmp_path, 7, 7, comm=") S 1 (", policy=1, priority=3, allowed="0-3,8")
    (thread,) = procfs.threads(7, proc=tmp_path)
    assert (thread.comm, thread.scheduler, thread.priority, thread.allowed) == (") S 1 (", "fifo", 3, CpuSet.parse("0-3,8"))


def test_user_workers_and_io_workers_are_told_apart(tmp_path: Path) -> None:
    add_thread(tmp_path, 7, 7)
    add_thread(tmp_path, 7, 8, comm="vhost-7", flags=0x4000)
    add_thread(tmp_path, 7, 9, comm="iou-wrk-7", flags=0x4010)
    assert [(thread.in_kernel, thread.io_worker) for thread in procfs.threads(7, proc=tmp_path)] == [
        (False, False),
        (True, False),
        (True, True),
    ]


def test_a_walk_waits_for_late_threads(tmp_path: Path) -> None:
    add_thread(tmp_path, 7, 7)
    late: Iterator[int] = iter([8, 9])

    def also() -> tuple[procfs.Thread, ...]:
        if (tid := next(late, None)) is not None:
            add_thread(tmp_path, 7, tid)
        return ()

    walk = procfs.settled_threads(7, proc=tmp_path, also=also)
    assert ([thread.tid for thread in walk.threads], walk.stable) == ([7, 8, 9], True)


def test_a_walk_that_never_settles_says_so(tmp_path: Path) -> None:
    add_thread(tmp_path, 7, 7)
    tids = iter(range(8, 1000))

    def also() -> tuple[procfs.Thread, ...]:
        add_thread(tmp_path, 7, next(tids))
        return ()

    assert not procfs.settled_threads(7, proc=tmp_path, also=also).stable


def test_a_changed_mask_is_walked_again(tmp_path: Path) -> None:
    masks = iter(["0-1", "0"])

    def also() -> tuple[procfs.Thread, ...]:
        add_thread(tmp_path, 7, 7, allowed=next(masks, "0"))
        return ()

    (thread,) = procfs.settled_threads(7, proc=tmp_path, also=also).threads
    assert thread.allowed == CpuSet.of(0)


def test_old_kernels_vhost_and_nx_threads_are_kernel_threads(tmp_path: Path) -> None:
    add_process(tmp_path, 7, comm="qemu-system-x86", cgroup="3:cpuset:/machine/qemu-1/emulator\n")
    add_process(tmp_path, 20, comm="vhost-7", flags=0x200000)
    add_process(tmp_path, 21, comm="vhost-77", flags=0x200000)
    add_process(tmp_path, 22, comm="kvm-nx-lpage-re", flags=0x200000, cgroup="3:cpuset:/machine/qemu-1/vcpu0\n")
    add_process(tmp_path, 23, comm="kvm-nx-lpage-re", flags=0x200000, cgroup="3:cpuset:/machine/qemu-2/vcpu0\n")
    add_process(tmp_path, 24, comm="vhost-7")
    assert [thread.tid for thread in procfs.KernelThreads(proc=tmp_path).of(7)] == [20, 22]


def test_a_cut_name_without_a_cgroup_is_nobody_s(tmp_path: Path) -> None:
    add_process(tmp_path, 7, comm="qemu-system-x86", cgroup="0::/\n")
    add_process(tmp_path, 22, comm="kvm-nx-lpage-re", flags=0x200000, cgroup="0::/\n")
    assert procfs.KernelThreads(proc=tmp_path).of(7) == ()


def test_a_remembered_name_is_read_again_after_a_minute(tmp_path: Path) -> None:
    now = [0.0]
    kernel = procfs.KernelThreads(proc=tmp_path, clock=lambda: now[0])
    add_process(tmp_path, 20, comm="bash", flags=0x200000)
    assert kernel.of(7) == ()
    add_process(tmp_path, 20, comm="vhost-7", flags=0x200000)
    now[0] = 59
    assert kernel.of(7) == ()
    now[0] = 61
    assert [thread.tid for thread in kernel.of(7)] == [20]
    shutil.rmtree(tmp_path / "20")
    assert kernel.of(7) == ()


def test_a_kernel_thread_that_has_no_name_yet_is_not_remembered(tmp_path: Path) -> None:
    kernel = procfs.KernelThreads(proc=tmp_path, clock=lambda: 0.0)
    add_process(tmp_path, 20, comm="kthreadd", flags=0x200000)
    assert kernel.of(7) == ()
    add_process(tmp_path, 20, comm="kvm-pit/7", flags=0x200000)
    assert [thread.tid for thread in kernel.of(7)] == [20]


def test_processes_are_listed_again_once_the_kernel_has_given_out_an_id(tmp_path: Path) -> None:
    kernel = procfs.KernelThreads(proc=tmp_path, clock=lambda: 0.0)
    (tmp_path / "loadavg").write_text("0.1 0.1 0.1 1/300 19\n")
    assert kernel.of(7) == ()
    add_process(tmp_path, 20, comm="kvm-pit/7", flags=0x200000)
    assert kernel.of(7) == ()
    (tmp_path / "loadavg").write_text("0.1 0.1 0.1 1/301 20\n")
    assert [thread.tid for thread in kernel.of(7)] == [20]


def test_a_kernel_thread_without_a_name_is_looked_at_again_though_no_id_was_given_out(tmp_path: Path) -> None:
    kernel = procfs.KernelThreads(proc=tmp_path, clock=lambda: 0.0)
    (tmp_path / "loadavg").write_text("0.1 0.1 0.1 1/301 20\n")
    add_process(tmp_path, 20, comm="kthreadd", flags=0x200000)
    assert kernel.of(7) == ()
    add_process(tmp_path, 20, comm="kvm-pit/7", flags=0x200000)
    assert [thread.tid for thread in kernel.of(7)] == [20]


def test_processes_are_found_by_their_arguments(tmp_path: Path) -> None:
    lines = ("qemu\0-uuid\0abc\0-S\0", "grep\0xabc\0", "", "virsh\0console\0abc\0", "show\0-uuid\0x\0abc\0", "-uuid\0abc")
    for pid, arguments in enumerate(lines, start=7):
        add_process(tmp_path, pid)
        (tmp_path / str(pid) / "cmdline").write_text(arguments)
    assert procfs.processes_with("abc", proc=tmp_path) == (7, 10, 11, 12)
    assert procfs.processes_with("-uuid", "abc", proc=tmp_path) == (7, 12)
    assert procfs.process_ids(proc=tmp_path) == tuple(range(7, 13))
    assert procfs.arguments(7, proc=tmp_path) == ("qemu", "-uuid", "abc", "-S")


def test_a_kernel_thread_and_a_process_that_is_gone_have_no_arguments(tmp_path: Path) -> None:
    add_process(tmp_path, 7)
    (tmp_path / "7" / "cmdline").write_text("")
    assert procfs.arguments(7, proc=tmp_path) == procfs.arguments(8, proc=tmp_path) == ()


def test_processes_cannot_be_listed_without_procfs(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="absent cannot be read: No such file or directory"):
        procfs.process_ids(proc=tmp_path / "absent")


def test_this_process_is_seen_as_it_is() -> None:
    me = next(thread for thread in procfs.threads(os.getpid()) if thread.tid == os.getpid())
    assert set(me.allowed) == os.sched_getaffinity(0)
    assert me.scheduler == "other"
    assert procfs.start_ticks(os.getpid()) == me.start_ticks


def test_a_mask_that_changes_is_seen_in_a_thread_that_is_known() -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        whole = os.sched_getaffinity(process.pid)
        os.sched_setaffinity(process.pid, {min(whole)})
        (before,) = procfs.threads(process.pid)
        assert procfs.threads(process.pid, before=[before])[0] is before
        os.sched_setaffinity(process.pid, whole)
        (now,) = procfs.threads(process.pid, before=[before])
        assert set(now.allowed) == whole
        other = replace(before, start_ticks=before.start_ticks - 1, allowed=now.allowed)
        assert procfs.threads(process.pid, before=[other])[0] == now
        process.kill()
        process.wait()
        assert procfs.threads(process.pid, before=[before]) == ()


def test_what_may_not_be_read_is_unavailable(tmp_path: Path) -> None:
    add_thread(tmp_path, 7, 7)
    (tmp_path / "7/task/7/status").unlink()
    (tmp_path / "7/task/7/status").mkdir()
    with pytest.raises(Unavailable, match=f"{tmp_path}/7/task/7/status cannot be read"):
        procfs.threads(7, proc=tmp_path)


def test_a_list_longer_than_one_piece_is_read_whole(tmp_path: Path) -> None:
    add_thread(tmp_path, 7, 7, allowed=",".join(map(str, range(0, 8192, 2))))
    (thread,) = procfs.threads(7, proc=tmp_path)
    assert len(thread.allowed) == 4096


def test_the_folder_of_threads_stays_that_of_the_process_that_it_was_opened_for(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as process, procfs.task_folder(process.pid) as folder:
        assert procfs.read(f"{process.pid}/comm", folder=folder)
        process.kill()
        process.wait()
        assert procfs.read(f"{process.pid}/comm", folder=folder) is None
    with procfs.task_folder(7, proc=tmp_path) as folder:
        assert folder is None


@pytest.mark.parametrize(("text", "expected"), [("MemTotal: 1 kB\nHugepagesize:       2048 kB\n", 2048), ("MemTotal: 1 kB\n", None)])
def test_the_default_huge_page_is_read(tmp_path: Path, text: str, expected: int | None) -> None:
    (tmp_path / "meminfo").write_text(text)
    assert procfs.default_huge_page_kib(proc=tmp_path) == expected


def test_when_the_machine_was_started_is_read(tmp_path: Path) -> None:
    (tmp_path / "stat").write_text("cpu  1 2 3\nctxt 5\nbtime 1795841504\nprocesses 9\n")
    assert procfs.boot_time(proc=tmp_path) == 1795841504
    assert procfs.boot_time(proc=tmp_path / "absent") is None

"""Times of threads, processes and pCPUs from procfs, recorded and made up."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from tests.linux.tree import add_process, add_thread

from pinfold.core.usage import Times
from pinfold.linux import schedstat

RECORDED = Path(__file__).parent / "recorded" / "kvm-guest-cgroup-v1" / "proc"
PID = 9155


def test_how_long_a_thread_ran_and_waited_is_in_nanoseconds() -> None:
    times, outside = schedstat.thread_times(PID, [9162], proc=RECORDED)[9162]
    assert times.run_ns > 1_000_000
    assert times.slices > 10
    assert not outside


def test_every_thread_of_the_machine_has_its_process_name_times_and_last_pcpu(tmp_path: Path) -> None:
    fields = ["0"] * 50
    fields[0], fields[36] = "S", "11"
    for pid, tid, name in ((7, 7, "qemu (a) b"), (7, 8, "CPU 0/KVM")):
        add_thread(tmp_path, pid, tid)
        (tmp_path / f"{pid}/task/{tid}/stat").write_text(f"{tid} ({name}) {' '.join(fields)}\n")
        (tmp_path / f"{pid}/task/{tid}/schedstat").write_text(f"{tid} 6 5\n")
    add_thread(tmp_path, 9, 9)
    (tmp_path / "9/task/9/schedstat").unlink(missing_ok=True)
    assert schedstat.machine_threads(proc=tmp_path) == {
        7: (7, "qemu (a) b", Times(run_ns=7, wait_ns=6, slices=5), 11),
        8: (7, "CPU 0/KVM", Times(run_ns=8, wait_ns=6, slices=5), 11),
    }


def test_the_threads_of_this_machine_include_this_one() -> None:
    pcpus = os.sched_getaffinity(0)
    own = schedstat.machine_threads()[threading.get_native_id()]
    assert own.pid == os.getpid()
    assert own.times.run_ns > 0
    assert own.pcpu in pcpus


def test_a_thread_that_has_ended_is_left_out(tmp_path: Path) -> None:
    add_thread(tmp_path, 7, 7)
    (tmp_path / "7/task/7/schedstat").write_text("5 6 7\n")
    assert schedstat.thread_times(7, [7, 8], proc=tmp_path) == {7: (Times(run_ns=5, wait_ns=6, slices=7), False)}
    assert schedstat.process_times(8, proc=tmp_path) is None


def test_a_kernel_thread_that_serves_the_process_is_read_from_its_own_folder(tmp_path: Path) -> None:
    add_process(tmp_path, 90)
    (tmp_path / "90/schedstat").write_text("1 2 3\n")
    assert schedstat.thread_times(7, [90], proc=tmp_path) == {90: (Times(run_ns=1, wait_ns=2, slices=3), True)}


def test_a_process_is_told_by_its_beginning_and_its_time_is_that_of_all_its_threads(tmp_path: Path) -> None:
    fields = ["0"] * 50
    fields[0], fields[11], fields[12], fields[19] = "S", "30", "12", "777"
    (tmp_path / "7").mkdir()
    (tmp_path / "7/stat").write_text(f"7 (a ) (b) {' '.join(fields)}\n")
    found = schedstat.process_times(7, proc=tmp_path)
    assert found is not None
    assert found[0] == 777
    assert found[1] == 42 * schedstat._NS_PER_TICK


def test_a_pcpu_is_busy_with_all_but_idling_and_what_the_hypervisor_below_takes(tmp_path: Path) -> None:
    tmp_path.joinpath("stat").write_text("cpu  9 9 9 9 9 9 9 9 9 9\ncpu0 1 2 4 800 800 8 16 800 1 2\ncpu12 1 0 0 5 0 0 0 0 0 0\nintr 5 6\n")
    assert schedstat.busy_times(proc=tmp_path) == {0: 31 * schedstat._NS_PER_TICK, 12: schedstat._NS_PER_TICK}


def test_a_kernel_that_tells_nothing_gives_nothing(tmp_path: Path) -> None:
    add_thread(tmp_path, 7, 7)
    (tmp_path / "7/task/7/schedstat").write_text("")
    assert schedstat.thread_times(7, [7], proc=tmp_path) == {}
    assert schedstat.busy_times(proc=tmp_path) == {}

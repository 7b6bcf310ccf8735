"""`pinfold watch` while guests come and go and threads drift: it keeps seeing everything, and it does not grow.

The long form takes an hour, or as many seconds as PINFOLD_CHURN_SECONDS says.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.real.host.bench import Bench
from tests.real.host.domains import define, virsh
from tests.real.host.watching import Watching, watching

SHARE = {"hw:cpu_policy": "dedicated", "hw:emulator_threads_policy": "share"}
PINS = "<vcpupin vcpu='0' cpuset='1'/><emulatorpin cpuset='0'/>"
DRIFT = {"code": "emulator-thread", "class": "emulator"}
SHORT, LONG = 20.0, float(os.environ.get("PINFOLD_CHURN_SECONDS", "3600"))
JOURNAL_MIB = 1
MOST_MIB, MOST_FILES, MOST_THREADS = 24, 8, 4
"""How much more it may have at the end than after the first guests. The samples of guests that have gone take at most 8 MiB for an hour,
and the definitions and readings that are remembered, at most some hundreds of each, about as much.
"""

pytestmark = pytest.mark.skipif(not {0, 1} <= os.sched_getaffinity(0), reason="the pools are pCPUs 0 and 1")


@dataclass(frozen=True, kw_only=True)
class Size:
    """What a process has: MiB resident, open files and threads."""

    mib: float
    files: int
    threads: int


def size(pid: int) -> Size:
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)
    return Size(mib=int(status["VmRSS"].split()[0]) / 1024, files=len(os.listdir(f"/proc/{pid}/fd")), threads=int(status["Threads"]))


def come_and_go(bench: Bench, number: int) -> None:
    """A new guest comes, a thread of it drifts, and the guest before it goes."""
    name, before = f"g{number}", f"g{number - 1}"
    define(bench, name, cputune=PINS, nova=True, specs=SHARE)
    pid = bench.guest(name).pid
    assert pid is not None
    os.sched_setaffinity(pid, {0, 1})
    if number:
        virsh(bench, "destroy", before)
        virsh(bench, "undefine", before)


def sees_drift(bench: Bench, watch: Watching, number: int) -> None:
    """The present guest, whose main thread drifted, is found; and so is that the thread is put back."""
    watch.until_value("pinfold_guest_info", guest=f"g{number}", state="running")
    watch.until_value("pinfold_drift", **DRIFT)
    pid = bench.guest(f"g{number}").pid
    assert pid is not None
    os.sched_setaffinity(pid, {0})
    watch.until_none("pinfold_drift", **DRIFT)


@pytest.mark.parametrize("seconds", [SHORT, pytest.param(LONG, marks=[pytest.mark.slow, pytest.mark.timeout(LONG + 1800)])])
def test_a_watch_beside_guests_that_come_and_go_does_not_grow(own_bench: Bench, tmp_path: Path, seconds: float) -> None:
    with watching(tmp_path, own_bench.lab.uri, "--keep-mib", str(JOURNAL_MIB)) as watch, contextlib.ExitStack() as rest:
        for number in range(3):
            come_and_go(own_bench, number)
        sees_drift(own_bench, watch, 2)
        first, end, restarted = size(watch.process.pid), time.monotonic() + seconds, False
        for number in itertools.count(3):
            come_and_go(own_bench, number)
            if not restarted and time.monotonic() > end - seconds / 2:
                own_bench.lab.restart_daemon()
                restarted = True
            if number > 5 and restarted and time.monotonic() > end:
                break
        rest.callback(own_bench.driver.stop, own_bench.guest(f"g{number}").id, remove=True)
        sees_drift(own_bench, watch, number)
        assert watch.values("pinfold_guest_info", state="running") == [1.0]
        last = size(watch.process.pid)
        print(f"{number + 1} guests came; first {first}, last {last}")
        assert last.mib < first.mib + MOST_MIB, (first, last)
        assert last.files <= first.files + MOST_FILES, (first, last)
        assert last.threads <= first.threads + MOST_THREADS, (first, last)
        (journal,) = (tmp_path / "state").glob("*.journal")
        assert journal.stat().st_size <= JOURNAL_MIB << 20

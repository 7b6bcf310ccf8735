"""The subject `overhead`: how overhead threads wait on one pCPU, by the number of guests that share it.

Guests are added that write to their disks at a steady rate. Their emulator threads share pCPU 0, their vCPUs pCPU 1. The outcome
is the default of `core.overhead.assumption`; a test compares the two.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.page import table
from benchmarks.plot import Plot, Series
from benchmarks.subject import Figures, Page, Size, Subject
from pinfold.lab import rom
from pinfold.lab.daemon import LabHost, missing

STEPS = (1, 4, 8, 12, 16, 18, 20, 22, 24)
_FEW_STEPS = (1, 8, 16)
"""Those of a small run: the pCPU is nearly full with the last, and every further guest starts slowly."""
_PERIOD_US = 2000
_DOMAIN = """<domain type='kvm'><name>vm{number}</name><memory unit='MiB'>16</memory><vcpu placement='static'>1</vcpu>{iothreads}
<cputune><vcpupin vcpu='0' cpuset='1'/><emulatorpin cpuset='0'/></cputune><os><type arch='x86_64' machine='pc'>hvm</type>
<loader readonly='yes' type='rom'>{rom}</loader></os><devices><emulator>/usr/bin/qemu-system-x86_64</emulator>
<disk type='file' device='disk'><driver name='qemu' type='raw'{iothread}/><source file='{disk}'/><target dev='vda' bus='virtio'/></disk>
<controller type='usb' model='none'/><memballoon model='none'/></devices></domain>"""


def lacks() -> list[str]:
    """What a lab needs, two pCPUs, and KVM."""
    two = [] if {0, 1} <= os.sched_getaffinity(0) else ["the pCPUs 0 and 1"]
    return [*missing(), *two, *([] if Path("/dev/kvm").exists() else ["/dev/kvm"])]


def measure(size: Size, _seed: int) -> Figures:
    """Every step on one lab; `check` takes the first alone."""
    seconds = {Size.CHECK: 0.5, Size.SMALL: 2.0, Size.LONG: 5.0}[size]
    with tempfile.TemporaryDirectory(prefix="pf-overhead-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        rows = watched(folder, {Size.CHECK: STEPS[:1], Size.SMALL: _FEW_STEPS, Size.LONG: STEPS}[size], seconds)
    return {"rows": [{"guests": guests, "busy_percent": round(100 * busy, 1), "wait_us": round(wait)} for guests, busy, wait in rows]}


def watched(folder: Path, steps: Sequence[int], seconds: float) -> list[tuple[int, float, float]]:
    """Rows of guests, the share of the pCPU that their overhead threads ran, and the mean wait of these before a slice, in us."""
    writer = rom.write(
        folder / "writer.rom", rom.Parameters(behaviour=rom.Behaviour.TICK, io=rom.Io.DISK, io_period_us=_PERIOD_US, io_write=1)
    )
    rows, pids = [], list[int]()
    with LabHost(f"b{os.getpid()}", kvm=True, cgroups=False) as lab:
        for guests in steps:
            for number in range(len(pids), guests):
                pids.append(start_guest(lab, folder, writer, number))
            time.sleep(1)
            before = overhead_times(pids)
            time.sleep(seconds)
            after = overhead_times(pids)
            run, wait, slices = (sum(after[tid][place] - before.get(tid, (0, 0, 0))[place] for tid in after) for place in range(3))
            rows.append((guests, run / 1e9 / seconds, wait / 1000 / slices))
    return rows


def start_guest(lab: LabHost, folder: Path, writer: Path, number: int, *, iothread: bool = False) -> int:
    """Start one guest with a disk, if asked with an IOThread for it, that boots this ROM. Other programs of this machine yield to it.

    Returns its process.
    """
    disk, definition = folder / f"disk{number}.img", folder / f"vm{number}.xml"
    disk.touch()
    os.truncate(disk, 16 << 20)
    threads = {"iothreads": "<iothreads>1</iothreads>", "iothread": " iothread='1'"} if iothread else {"iothreads": "", "iothread": ""}
    definition.write_text(_DOMAIN.format(number=number, rom=writer, disk=disk, **threads))
    subprocess.run(["virsh", "-q", "-c", lab.uri, "create", str(definition)], check=True)
    pid = next(int(one) for one in _processes() if str(writer) in _command(one) and f"guest=vm{number}," in _command(one))
    for task in Path(f"/proc/{pid}/task").iterdir():
        os.setpriority(os.PRIO_PROCESS, int(task.name), -19)
    return pid


def _processes() -> list[str]:
    return [entry.name for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _command(pid: str) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return ""


def overhead_times(pids: Sequence[int]) -> dict[str, tuple[int, int, int]]:
    """Run and wait in nanoseconds, and slices, of every thread that is not a vCPU."""
    found = {}
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):
                if not (task / "comm").read_text().startswith("CPU "):
                    run, wait, slices = (task / "schedstat").read_text().split()
                    found[task.name] = int(run), int(wait), int(slices)
    return found


def page(figures: Figures) -> Page:
    """The table and the plot."""
    rows = figures["rows"]
    shown = [(row["guests"], row["busy_percent"], round(10 * row["busy_percent"] / row["guests"]), row["wait_us"]) for row in rows]
    ordered = sorted(rows, key=lambda row: float(row["busy_percent"]))
    plot = Plot(
        name="overhead",
        title="Mean wait of an overhead thread before it runs",
        x_label="how busy the pCPU is, %",
        y_label="us",
        series=[Series(label="wait", x=[row["busy_percent"] for row in ordered], y=[row["wait_us"] for row in ordered])],
    )
    heads = ("guests", "busy, %", "CPU of a guest, millicpu", "mean wait before a slice, us")
    return Page(
        body=[
            *_WORDS.splitlines(),
            "",
            *table(heads, shown),
            "",
            plot,
            "",
            "`pinfold advise` takes from here how busy a pool may be where a host has no measured hours.",
        ]
    )


_WORDS: Final = """\
KVM guests of 16 MiB with one vCPU, each of which writes 4 KiB to its disk five hundred times a second, without IOThreads. The
threads of QEMU that are not vCPUs share one pCPU with the highest priority, so that other programs of the machine yield to them.
`busy` is the share of the pCPU that they ran. The wait is their run delay over their slices, of `/proc/PID/task/TID/schedstat`."""

OVERHEAD: Final = Subject(
    name="overhead",
    title="Overhead threads on one pCPU",
    measure=measure,
    page=page,
    lacks=lacks,
    seeded=False,
    limits="""\
One run of each step, short disk writes alone, and guests that are all alike. `make bench-consolidation` has idle and heavy guests, the
response of the monitor and the time of a start. The highest priority (nice -19) is this measurement's alone: pinfold sets none, so on a
host whose own programs use the pool's pCPUs threads wait for these too. After a new run the table of `core.overhead.assumption` must
follow; a test compares them.""",
)

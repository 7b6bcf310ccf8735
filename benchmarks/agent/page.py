"""The subject `agent`: starts beside `virsh create`, sweeps over many guests, and the agent's memory, on real guests."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from benchmarks.agent import starts, sweep
from benchmarks.overhead.page import lacks
from benchmarks.page import Budget, table
from benchmarks.plot import Plot, Series
from benchmarks.subject import Figures, Page, Size, Subject
from pinfold.lab import rom as probe

START_BOUND, SWEEP_BOUND, MEMORY_BOUND = 1.25, 0.3, 80
"""The budgets: our start as a multiple of virsh's, CPU seconds of a sweep over 100 guests, MiB."""


def measure(size: Size, _seed: int) -> Figures:
    """Both parts, one after the other."""
    rounds, guests, sweeps, rest = {Size.CHECK: (1, 2, 2, 1.0), Size.SMALL: (6, 20, 5, 10.0), Size.LONG: (30, 100, 9, 30.0)}[size]
    with tempfile.TemporaryDirectory(prefix="pf-agent-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        rom = probe.write(folder / "probe.rom")
        print("starts", flush=True)
        started = starts.measure(_below(folder, "starts"), rom, rounds)
        print(f"sweeps over {guests} guests", flush=True)
        swept = sweep.measure(_below(folder, "sweep"), rom, guests, sweeps, rest)
    return {"starts": asdict(started), "sweep": asdict(swept)}


def _below(folder: Path, name: str) -> Path:
    made = folder / name
    made.mkdir(mode=0o711)
    return made


def page(figures: Figures) -> Page:
    """The budgets, both tables, and how long single starts took."""
    ours, virsh = figures["starts"]["ours"], figures["starts"]["virsh"]
    swept = figures["sweep"]
    guests, resident = swept["guests"], swept["agent"]["rss"]
    ratio = statistics.median(ours) / statistics.median(virsh)
    return Page(
        budgets=[
            Budget(what="start, as a multiple of `virsh create`", measured=ratio, bound=START_BOUND),
            Budget(what=f"sweep over {guests} guests, CPU", measured=swept["sweep_cpu"], bound=SWEEP_BOUND, unit="s"),
            Budget(what=f"agent with {guests} guests: resident", measured=resident, bound=MEMORY_BOUND, unit="MiB"),
        ],
        body=[*_start(figures["starts"]), "", _plot(ours, virsh), "", *_sweep(swept)],
    )


def _start(started: dict[str, Any]) -> list[str]:
    rows = [("`virsh create`", *_three(started["virsh"])), ("our start", *_three(started["ours"]))]
    steps = [(f"of it: {name}", *_three(values)) for name, values in started["steps"].items()]
    return [
        "## A start",
        "",
        *_START.format(count=len(started["ours"])).splitlines(),
        "",
        *table(("what", "median ms", "p10 ms", "p90 ms"), [*rows, *steps]),
    ]


def _plot(ours: Sequence[float], virsh: Sequence[float]) -> Plot:
    """How many of the starts took at most so long."""
    series = [
        Series(label=label, x=sorted(values), y=[100 * (place + 1) / len(values) for place in range(len(values))])
        for label, values in (("virsh create", virsh), ("our start", ours))
    ]
    return Plot(name="agent", title="Starts that took at most so long", x_label="ms", y_label="% of the starts", series=series)


def _sweep(swept: dict[str, Any]) -> list[str]:
    agent = swept["agent"]
    return [
        "## A sweep, and the agent at rest",
        "",
        *_SWEEP.format(guests=swept["guests"], threads=swept["threads"]).splitlines(),
        "",
        *table(
            ("what", "measured"),
            [
                ("CPU of one sweep, ms", swept["sweep_cpu"] * 1e3),
                ("CPU of the first sweep, ms", swept["first_cpu"] * 1e3),
                ("libvirtd's CPU beside it, ms", swept["libvirtd_cpu"] * 1e3),
                ("agent at rest, % of one processor", swept["rest_percent"]),
                ("agent, resident MiB", agent["rss"]),
                ("agent, proportional MiB", agent["pss"]),
                ("agent, peak MiB", agent["peak"]),
            ],
        ),
    ]


def _three(values: Sequence[float]) -> tuple[float, float, float]:
    ordered = sorted(values)
    return statistics.median(ordered), ordered[len(ordered) // 10], ordered[len(ordered) * 9 // 10]


_START = """\
A KVM guest of 8 MiB with one pinned vCPU and policy `share`, on a libvirtd of its own with the machine's own topology and cpuset cgroups.
Our start is what an agent does for an order: survey, define, start paused, every thread compared with its record in procfs, a second
survey, resume. `virsh create` gets the same XML, in a shell that stays connected; the time is its own (`--timing`). {count} of each, in
turns."""

_SWEEP = """\
{guests} running KVM guests of 8 MiB on a synthetic lab host of 128 pCPUs, made through a real API, with a real agent beside it. A sweep is
the survey, the report of every guest ({threads} threads here), the audit of the host, which uses the same readings, and the samples of
schedstat. Its CPU is user and system time of the process that sweeps, a median of sweeps between which nothing changes but the threads'
counters; the first one reads and judges everything. The agent's own figures are of its process, with the default intervals: a survey
every 7.5 s, a sweep every 10 s."""


AGENT: Final = Subject(
    name="agent",
    title="The agent",
    measure=measure,
    page=page,
    lacks=lacks,
    seeded=False,
    limits="""\
The guests are tiny, alike and have no operating system. A start with a disk, a network or gigabytes of huge pages takes longer in both
columns. The time between the API's answer and the agent's order is not in it. The lab is libvirt and QEMU of this machine, with other
programs beside it: times on the wall grow with the load, CPU hardly.""",
)

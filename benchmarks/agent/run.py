"""`python -m benchmarks.agent.run`: measure an agent on real guests, write docs/benchmarks/agent.md; status 1 on a missed budget."""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

from benchmarks.agent import starts, sweep
from benchmarks.page import PAGES, Budget, publish, table
from pinfold.lab import rom as probe

START_BOUND, SWEEP_BOUND, MEMORY_BOUND = 1.25, 0.3, 80
"""The budgets: our start as a multiple of virsh's, CPU seconds of a sweep over 100 guests, MiB."""


def main() -> int:
    """Run both parts and write the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.agent.run", description="Measure starts, sweeps and the agent's memory.")
    parser.add_argument("--starts", type=int, default=30)
    parser.add_argument("--guests", type=int, default=100)
    parser.add_argument("--sweeps", type=int, default=9)
    parser.add_argument("--folder", type=Path, default=PAGES, help="where the page is written")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pf-agent-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        rom = probe.write(folder / "probe.rom")
        print("starts", flush=True)
        started = starts.measure(_below(folder, "starts"), rom, asked.starts)
        print(f"sweeps over {asked.guests} guests", flush=True)
        swept = sweep.measure(_below(folder, "sweep"), rom, asked.guests, asked.sweeps)
    budgets = [
        Budget(what="start, as a multiple of `virsh create`", measured=started.ratio, bound=START_BOUND),
        Budget(what=f"sweep over {swept.guests} guests, CPU", measured=swept.sweep_cpu, bound=SWEEP_BOUND, unit="s"),
        Budget(what=f"agent with {swept.guests} guests: resident", measured=swept.agent.rss, bound=MEMORY_BOUND, unit="MiB"),
    ]
    return publish("agent", "The agent", "make bench-agent", budgets, _body(started, swept), folder=asked.folder)


def _below(folder: Path, name: str) -> Path:
    made = folder / name
    made.mkdir(mode=0o711)
    return made


def _body(started: starts.Starts, swept: sweep.Swept) -> list[str]:
    rows = [("`virsh create`", *_three(started.virsh)), ("our start", *_three(started.ours))]
    steps = [(f"of it: {name}", *_three(values)) for name, values in started.steps.items()]
    return [
        "## A start",
        "",
        *_START.format(count=len(started.ours)).splitlines(),
        "",
        *table(("what", "median ms", "p10 ms", "p90 ms"), [*rows, *steps]),
        "",
        "## A sweep, and the agent at rest",
        "",
        *_SWEEP.format(guests=swept.guests, threads=swept.threads).splitlines(),
        "",
        *table(
            ("what", "measured"),
            [
                ("CPU of one sweep, ms", swept.sweep_cpu * 1e3),
                ("CPU of the first sweep, ms", swept.first_cpu * 1e3),
                ("libvirtd's CPU beside it, ms", swept.libvirtd_cpu * 1e3),
                ("agent at rest, % of one processor", swept.rest_percent),
                ("agent, resident MiB", swept.agent.rss),
                ("agent, proportional MiB", swept.agent.pss),
                ("agent, peak MiB", swept.agent.peak),
            ],
        ),
    ]


def _three(values: list[float]) -> tuple[float, float, float]:
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


if __name__ == "__main__":
    sys.exit(main())

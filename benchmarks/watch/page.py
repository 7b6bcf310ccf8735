"""The subject `watch`: what `pinfold watch` costs a host with many real guests."""

from __future__ import annotations

import statistics
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Final

from benchmarks.overhead.page import lacks
from benchmarks.page import Budget, table
from benchmarks.plot import Plot, Series
from benchmarks.subject import Figures, Page, Size, Subject
from benchmarks.watch.measure import measure as watched

SWEEP_BOUND, REST_BOUND, MEMORY_BOUND = 0.08, 1.5, 60
"""The budgets: CPU seconds of a sweep over 100 guests, per cent of one CPU at rest, MiB resident."""


def measure(size: Size, _seed: int) -> Figures:
    """So many guests, swept in this process and watched by a process of its own."""
    guests, sweeps, rest = {Size.CHECK: (2, 2, 1.0), Size.SMALL: (30, 5, 10.0), Size.LONG: (100, 9, 60.0)}[size]
    with tempfile.TemporaryDirectory(prefix="pf-watch-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        return asdict(watched(folder, guests, sweeps, rest))


def page(figures: Figures) -> Page:
    """The budgets, the table, and the CPU of each sweep."""
    guests, process = figures["guests"], figures["process"]
    spent, libvirtd, scrapes = (figures[name] for name in ("sweep_cpu", "libvirtd_cpu", "render_cpu"))
    sweep = statistics.median(spent)
    rows = [
        ("CPU of one sweep, ms", sweep * 1e3),
        ("of it in the kernel, %", figures["kernel_percent"]),
        ("CPU of the first sweep, ms", figures["first_cpu"] * 1e3),
        ("libvirtd's CPU beside it, ms", statistics.median(libvirtd) * 1e3),
        ("CPU of one scrape, ms", statistics.median(scrapes) * 1e3),
        ("at rest, % of one CPU", figures["rest_percent"]),
        ("libvirtd beside it, % of one CPU", figures["libvirtd_percent"]),
        ("resident MiB", process["rss"]),
        ("proportional MiB", process["pss"]),
        ("peak MiB", process["peak"]),
    ]
    series = [
        Series(label=label, x=list(range(1, len(values) + 1)), y=[1e3 * value for value in values])
        for label, values in (("sweep", spent), ("libvirtd beside it", libvirtd), ("scrape", scrapes))
    ]
    return Page(
        budgets=[
            Budget(what=f"sweep over {guests} guests, CPU", measured=sweep, bound=SWEEP_BOUND, unit="s"),
            Budget(what="at rest, of one CPU", measured=figures["rest_percent"], bound=REST_BOUND, unit="%"),
            Budget(what="resident", measured=process["rss"], bound=MEMORY_BOUND, unit="MiB"),
        ],
        body=[
            *_TEXT.format(guests=guests, threads=figures["threads"]).splitlines(),
            "",
            *table(("what", "measured"), rows),
            "",
            Plot(name="watch", title="CPU of each sweep after the first", x_label="sweep", y_label="ms", series=series, whole_x=True),
        ],
    )


_TEXT = """\
{guests} running KVM guests of 8 MiB with Nova's metadata, one pinned vCPU each, policy `share`, on a synthetic lab host of 128 pCPUs;
{threads} threads. A sweep is the survey, the audit of every thread, the map, and the samples of schedstat. Its CPU is the median of user
and system time, while nothing changes but the threads' counters. The first sweep reads and judges everything; later ones read every
thread again, and whatever libvirt's files or events show as changed, and all definitions once a minute. At rest the process sweeps
every 10 s, with its journal and `--listen`."""


WATCH: Final = Subject(
    name="watch",
    title="The watch",
    measure=measure,
    page=page,
    lacks=lacks,
    seeded=False,
    limits="""\
All guests are alike, have one vCPU and do nothing. Guests that come and go make a sweep read their definitions anew, and guests with
many vCPUs have more threads to read. The web page of `--ui` is not in it. On a lab host a sweep reads one file more for each thread,
the lab's record of its mask, which is a fifth of the files that it opens; on a host there is none.""",
)

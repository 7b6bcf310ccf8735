"""What the probe guest prints on its serial line, as values. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

Histogram = dict[int, int]
"""How often, by the least nanoseconds of the bucket."""
SLOT_MS: Final = 20
"""The probe tells the worst gap of each so many milliseconds (`SLOT_MS` of `probe.c`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One round of the probe: how late each period was noticed, its gaps, and the worst gap of each 20 ms in microseconds.

    `io_us` is the time that the vCPU spent to hand over `ios` batches to its disk; it counts as no gap.
    """

    stolen_us: int
    gap_max_ns: int
    late_max_ns: int
    ios: int = 0
    io_us: int = 0
    late: Histogram = field(default_factory=dict)
    gaps: Histogram = field(default_factory=dict)
    worst_us: dict[int, int] = field(default_factory=dict)


def bucket_start_ns(bucket: int) -> int:
    """The lower bound of a histogram bucket of `probe.c`, in nanoseconds.

    >>> [bucket_start_ns(n) for n in (0, 15, 16, 17, 24)]
    [0, 15, 16, 18, 32]
    """
    if bucket < 16:
        return bucket
    log, eighth = divmod(bucket + 16, 8)
    return (8 + eighth) << (log - 3)


def parse(text: str) -> Round | None:
    """The first whole round of a serial log; None if it is not there yet.

    >>> parse("PROBE-UP\\nROUND 0 stolen_us=7 gap_max_ns=9 late_max_ns=5\\nL 16 3\\nG 17 1\\nW 4 12\\nEND\\n").gaps
    {18: 1}
    """
    lines = text.splitlines()
    start = next((number for number, line in enumerate(lines) if line.startswith("ROUND ")), None)
    if start is None or "END" not in lines[start:]:
        return None
    told = dict(word.split("=") for word in lines[start].split()[2:])
    rows: dict[str, dict[int, int]] = {"L": {}, "G": {}, "W": {}}
    for line in lines[start + 1 : lines.index("END", start)]:
        name, *numbers = line.split()
        if name in rows and len(numbers) == 2:
            rows[name][int(numbers[0])] = int(numbers[1])
    by_time = [{bucket_start_ns(bucket): often for bucket, often in rows[name].items()} for name in ("L", "G")]
    return Round(
        stolen_us=int(told["stolen_us"]),
        gap_max_ns=int(told["gap_max_ns"]),
        late_max_ns=int(told["late_max_ns"]),
        ios=int(told.get("ios", 0)),
        io_us=int(told.get("io_us", 0)),
        late=by_time[0],
        gaps=by_time[1],
        worst_us=rows["W"],
    )


def quantile(histogram: Histogram, share: float) -> int:
    """The least nanoseconds that `share` of the samples do not exceed, by the lower bounds of the buckets; 0 without samples.

    >>> quantile({100: 98, 5000: 2}, 0.5), quantile({100: 98, 5000: 2}, 0.99), quantile({}, 0.5)
    (100, 5000, 0)
    """
    wanted, seen = share * sum(histogram.values()), 0
    for ns in sorted(histogram):
        seen += histogram[ns]
        if seen >= wanted:
            return ns
    return 0


def over(histogram: Histogram, ns: int) -> int:
    """How many samples are in buckets of at least so many nanoseconds."""
    return sum(often for least, often in histogram.items() if least >= ns)


def added(histograms: list[Histogram]) -> Histogram:
    """The sum of several histograms."""
    found: Histogram = {}
    for one in histograms:
        for ns, often in one.items():
            found[ns] = found.get(ns, 0) + often
    return found

"""Figures of samples: quantiles, stalls, waits, and how float compares with share. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from pinfold.latency.model import FIFO, OF_THE_GUEST, SHARE, Medians, Sample
from pinfold.latency.serial import Histogram, over, quantile

Value = Callable[[Sample], float | None]
Groups = Mapping[tuple[str, str], Sequence[Sample]]
"""The samples of each load and policy."""


def late(one: Sample) -> Histogram:
    """How late the guest noticed each moment."""
    return dict(one.late)


def late_us(share: float) -> Value:
    """How late at this quantile, in microseconds."""
    return lambda one: quantile(late(one), share) / 1000


def stalls(ns: int) -> Value:
    """How many gaps of at least so many nanoseconds in a second."""
    return lambda one: over(dict(one.gaps), ns) / one.seconds


def answer_ms(share: float) -> Value:
    """The monitor's answer at this quantile; None if nothing was asked."""
    return lambda one: one.monitor_ms[min(len(one.monitor_ms) - 1, int(share * len(one.monitor_ms)))] if one.monitor_ms else None


def others_percent(one: Sample) -> float | None:
    """For how much of the time threads of other programs ran on the vCPU's pCPU; None with FIFO, where a vCPU hardly waits for them.

    Where the guest's overhead threads have another pCPU, the vCPU waits for other programs only. Where they share its pCPU, it is what the
    other threads that were last seen there ran, and at most what the vCPU waited.
    """
    if one.policy in FIFO:
        return None
    if one.policy.endswith(SHARE):
        return one.vcpu.wait_percent
    seen = sum(ms for name, ms in one.instead if not name.endswith(OF_THE_GUEST))
    return min(one.vcpu.wait_percent, seen / one.watched_seconds / 10) if one.watched_seconds else None


def asleep_percent(one: Sample) -> float | None:
    """For how much of the time the vCPU neither ran nor waited for a pCPU; None with FIFO, and where it slept after the end of its round.

    With FIFO and float the start of a round is noticed late, because QEMU's other threads hardly run. The kernel adds up at its ticks, so
    up to half a per cent, also below 0, may be nothing.
    """
    return None if one.policy in FIFO or one.outlasted else 100 - one.vcpu.run_percent - one.vcpu.wait_percent


COMPARED: Final[dict[str, Value]] = {
    "stalls over 1 ms": stalls(1_000_000),
    "stalls over 100 us": stalls(100_000),
    "vCPU waits": lambda one: one.vcpu.wait_percent,
    "lateness p99": late_us(0.99),
    "monitor median": answer_ms(0.5),
}
"""The figures by which float and share are compared, the steadiest first."""
LEAST: Final[dict[str, tuple[float, str]]] = {
    "stalls over 1 ms": (1, "1/s"),
    "stalls over 100 us": (1, "1/s"),
    "vCPU waits": (0.1, "0.1 %"),
    "lateness p99": (20, "20 us"),
}
"""What a figure must be before it is told from nothing, with its unit.

Two runs of one policy differ as much below that: runs of 4 s had 1 or 2 stalls, waits of 0.07 and 0.17 %, and a p99 of 0.03 and 16 us,
because the host's own short gaps may or may not fall on the moments at which the guest looks.
"""


def groups(samples: Iterable[Sample]) -> dict[tuple[str, str], list[Sample]]:
    """The samples of each load and policy, in the order of their first one."""
    found: dict[tuple[str, str], list[Sample]] = {}
    for one in samples:
        found.setdefault((one.load, one.policy), []).append(one)
    return found


def median(group: Sequence[Sample], value: Value) -> float | None:
    """The median over the runs; None if none of them has the figure."""
    found = [number for number in map(value, group) if number is not None]
    return statistics.median(found) if found else None


def compared(found: Groups, load: str, left: str, right: str) -> dict[str, str]:
    """By figure, the medians of one policy divided by those of another under a load; empty if one of them was not measured."""
    one, other = found.get((load, left)), found.get((load, right))
    if not one or not other:
        return {}
    return {name: ratio(median(one, value), median(other, value), *LEAST.get(name, ())) for name, value in COMPARED.items()}


def ratio(floating: float | None, sharing: float | None, least: float = 0.0, said: str = "") -> str:
    """The figure of float divided by that of share, with two digits; a bound of it where one is below what the measure can tell.

    >>> ratio(45.0, 1.0), ratio(4063.0, 0.033, 20, "20 us"), ratio(5.6, 50.0, 20, "20 us"), ratio(5.6, 8.2, 20, "20 us")
    ('45', '> 200 (share below 20 us)', '< 0.4 (float below 20 us)', 'both below 20 us')
    >>> ratio(14.7, 0.0468, 0.1, "0.1 %")
    '> 140 (share below 0.1 %)'
    """
    if floating is None or sharing is None or not (sharing or least):
        return "-"
    if floating < least and sharing < least:
        return f"both below {said}"
    if sharing < least:
        return f"> {significant(_lowered(floating / least, 2), 2)} (share below {said})"
    if floating < least:
        return f"< {significant(least / sharing, 2)} (float below {said})"
    return significant(floating / sharing, 2)


def significant(value: float, digits: int = 3) -> str:
    """A number with so many digits that matter, and no zeros after them behind the point.

    >>> [significant(value) for value in (0.01234, 0.5, 81.25, 4063.0, 33554.4, 0.0)], significant(464.0, 2)
    (['0.0123', '0.5', '81.2', '4,060', '33,600', '0'], '460')
    """
    if not value:
        return "0"
    behind = digits - 1 - math.floor(math.log10(abs(value)))
    text = f"{round(value, behind):,.{max(0, behind)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _lowered(value: float, digits: int) -> float:
    """The number without what comes after so many digits that matter: a lower bound stays one."""
    unit = 10.0 ** (math.floor(math.log10(value)) - digits + 1) if value > 0 else 1.0
    return math.floor(value / unit) * unit


def who_ran(group: Sequence[Sample]) -> list[tuple[str, float]]:
    """The threads that were last seen on the vCPU's pCPU, and per cent of the time that they ran, in all runs together; the most first.

    Threads of one name are added up, and one that moves between pCPUs counts with all that it ran, so that 100 % may be exceeded. What ran
    for less than 0.1 % is left out.
    """
    seconds, sums = sum(one.watched_seconds for one in group), dict[str, float]()
    for name, ms in (pair for one in group for pair in one.instead):
        sums[name] = sums.get(name, 0) + ms
    found = [(name, ms / seconds / 10) for name, ms in sums.items()] if seconds else []
    return sorted((pair for pair in found if pair[1] >= 0.1), key=lambda pair: -pair[1])


OF_MEDIANS: Final[dict[str, Value]] = {
    "late_p50_us": late_us(0.5),
    "late_p99_us": COMPARED["lateness p99"],
    "late_p999_us": late_us(0.999),
    "worst_gap_ms": lambda one: one.gap_max_ns / 1e6,
    "stalls_over_100us_per_s": COMPARED["stalls over 100 us"],
    "stalls_over_1ms_per_s": COMPARED["stalls over 1 ms"],
    "stolen_percent": lambda one: one.stolen_us / one.seconds / 1e4,
    "vcpu_waits_percent": COMPARED["vCPU waits"],
    "vcpu_asleep_percent": asleep_percent,
    "others_percent": others_percent,
    "overhead_runs_percent": lambda one: one.overhead.run_percent,
    "overhead_waits_percent": lambda one: one.overhead.wait_percent,
    "monitor_p50_ms": COMPARED["monitor median"],
    "monitor_p99_ms": answer_ms(0.99),
}
"""By field of `Medians`, its figure."""


def medians(samples: Iterable[Sample]) -> tuple[Medians, ...]:
    """The medians of each load and policy, in the order of their first sample."""
    return tuple(
        Medians(load=load, policy=policy, **{name: median(group, value) for name, value in OF_MEDIANS.items()})
        for (load, policy), group in groups(samples).items()
    )

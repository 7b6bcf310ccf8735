"""Figures of samples: quantiles, stalls, waits, and how float compares with share. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from pinfold.latency.model import Medians, Sample
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


COMPARED: Final[dict[str, Value]] = {
    "p99": late_us(0.99),
    "stalls over 100 us": stalls(100_000),
    "stalls over 1 ms": stalls(1_000_000),
    "vCPU waits": lambda one: one.vcpu.wait_percent,
    "monitor, median": answer_ms(0.5),
}
"""The figures by which float and share are compared."""


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
    return {name: ratio(median(one, value), median(other, value)) for name, value in COMPARED.items()}


def ratio(left: float | None, right: float | None) -> str:
    """The first divided by the second; both as they are, if one of them is nothing.

    >>> ratio(45.0, 1.0), ratio(3.5, 0.0)
    ('45.0', '3.5 / 0')
    """
    return f"{left / right:.1f}" if left and right else f"{left or 0:.3g} / {right or 0:.3g}"


OF_MEDIANS: Final[dict[str, Value]] = {
    "late_p50_us": late_us(0.5),
    "late_p99_us": COMPARED["p99"],
    "late_p999_us": late_us(0.999),
    "worst_gap_ms": lambda one: one.gap_max_ns / 1e6,
    "stalls_over_100us_per_s": COMPARED["stalls over 100 us"],
    "stalls_over_1ms_per_s": COMPARED["stalls over 1 ms"],
    "stolen_percent": lambda one: one.stolen_us / one.seconds / 1e4,
    "vcpu_waits_percent": COMPARED["vCPU waits"],
    "overhead_runs_percent": lambda one: one.overhead.run_percent,
    "overhead_waits_percent": lambda one: one.overhead.wait_percent,
    "monitor_p50_ms": COMPARED["monitor, median"],
    "monitor_p99_ms": answer_ms(0.99),
}
"""By field of `Medians`, its figure."""


def medians(samples: Iterable[Sample]) -> tuple[Medians, ...]:
    """The medians of each load and policy, in the order of their first sample."""
    return tuple(
        Medians(load=load, policy=policy, **{name: median(group, value) for name, value in OF_MEDIANS.items()})
        for (load, policy), group in groups(samples).items()
    )

"""Advise on the overhead pool: how many pCPUs keep a delay target, which rates match what guests used, what a flavor costs. Pure.

Each number is a `Figure` that names its evidence. What is assumed comes first, then what was measured, then the benchmark's defaults.

How many pCPUs:
1. An hour that counts (`hours`) is evidence. Below `LEAST_HOURS` of them nothing counts as measured.
2. The delay of an hour is the mean wait of the guests' overhead threads before a slice: their run delay over their slices. The busy share
   is how busy the pool's pCPUs were.
3. The pool may be as busy as in the busiest hour that kept the target, leaving out hours as busy as one that missed it, or busier.
4. The load is that of the busiest hour. If guests, or the pCPUs of one, are assumed, it is their product. If the vCPUs of a guest are
   assumed, and nothing was measured, the rates of `[overhead]` say what one runs.
5. The load over the share of step 3, rounded up, is the number of pCPUs. It assumes that the delay follows the busy share.

`rates` fits the rates, `flavor_costs` compares share and isolate.
"""

from __future__ import annotations

import math
from enum import Enum
from typing import Final

from msgspec import Struct

from pinfold.core.host import OverheadRates
from pinfold.core.overhead.assumption import Assumptions, benchmark_busy
from pinfold.core.overhead.hours import LEAST_HOURS, OverheadHour, ShapeHour
from pinfold.core.overhead.pool import booked_millicpu
from pinfold.core.overhead.rates import RateFit, fitted
from pinfold.core.plural import count
from pinfold.core.request.model import GuestRequest

BENCHMARK_PAGE: Final = "docs/benchmarks/overhead.md"
BY_RATES: Final = "by the rates of [overhead], which are estimates"
_UNKNOWN_HELP: Final = "no hour kept the target before one that was no busier missed it, so a larger pool is not known to help"


class Evidence(Enum):
    """Where a number comes from: the journal's hours, an assumption, the benchmark's page, or the configuration."""

    MEASURED = "measured"
    ASSUMED = "assumed"
    BENCHMARK = "benchmark"
    CONFIGURED = "configured"


class Figure(Struct, frozen=True, kw_only=True):
    """One number with its evidence. `source` says it in words, for example `measured in the busiest of 31 hours`."""

    value: float
    evidence: Evidence
    source: str


class Advice(Struct, frozen=True, kw_only=True):
    """What the evidence says about the pool. A figure, `pcpus` and `rates` are None where there is no evidence.

    `hours` is how many hours are evidence, `missed` how many of them missed the target. `guest_cpu` is what the overhead threads of one
    guest ran, in pCPUs. `why` says why there is no `pcpus`, `rates_why` why there are no `rates`.
    """

    target_us: float
    hours: int
    missed: int = 0
    worst_delay_us: float | None = None
    guests: Figure | None = None
    guest_cpu: Figure | None = None
    load: Figure | None = None
    busy_allowed: Figure | None = None
    pcpus: int | None = None
    why: str = ""
    rates: RateFit | None = None
    rates_why: str = ""


def advise(
    hours: tuple[OverheadHour, ...],
    target_us: float,
    rates: OverheadRates,
    *,
    shapes: tuple[ShapeHour, ...] = (),
    assumed: Assumptions | None = None,
) -> Advice:
    """The advice for a target in microseconds, and for a host that books by these rates. `shapes` are hours by the shape of guests."""
    given = assumed or Assumptions()
    found = sorted((hour for hour in hours if hour.counts), key=lambda hour: (hour.busy, hour.begins))
    enough = found if len(found) >= LEAST_HOURS else []
    little = f"too little evidence: {len(found)} of {LEAST_HOURS} hours are measured"
    guests, guest_cpu = _guests(enough, given), _guest_cpu(enough, given, rates)
    load = _load(enough, given, guests, guest_cpu)
    busy = _busy(enough, given, target_us, known=load is not None)
    counting = {hour.begins for hour in enough}
    fit = fitted([hour for hour in shapes if hour.begins in counting], rates)
    return Advice(
        target_us=target_us,
        hours=len(found),
        missed=sum(hour.delay_us > target_us for hour in enough),
        worst_delay_us=max((hour.delay_us for hour in enough), default=None),
        guests=guests,
        guest_cpu=guest_cpu,
        load=load,
        busy_allowed=busy,
        pcpus=None if load is None or busy is None else max(1, math.ceil(load.value / busy.value - 1e-9)),
        why=_why(load, busy, little, measured=bool(enough)),
        rates=fit,
        rates_why="" if fit is not None else (little if not enough else f"no shape of guests was on the pool for {LEAST_HOURS} hours"),
    )


def _why(load: Figure | None, busy: Figure | None, little: str, *, measured: bool) -> str:
    if load is None:
        return f"{little}; assume guests, and vcpus or cpu-per-guest, for a first answer"
    if busy is None:
        return _UNKNOWN_HELP if measured else f"the benchmark ({BENCHMARK_PAGE}) did not keep that target; assume busy"
    return ""


def _assumed(value: float | None) -> Figure | None:
    return None if value is None else Figure(value=value, evidence=Evidence.ASSUMED, source="assumed")


def _guests(hours: list[OverheadHour], given: Assumptions) -> Figure | None:
    if given.guests is not None or not hours:
        return _assumed(given.guests)
    most = max(hour.guests for hour in hours)
    return Figure(value=most, evidence=Evidence.MEASURED, source=f"measured: the most of {count(len(hours), 'hour')}")


def _guest_cpu(hours: list[OverheadHour], given: Assumptions, rates: OverheadRates) -> Figure | None:
    if given.cpu_per_guest is None and given.vcpus is not None and not hours:
        booked = booked_millicpu(GuestRequest(vcpus=given.vcpus, memory_mib=1, disks=1, nics=given.nics), rates)
        return Figure(value=booked / 1000, evidence=Evidence.CONFIGURED, source=BY_RATES)
    if given.cpu_per_guest is not None or not hours:
        return _assumed(given.cpu_per_guest)
    most = max(hour.guest_cpu for hour in hours)
    source = f"measured: the mean over the guests in the hour of {count(len(hours), 'hour')} where that was most"
    return Figure(value=most, evidence=Evidence.MEASURED, source=source)


def _load(hours: list[OverheadHour], given: Assumptions, guests: Figure | None, guest_cpu: Figure | None) -> Figure | None:
    if given.guests is None and given.cpu_per_guest is None and hours:
        most = max(hour.load for hour in hours)
        return Figure(value=most, evidence=Evidence.MEASURED, source=f"measured in the busiest of {count(len(hours), 'hour')}")
    if guests is None or guest_cpu is None:
        return None
    source = f"{guests.value:g} guests ({guests.evidence.value}) with {guest_cpu.value:.3g} pCPUs each ({guest_cpu.evidence.value})"
    return Figure(value=guests.value * guest_cpu.value, evidence=Evidence.ASSUMED, source=source)


def _busy(hours: list[OverheadHour], given: Assumptions, target_us: float, *, known: bool) -> Figure | None:
    if given.busy is not None:
        return _assumed(given.busy)
    if not hours:
        share = benchmark_busy(target_us) if known else None
        source = f"default from {BENCHMARK_PAGE}, where this target was kept up to there"
        return None if share is None else Figure(value=share, evidence=Evidence.BENCHMARK, source=source)
    least_missing = min((hour.busy for hour in hours if hour.delay_us > target_us), default=math.inf)
    kept = [hour.busy for hour in hours if 0 < hour.busy < least_missing]
    if not kept:
        return None
    source = f"measured: the busiest of {count(len(hours), 'hour')} that kept the target"
    return Figure(value=max(kept), evidence=Evidence.MEASURED, source=source)

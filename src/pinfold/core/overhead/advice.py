"""Advise on the overhead pool from measured hours: how many pCPUs keep a delay target, and which rates match what guests used. Pure.

How many pCPUs:
1. An hour counts as evidence if at least half of it was measured, with guests on the pool, and at least `LEAST_SLICES` slices. Below
   `LEAST_HOURS` of them there is no advice.
2. The delay of an hour is the mean wait of the guests' overhead threads before a slice: their run delay over their slices. The busy share
   is how busy the pool's pCPUs were.
3. The pool may be as busy as in the busiest hour that kept the target, leaving out hours as busy as one that missed it, or busier.
4. The load of the busiest hour over that share, rounded up, is the number of pCPUs. It assumes that the delay follows the busy share.

The factor for the rates is what the guests' overhead threads ran in the hour where that was most, over what was booked in the same hour.
How the rates stand to each other is not measured, so all of them get the same factor.
"""

from __future__ import annotations

import math
from typing import Final

from msgspec import Struct

from pinfold.core.host import OverheadRates

HOUR_SECONDS: Final = 3600
LEAST_HOURS: Final = 24
LEAST_SLICES: Final = 1000
_NS: Final = 1_000_000_000


class OverheadHour(Struct, frozen=True, kw_only=True):
    """What was measured in one hour, as sums. `begins` is in seconds since the epoch, `seconds` how much of the hour was measured.

    `run_ns`, `wait_ns` and `slices` are those of overhead threads of guests whose overhead threads are confined to the pool, and
    `guest_seconds` counts these guests. `pool_run_ns` is how long the pool's pCPUs were busy with anything, `pool_cpu_seconds` and
    `booked_cpu_seconds` are its pCPUs, and what was booked of it, over time.
    """

    begins: int
    seconds: float
    guest_seconds: float
    run_ns: int
    wait_ns: int
    slices: int
    pool_run_ns: int
    pool_cpu_seconds: float
    booked_cpu_seconds: float

    @property
    def delay_us(self) -> float:
        """The mean wait of an overhead thread before a slice."""
        return self.wait_ns / 1000 / self.slices

    @property
    def busy(self) -> float:
        """How busy the pool was, from 0 to 1."""
        return self.pool_run_ns / _NS / self.pool_cpu_seconds

    @property
    def load(self) -> float:
        """How many pCPUs the pool was busy with."""
        return self.pool_run_ns / _NS / self.seconds

    @property
    def used(self) -> float:
        """What the guests' overhead threads ran, over what was booked; 0 if nothing was."""
        return self.run_ns / _NS / self.booked_cpu_seconds if self.booked_cpu_seconds else 0.0


class Advice(Struct, frozen=True, kw_only=True):
    """What the evidence says. `pcpus`, `rates` and `guest_millicpu` are None where it says nothing; `why` then has the reason of `pcpus`.

    `hours` is how many hours are evidence, `missed` how many of them missed the target. `busy_allowed` is the busy share of step 3, `load`
    the highest load. `guest_millicpu` is what a guest's overhead threads ran, at most in an hour, as a mean over the guests. `factor` is
    None if nothing was booked.
    """

    target_us: float
    hours: int
    missed: int = 0
    worst_delay_us: float | None = None
    load: float | None = None
    busy_allowed: float | None = None
    pcpus: int | None = None
    why: str = ""
    guest_millicpu: int | None = None
    factor: float | None = None
    rates: OverheadRates | None = None


def advise(hours: tuple[OverheadHour, ...], target_us: float, rates: OverheadRates) -> Advice:
    """The advice for a target in microseconds, and for a host that books by these rates."""
    found = sorted((hour for hour in hours if _is_evidence(hour)), key=lambda hour: (hour.busy, hour.begins))
    if len(found) < LEAST_HOURS:
        return Advice(target_us=target_us, hours=len(found), why=f"too little evidence: {len(found)} of {LEAST_HOURS} hours are measured")
    missing = [hour for hour in found if hour.delay_us > target_us]
    least_missing = min((hour.busy for hour in missing), default=math.inf)
    kept = [hour.busy for hour in found if 0 < hour.busy < least_missing]
    load = max(hour.load for hour in found)
    factor = max(hour.used for hour in found)
    return Advice(
        target_us=target_us,
        hours=len(found),
        missed=len(missing),
        worst_delay_us=max(hour.delay_us for hour in found),
        load=load,
        busy_allowed=max(kept, default=None),
        pcpus=math.ceil(load / max(kept) - 1e-9) if kept else None,
        why="" if kept else "no hour kept the target before one that was no busier missed it, so a larger pool is not known to help",
        guest_millicpu=math.ceil(max(1000 * hour.run_ns / _NS / hour.guest_seconds for hour in found)),
        factor=factor or None,
        rates=_scaled(rates, factor) if factor else None,
    )


def _is_evidence(hour: OverheadHour) -> bool:
    return hour.seconds >= HOUR_SECONDS / 2 and hour.guest_seconds > 0 and hour.slices >= LEAST_SLICES and hour.pool_cpu_seconds > 0


def _scaled(rates: OverheadRates, factor: float) -> OverheadRates:
    def scaled(rate: int) -> int:
        return math.ceil(rate * factor - 1e-9)

    return OverheadRates(guest=scaled(rates.guest), vcpu=scaled(rates.vcpu), disk=scaled(rates.disk), nic=scaled(rates.nic))

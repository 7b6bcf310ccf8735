"""What the overhead threads did between two sweeps, for the journal's hourly sums. Pure. `core.overhead.advice` advises by them."""

from __future__ import annotations

from typing import Final

from pinfold.core.identity import GuestId
from pinfold.core.overhead import OVERHEAD_CLASSES
from pinfold.core.overhead.advice import HOUR_SECONDS, OverheadHour
from pinfold.core.usage import GuestUsage, Times
from pinfold.watch.state import State

_POOL: Final = "overhead"
_LONGEST_SECONDS: Final = 600.0
"""A longer time between two sweeps does not count: the clock was set, or the machine slept."""


def measured(before: State, after: State) -> OverheadHour | None:
    """What was measured between two sweeps of one watch, in the hour of the later one; None if there is no overhead pool or no measure."""
    old, new, seen = before.usage, after.usage, after.snapshot
    seconds = after.swept_time - before.swept_time
    if old is None or new is None or seen is None or not 0 < seconds <= _LONGEST_SECONDS:
        return None
    pool = next((pool for pool in seen.pools if pool.name == _POOL), None)
    if pool is None or _POOL not in old.pools or _POOL not in new.pools:
        return None
    guests = [GuestId(guest.id) for guest in seen.guests if guest.on_overhead]
    times = [_since(old.guests.get(guest), new.guests[guest]) for guest in guests if guest in new.guests]
    return OverheadHour(
        begins=int(after.swept_time // HOUR_SECONDS * HOUR_SECONDS),
        seconds=seconds,
        guest_seconds=len(times) * seconds,
        run_ns=sum(one.run_ns for one in times),
        wait_ns=sum(one.wait_ns for one in times),
        slices=sum(one.slices for one in times),
        pool_run_ns=new.pools[_POOL].run_ns - old.pools[_POOL].run_ns,
        pool_cpu_seconds=len(pool.cpus) * seconds,
        booked_cpu_seconds=pool.booked * seconds,
    )


def _since(before: GuestUsage | None, now: GuestUsage) -> Times:
    old, new = _overhead(before), _overhead(now)
    return Times(run_ns=new.run_ns - old.run_ns, wait_ns=new.wait_ns - old.wait_ns, slices=new.slices - old.slices)


def _overhead(usage: GuestUsage | None) -> Times:
    """All overhead classes of a guest together."""
    found = [] if usage is None else [usage.classes[kind] for kind in OVERHEAD_CLASSES if kind in usage.classes]
    return Times(
        run_ns=sum(one.run_ns for one in found), wait_ns=sum(one.wait_ns for one in found), slices=sum(one.slices for one in found)
    )

"""What the overhead threads did between two sweeps, for the journal's hourly sums. Pure. `core.overhead.advice` advises by them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Final

from pinfold.core.identity import GuestId
from pinfold.core.overhead import OVERHEAD_CLASSES, ThreadClass
from pinfold.core.overhead.hours import HOUR_SECONDS, OverheadHour, Place, Shape, ShapeHour
from pinfold.core.request.model import EmulatorPolicy
from pinfold.core.usage import GuestUsage, Times, added
from pinfold.watch.snapshot import SeenGuest
from pinfold.watch.state import State

_POOL: Final = "overhead"
_LONGEST_SECONDS: Final = 600.0
"""A longer time between two sweeps does not count: the clock was set, or the machine slept."""
MOST_SHAPES: Final = 32
"""The most shapes of guests in one sweep. Of a host with more, those with the fewest guests are left out."""


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
    times = [_sum(_since(old.guests.get(guest), new.guests[guest])) for guest in guests if guest in new.guests]
    return OverheadHour(
        begins=_hour(after),
        seconds=seconds,
        guest_seconds=len(times) * seconds,
        run_ns=sum(one.run_ns for one in times),
        wait_ns=sum(one.wait_ns for one in times),
        slices=sum(one.slices for one in times),
        pool_run_ns=new.pools[_POOL].run_ns - old.pools[_POOL].run_ns,
        pool_cpu_seconds=len(pool.cpus) * seconds,
        booked_cpu_seconds=pool.booked * seconds,
    )


def measured_shapes(before: State, after: State) -> tuple[ShapeHour, ...]:
    """The same by the shape of guests, their place and the thread class, for two sweeps of which `measured` finds an hour.

    Guests count whose overhead threads are on the pool, and those of policy `isolate`.
    """
    old, new, seen = before.usage, after.usage, after.snapshot
    if old is None or new is None or seen is None:
        return ()
    seconds = after.swept_time - before.swept_time
    guests: dict[tuple[Place, Shape], list[GuestId]] = defaultdict(list)
    for guest in seen.guests:
        place = _place(guest)
        if place is not None and guest.id in new.guests:
            guests[place, (guest.vcpus, guest.disks, guest.nics)].append(GuestId(guest.id))
    kept = sorted(guests, key=lambda key: (-len(guests[key]), key[0].value, key[1]))[:MOST_SHAPES]
    found = []
    for place, shape in sorted(kept, key=lambda key: (key[0].value, key[1])):
        sums: dict[ThreadClass, Times] = {}
        for one in guests[place, shape]:
            for kind, times in _since(old.guests.get(one), new.guests[one]).items():
                sums[kind] = added(sums.get(kind, Times()), times)
        vcpus, disks, nics = shape
        found += [
            ShapeHour(
                begins=_hour(after),
                place=place,
                vcpus=vcpus,
                disks=disks,
                nics=nics,
                thread_class=kind,
                guest_seconds=len(guests[place, shape]) * seconds,
                run_ns=times.run_ns,
                wait_ns=times.wait_ns,
                slices=times.slices,
            )
            for kind, times in sums.items()
        ]
    return tuple(found)


def _hour(state: State) -> int:
    return int(state.swept_time // HOUR_SECONDS * HOUR_SECONDS)


def _place(guest: SeenGuest) -> Place | None:
    if guest.on_overhead:
        return Place.POOL
    return Place.OWN if guest.runs and guest.policy == EmulatorPolicy.ISOLATE.value else None


def _since(before: GuestUsage | None, now: GuestUsage) -> Mapping[ThreadClass, Times]:
    """What the overhead threads of a guest have done since, by class."""
    old = {} if before is None else before.classes
    found = {}
    for kind in OVERHEAD_CLASSES:
        if kind in now.classes:
            one, other = now.classes[kind], old.get(kind, Times())
            found[kind] = Times(run_ns=one.run_ns - other.run_ns, wait_ns=one.wait_ns - other.wait_ns, slices=one.slices - other.slices)
    return found


def _sum(classes: Mapping[ThreadClass, Times]) -> Times:
    total = Times()
    for one in classes.values():
        total = added(total, one)
    return total

"""What overhead threads did, hour by hour: measured between two sweeps, summed in the journal, and bounded there."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from msgspec import structs
from tests.watch.seen import SETTINGS, guest, snapshot

from pinfold.core.cpuset import CpuSet
from pinfold.core.identity import GuestId
from pinfold.core.overhead import ThreadClass
from pinfold.core.overhead.hours import OverheadHour, Place, ShapeHour
from pinfold.core.usage import GuestTimes, Sample, ThreadTimes, Times, Usage, accumulated
from pinfold.watch.hours import MOST_SHAPES, measured, measured_shapes
from pinfold.watch.journal import DAY, MOST_HOURS, Journal, read_hours, read_shapes
from pinfold.watch.journal import MOST_SHAPES as MOST_ROWS
from pinfold.watch.state import State

NOON = 1_795_003_200.0
MS = 1_000_000
HOUR = OverheadHour(
    begins=int(NOON),
    seconds=10.0,
    guest_seconds=20.0,
    run_ns=3,
    wait_ns=4,
    slices=5,
    pool_run_ns=6,
    pool_cpu_seconds=20.0,
    booked_cpu_seconds=0.5,
)


def sample(times: Times, *numbers: int) -> Sample:
    """These guests have an emulator with these times, and a vCPU that ran much longer."""
    vcpu = Times(run_ns=100 * times.run_ns, wait_ns=times.wait_ns, slices=1)
    guests = tuple(
        GuestTimes(
            guest=GuestId(f"0000-{number}"),
            pid=number,
            start_ticks=1,
            process_ns=101 * times.run_ns,
            threads=(
                ThreadTimes(tid=10 * number, thread_class=ThreadClass.EMULATOR, allowed=CpuSet.parse("0-1"), times=times),
                ThreadTimes(tid=10 * number + 1, thread_class=ThreadClass.VCPU, allowed=CpuSet.of(2), times=vcpu),
            ),
        )
        for number in numbers
    )
    return Sample(guests=guests, busy_ns=((0, times.run_ns), (1, times.run_ns)), pools=(("overhead", CpuSet.parse("0-1")),))


def state(usage: Usage, at: float) -> State:
    """The first guest's overhead threads are confined to the pool, the second's are not."""
    seen = snapshot(guest(1, on_overhead=True), guest(2))
    return State(settings=SETTINGS, interval=10.0, usage=usage, snapshot=seen, swept_time=at)


def test_overhead_of_guests_on_the_pool_is_measured_between_two_sweeps() -> None:
    first = accumulated(None, sample(Times(run_ns=MS, wait_ns=0, slices=1), 1, 2))
    second = accumulated(first, sample(Times(run_ns=4 * MS, wait_ns=2 * MS, slices=8), 1, 2))
    assert measured(state(first, NOON + 5), state(second, NOON + 15)) == OverheadHour(
        begins=int(NOON),
        seconds=10.0,
        guest_seconds=10.0,
        run_ns=3 * MS,
        wait_ns=2 * MS,
        slices=7,
        pool_run_ns=6 * MS,
        pool_cpu_seconds=20.0,
        booked_cpu_seconds=0.32,
    )


def test_nothing_is_measured_over_a_clock_that_was_set_or_a_long_sleep() -> None:
    usage = accumulated(None, sample(Times(), 1))
    for at in (NOON, NOON - 10, NOON + 700):
        assert measured(state(usage, NOON), state(usage, at)) is None


def test_the_journal_adds_up_what_is_of_one_hour(tmp_path: Path) -> None:
    path = tmp_path / "host.journal"
    with closing(Journal(path, days=30, mib=1)) as journal:
        journal.add(HOUR)
        journal.add(HOUR)
        journal.add(structs.replace(HOUR, begins=HOUR.begins + 3600))
    first, second = read_hours(path)
    assert (first.seconds, first.slices, first.booked_cpu_seconds, second.slices) == (20.0, 10, 1.0, 5)


def test_hours_are_bounded_by_days_and_by_number(tmp_path: Path) -> None:
    for days, left in ((2, 49), (1000, MOST_HOURS)):
        path = tmp_path / f"{days}.journal"
        with closing(Journal(path, days=days, mib=1)) as journal:
            for number in range(MOST_HOURS + 10):
                journal.add(structs.replace(HOUR, begins=HOUR.begins + 3600 * number))
        assert len(read_hours(path)) == left
        assert read_hours(path)[-1].begins - read_hours(path)[0].begins <= days * DAY


def test_a_journal_of_an_earlier_pinfold_has_no_hours_and_takes_some(tmp_path: Path) -> None:
    path = tmp_path / "host.journal"
    Journal(path, days=30, mib=1).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE overhead_hours")
        connection.execute("DROP TABLE shape_hours")
    assert read_hours(path) == ()
    assert read_shapes(path) == ()
    with closing(Journal(path, days=30, mib=1)) as journal:
        journal.add(HOUR)
    assert read_hours(path) == (HOUR,)


SHAPE = ShapeHour(
    begins=int(NOON),
    place=Place.POOL,
    vcpus=4,
    disks=1,
    nics=2,
    thread_class=ThreadClass.EMULATOR,
    guest_seconds=20.0,
    run_ns=3,
    wait_ns=4,
    slices=5,
)


def test_overhead_is_measured_by_shape_place_and_class() -> None:
    first = accumulated(None, sample(Times(run_ns=MS, wait_ns=0, slices=1), 1, 2, 3))
    second = accumulated(first, sample(Times(run_ns=4 * MS, wait_ns=2 * MS, slices=8), 1, 2, 3))
    seen = snapshot(guest(1, on_overhead=True, disks=1), guest(2, on_overhead=True, disks=1), guest(3, policy="isolate", vcpus=2))
    before, after = (structs.replace(state(usage, at), snapshot=seen) for usage, at in ((first, NOON + 5), (second, NOON + 15)))
    times = {"run_ns": 3 * MS, "wait_ns": 2 * MS, "slices": 7, "guest_seconds": 10.0}
    own = structs.replace(SHAPE, place=Place.OWN, vcpus=2, disks=0, nics=0, **times)
    pool = structs.replace(SHAPE, vcpus=1, nics=0, **{name: 2 * value for name, value in times.items()})
    assert measured_shapes(before, after) == (own, pool)


def test_a_host_with_many_shapes_measures_those_with_the_most_guests() -> None:
    numbers = range(1, MOST_SHAPES + 3)
    first, second = accumulated(None, sample(Times(), *numbers)), accumulated(None, sample(Times(), *numbers))
    seen = snapshot(*(guest(number, on_overhead=True, vcpus=min(number, MOST_SHAPES + 1)) for number in numbers))
    found = measured_shapes(structs.replace(state(first, NOON), snapshot=seen), structs.replace(state(second, NOON + 10), snapshot=seen))
    assert [one.vcpus for one in found] == [*range(1, MOST_SHAPES), MOST_SHAPES + 1]


def test_the_journal_adds_up_shapes_and_bounds_their_rows(tmp_path: Path) -> None:
    path = tmp_path / "host.journal"
    with closing(Journal(path, days=30, mib=1)) as journal:
        for _ in range(2):
            journal.add(HOUR, (SHAPE, structs.replace(SHAPE, place=Place.OWN)))
        (own, pool) = read_shapes(path)
        assert (own.place, pool.place, pool.thread_class, pool.run_ns, pool.guest_seconds) == (
            Place.OWN,
            Place.POOL,
            ThreadClass.EMULATOR,
            6,
            40.0,
        )
        for number in range(1, 60):
            begins = HOUR.begins + 3600 * number
            shapes = [structs.replace(SHAPE, begins=begins, vcpus=vcpus) for vcpus in range(1, MOST_SHAPES + 1)]
            journal.add(structs.replace(HOUR, begins=begins), shapes)
    left = read_shapes(path)
    assert len(left) == 1024 < MOST_ROWS
    assert {one.begins for one in left} == {HOUR.begins + 3600 * number for number in range(28, 60)}
    assert sum(file.stat().st_size for file in tmp_path.glob("host.journal")) <= 1 << 20

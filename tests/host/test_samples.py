"""The samples of the last hour: what is a number, what is a gap, and how much memory they take."""

from __future__ import annotations

import tracemalloc
from collections.abc import Mapping

import pytest

from pinfold.core.cpuset import CpuSet
from pinfold.core.encoding import json_text
from pinfold.core.history import MOST_NUMBERS, MOST_ROWS, GuestHistory, HostHistory
from pinfold.core.identity import GuestId
from pinfold.core.overhead import ThreadClass
from pinfold.core.usage import GuestUsage, PcpuUsage, PoolUsage, ThreadTimes, Times, Usage
from pinfold.host.loop_events import Moment
from pinfold.host.samples import Samples

SECOND = 1_000_000_000
EMULATOR, VCPU = ThreadClass.EMULATOR, ThreadClass.VCPU
NOBODY: frozenset[GuestId] = frozenset()


def times(run: float, wait: float = 0.0) -> Times:
    return Times(run_ns=round(run * SECOND), wait_ns=round(wait * SECOND))


def guest(classes: Mapping[ThreadClass, Times], tids: Mapping[int, ThreadClass] = {}) -> GuestUsage:
    last = {tid: ThreadTimes(tid=tid, thread_class=kind, allowed=CpuSet.of(4), times=Times()) for tid, kind in tids.items()}
    return GuestUsage(pid=1, start_ticks=1, classes=classes, last=last)


def pcpu(run: float, wait: float = 0.0, others: float = 0.0, owned: frozenset[int] | None = None) -> PcpuUsage:
    return PcpuUsage(busy_ns=0, owned=owned, run_ns=round(run * SECOND), wait_ns=round(wait * SECOND), others_ns=round(others * SECOND))


class Host:
    """A host whose samples are taken by a clock that the test moves."""

    def __init__(self, sweep_seconds: float = 10.0) -> None:
        self.samples = Samples(sweep_seconds)
        self.at = 1000.0

    def swept(self, usage: Usage, *, after: float = 10.0, unread: frozenset[GuestId] = NOBODY) -> None:
        self.at += after
        names = {key: f"name of {key}" for key in usage.guests}
        self.samples.add(usage, unread, names, Moment(at=self.at, time=self.at + 1e9))

    def guests(self, **classes: tuple[float, float] | float) -> None:
        """A sweep at which the emulator of each guest had run and waited for so long."""
        both = {name: (found, 0.0) if isinstance(found, float | int) else found for name, found in classes.items()}
        self.swept(Usage(guests={GuestId(name): guest({EMULATOR: times(*found)}) for name, found in both.items()}))

    @property
    def history(self) -> HostHistory:
        return self.samples.history("c01")

    def row(self, name: str = "web") -> GuestHistory:
        return next(one for one in self.history.guests if one.guest == name)


def test_a_sample_is_the_mean_of_the_time_since_the_one_before() -> None:
    host = Host()
    host.guests(web=(100, 50))
    host.guests(web=(105, 50.5))
    host.guests(web=(125, 50.5))
    assert (host.row().work_millicpu, host.row().wait_millicpu) == ((500, 2000), (50, 0))
    assert (host.row().name, host.row().thread_class, host.row().others_millicpu) == ("name of web", EMULATOR, ())
    assert (host.history.ends, host.history.seconds, host.history.step_seconds) == ((1e9 + 1020, 1e9 + 1030), (10.0, 10.0), 10.0)


def test_sweeps_between_two_samples_add_none_and_lose_nothing() -> None:
    host = Host()
    host.guests(web=0)
    for count in range(1, 11):
        host.swept(Usage(guests={GuestId("web"): guest({EMULATOR: times(count)})}), after=1.0)
    assert host.row().work_millicpu == (1000,)


def test_missed_sweeps_are_no_samples_and_the_next_one_says_how_long_it_is() -> None:
    host = Host()
    host.guests(web=0)
    host.guests(web=1)
    host.swept(Usage(guests={GuestId("web"): guest({EMULATOR: times(7)})}), after=60.0)
    assert (host.row().work_millicpu, host.history.seconds) == ((100, 100), (10.0, 60.0))


def test_a_guest_that_could_not_be_read_has_a_gap_and_then_the_mean_of_both() -> None:
    host = Host()
    host.guests(web=0, db=0)
    host.swept(
        Usage(guests={GuestId("web"): guest({EMULATOR: times(0)}), GuestId("db"): guest({EMULATOR: times(1)})}),
        unread=frozenset({GuestId("web")}),
    )
    host.guests(web=4, db=1)
    assert (host.row("web").work_millicpu, host.row("db").work_millicpu) == ((None, 200), (100, 0))


def test_guests_that_come_and_go_have_gaps_where_they_were_not() -> None:
    host = Host()
    host.guests(web=0)
    host.guests(web=1)
    host.guests(web=2, late=500)
    host.guests(late=501)
    assert host.row("web").work_millicpu == (100, 100, None)
    assert host.row("late").work_millicpu == (None, None, 100)


def test_a_counter_that_fell_makes_a_gap_and_no_huge_or_negative_number() -> None:
    host = Host()
    host.guests(web=(100, 9))
    host.guests(web=(2, 9))
    host.guests(web=(3, 9))
    host.guests(web=(4, 1))
    host.guests(web=(5, 1))
    assert host.row().work_millicpu == (None, 100, None, 100)


def test_what_others_took_is_told_for_the_pcpu_and_for_its_owner_while_the_owner_is_the_same() -> None:
    host = Host()
    both = {4: VCPU, 5: VCPU, 6: ThreadClass.IOTHREAD}

    def usage(first: float, second: float, third: float, *, moved: bool = False) -> Usage:
        found = {VCPU: times(0), EMULATOR: times(0)}
        return Usage(
            guests={GuestId("web"): guest(found, both)},
            pcpus={
                0: pcpu(5, 1),
                4: pcpu(0, others=first, owned=frozenset({4})),
                5: pcpu(0, others=second, owned=frozenset({6} if moved else {5})),
                7: pcpu(0, others=third, owned=frozenset({6})),
            },
        )

    host.swept(usage(1, 1, 0))
    host.swept(usage(3, 2, 5))
    host.swept(usage(3, 2, 5, moved=True))
    rows = {one.pcpu: one for one in host.history.pcpus}
    assert (rows[0].others_millicpu, rows[0].work_millicpu) == ((), (0, 0))
    assert (rows[4].others_millicpu, rows[5].others_millicpu) == ((200, 0), (100, None))
    classes = {one.thread_class: one.others_millicpu for one in host.history.guests}
    assert classes == {VCPU: (300, 0), EMULATOR: (500, 0)}


def test_pools_have_rows_too() -> None:
    host = Host()
    host.swept(Usage(pools={"overhead": PoolUsage()}))
    host.swept(Usage(pools={"overhead": PoolUsage(run_ns=SECOND, wait_ns=2 * SECOND)}))
    (pool,) = host.history.pools
    assert (pool.pool, pool.work_millicpu, pool.wait_millicpu) == ("overhead", (100,), (200,))


def test_an_hour_is_kept_and_then_the_oldest_go() -> None:
    host = Host()
    host.guests(gone=0)
    for count in range(400):
        host.guests(web=count)
    assert len(host.history.ends) == 360
    assert host.row().work_millicpu == (100,) * 360
    assert [one.guest for one in host.history.guests] == ["web"]
    assert host.history.ends[-1] - host.history.ends[0] == 3590.0


def test_a_part_of_the_hour_can_be_asked_for() -> None:
    host = Host()
    for count in range(10):
        host.guests(web=count * count)
    part = host.samples.history("c01", seconds=30.0)
    assert part.ends == host.history.ends[-3:]
    assert part.guests[0].work_millicpu == host.row().work_millicpu[-3:]


def test_too_many_numbers_become_fewer_and_longer_samples() -> None:
    host = Host()
    for count in range(8):
        host.guests(web=count * (count - 1) / 2)
    assert host.row().work_millicpu == (0, 100, 200, 300, 400, 500, 600)
    fewer = host.samples.history("c01", most_numbers=12)
    assert (fewer.guests[0].work_millicpu, fewer.seconds, fewer.step_seconds) == ((0, 150, 350, 550), (10.0, 20.0, 20.0, 20.0), 20.0)


def test_rare_sweeps_make_rare_samples_of_the_same_hour() -> None:
    host = Host(60.0)
    for count in range(100):
        host.swept(Usage(guests={GuestId("web"): guest({EMULATOR: times(count)})}), after=60.0)
    assert (len(host.history.ends), host.history.step_seconds) == (60, 60.0)


@pytest.mark.parametrize("run", [0, 1, 4095, 4096, 130_000, 3_000_000])
def test_a_number_is_exact_or_wrong_by_less_than_a_thousandth(run: int) -> None:
    host = Host()
    host.guests(web=0)
    host.guests(web=run / 100)
    found = host.row().work_millicpu[0]
    assert found is not None
    assert run * 0.999 <= found <= run


CLASSES = (VCPU, EMULATOR, ThreadClass.IOTHREAD, ThreadClass.VHOST, ThreadClass.KTHREAD)


def large(pcpus: int, guests: int, seconds: int) -> Usage:
    classes = {kind: times(seconds * 13.37, seconds * 7.7) for kind in CLASSES}
    return Usage(
        guests={GuestId(f"00000000-0000-4000-8000-{number:012}"): guest(classes) for number in range(guests)},
        pcpus={number: pcpu(seconds / 3, seconds / 7, seconds / 9, frozenset({number})) for number in range(pcpus)},
        pools={name: PoolUsage(run_ns=seconds * SECOND) for name in ("dedicated", "shared", "overhead")},
    )


def test_an_hour_of_512_pcpus_and_512_guests_takes_less_than_8_mib() -> None:
    usages = [large(512, 512, number) for number in range(3)]
    names = {key: f"instance-{key}" for key in usages[0].guests}
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        samples = Samples()
        for number in range(8):  # the rows have their full length from the beginning
            samples.add(usages[min(number, 2)], NOBODY, names, Moment(at=10.0 * number, time=10.0 * number))
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 8 * 2**20
    found = samples.history("c01", most_numbers=10**9)
    assert (len(found.pcpus), len(found.guests), len(found.pools), len(found.ends), found.left_out) == (512, 2560, 3, 7, 0)
    assert sum(len(codes) * codes.itemsize for codes in samples._codes) == (512 + 2560 + 3) * 360 * 3 * 2


def test_more_guests_than_rows_leave_some_out_and_never_more_memory() -> None:
    samples, usage = Samples(), large(512, 700, 1)
    for number in range(3):
        samples.add(usage, NOBODY, {}, Moment(at=10.0 * number, time=10.0 * number))
    found = samples.history("c01")
    assert len(samples._codes) == MOST_ROWS
    assert found.left_out == 700 - (MOST_ROWS - 512 - 3) // 5
    fewer = Usage(guests=dict(list(usage.guests.items())[-300:]), pcpus=usage.pcpus)
    for number in range(3, 6):
        samples.add(fewer, NOBODY, {}, Moment(at=10.0 * number, time=10.0 * number))
    assert samples.history("c01").left_out == 0
    assert len(samples._codes) == MOST_ROWS


def test_the_largest_history_has_as_few_samples_as_its_bound_allows() -> None:
    samples = Samples()
    for number in range(363):
        samples.add(large(10, 30, number * 50), NOBODY, {}, Moment(at=10.0 * number, time=1.7e9 + 10.0 * number))
    found = samples.history("c01")
    numbers = [len(one.work_millicpu) for one in found.pcpus] + [len(one.work_millicpu) for one in found.guests]
    assert 0.4 * MOST_NUMBERS < 3 * sum(numbers) <= MOST_NUMBERS
    assert len(json_text(found)) < 2**20

"""Counters of guests, pCPUs and pools: properties over made-up lives of threads, of which everything is known."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from pinfold.core.cpuset import CpuSet
from pinfold.core.identity import GuestId
from pinfold.core.overhead import ThreadClass
from pinfold.core.usage import GuestTimes, GuestUsage, Sample, ThreadTimes, Times, Usage, accumulated

WEB = GuestId("web")
TICK = 10_000_000
CLASSES = (ThreadClass.VCPU, ThreadClass.EMULATOR, ThreadClass.IOTHREAD)


def thread(tid: int, run: int, *, wait: int = 0, slices: int = 0, kind: ThreadClass = ThreadClass.VCPU, on: str = "4") -> ThreadTimes:
    return ThreadTimes(
        tid=tid, thread_class=kind, allowed=CpuSet.parse(on), times=Times(run_ns=run, wait_ns=wait, slices=slices), outside=False
    )


def guest(*threads: ThreadTimes, process: int | None = None, pid: int = 1, start: int = 1) -> GuestTimes:
    total = sum(one.times.run_ns for one in threads if not one.outside) if process is None else process
    return GuestTimes(guest=WEB, pid=pid, start_ticks=start, process_ns=total, threads=threads)


def fed(*samples: Sample) -> Usage:
    usage: Usage | None = None
    for one in samples:
        usage = accumulated(usage, one)
    assert usage is not None
    return usage


def run_of(usage: GuestUsage) -> int:
    return sum(times.run_ns for times in usage.classes.values())


class World:
    """The threads of one process, all that they ever did, and what a sampler may see of it."""

    def __init__(self) -> None:
        self.alive: dict[int, ThreadTimes] = {1: thread(1, 0)}
        self.gone_ns = 0
        self.newest = 1

    def step(self, act: tuple[str, int, int]) -> None:
        what, which, amount = act
        if what == "begin":
            self.newest += 1
            self.alive[self.newest] = thread(self.newest, amount, kind=CLASSES[which % 3])
        elif what == "end" and len(self.alive) > 1:
            tid = sorted(self.alive)[1 + which % (len(self.alive) - 1)]
            self.gone_ns += self.alive.pop(tid).times.run_ns
        else:
            tid = sorted(self.alive)[which % len(self.alive)]
            old = self.alive[tid]
            times = Times(run_ns=old.times.run_ns + amount, wait_ns=old.times.wait_ns + amount // 3, slices=old.times.slices + 1)
            self.alive[tid] = replace(old, times=times)

    @property
    def total(self) -> int:
        return self.gone_ns + sum(one.times.run_ns for one in self.alive.values())

    def sample(self) -> Sample:
        return Sample(guests=(guest(*self.alive.values(), process=self.total // TICK * TICK),))


def test_a_guest_that_the_first_sample_could_not_read_has_not_just_done_all_that_it_ever_did() -> None:
    pools = (("overhead", CpuSet.parse("0-4")),)
    month, unread = 2_000_000_000_000_000, frozenset({WEB})
    found = fed(
        Sample(unread=unread, pools=pools),
        Sample(unread=unread, pools=pools),
        Sample(guests=(guest(thread(1, month, wait=month)),), pools=pools),
    )
    assert run_of(found.guests[WEB]) == 0
    assert found.pools["overhead"].wait_ns == 0
    later = accumulated(found, Sample(guests=(guest(thread(1, month + 7, wait=month + 3)),), pools=pools))
    assert run_of(later.guests[WEB]) == 7
    assert later.pools["overhead"].wait_ns == 3


def test_a_guest_that_begins_later_counts_from_its_beginning_also_if_it_cannot_be_read_at_first() -> None:
    found = fed(Sample(), Sample(unread=frozenset({WEB})), Sample(guests=(guest(thread(1, 500)),)))
    assert run_of(found.guests[WEB]) == 500


ACTS = st.tuples(st.sampled_from(["run", "begin", "end", "sample"]), st.integers(0, 20), st.integers(0, 5 * TICK))


@given(acts=st.lists(ACTS, max_size=60))
def test_all_cpu_time_is_counted_but_for_the_rounding_of_the_kernel(acts: list[tuple[str, int, int]]) -> None:
    world = World()
    usage = fed(world.sample())
    base = world.total
    for act in [*acts, ("sample", 0, 0)]:
        if act[0] != "sample":
            world.step(act)
            continue
        usage = accumulated(usage, world.sample())
        found = usage.guests[WEB]
        counted = run_of(found) + found.ended_ns
        assert world.total - base - TICK <= counted <= world.total - base + TICK


@given(acts=st.lists(ACTS, max_size=60))
def test_no_counter_ever_falls(acts: list[tuple[str, int, int]]) -> None:
    world = World()
    usage = fed(world.sample())
    for act in acts:
        if act[0] != "sample":
            world.step(act)
            continue
        after = accumulated(usage, world.sample())
        old, new = usage.guests[WEB], after.guests[WEB]
        assert new.ended_ns >= old.ended_ns
        for kind, times in old.classes.items():
            assert new.classes[kind].run_ns >= times.run_ns
            assert new.classes[kind].wait_ns >= times.wait_ns
            assert new.classes[kind].slices >= times.slices
        usage = after


@given(acts=st.lists(ACTS.filter(lambda act: act[0] not in ("begin", "end")), max_size=40))
def test_threads_that_stay_are_counted_exactly(acts: list[tuple[str, int, int]]) -> None:
    world = World()
    first = world.sample()
    usage = fed(first)
    for act in [*acts, ("sample", 0, 0)]:
        if act[0] == "sample":
            usage = accumulated(usage, world.sample())
        else:
            world.step(act)
    (now,) = world.sample().guests
    done = now.threads[0].times
    assert usage.guests[WEB].classes[ThreadClass.VCPU] == done


def test_what_ran_before_the_first_sample_is_not_counted() -> None:
    usage = fed(Sample(guests=(guest(thread(1, 500), process=900),)), Sample(guests=(guest(thread(1, 700), process=1_100),)))
    assert run_of(usage.guests[WEB]) == 200
    assert usage.guests[WEB].ended_ns == 0


def test_a_guest_that_starts_later_is_counted_from_its_start() -> None:
    usage = fed(Sample(), Sample(guests=(guest(thread(1, 500, wait=7, slices=2)),)))
    assert usage.guests[WEB].classes == {ThreadClass.VCPU: Times(run_ns=500, wait_ns=7, slices=2)}


def test_a_guest_that_starts_anew_counts_on() -> None:
    usage = fed(Sample(), Sample(guests=(guest(thread(1, 500), process=800),)), Sample(guests=(guest(thread(9, 40), pid=9, process=60),)))
    assert (run_of(usage.guests[WEB]), usage.guests[WEB].ended_ns) == (540, 320)


def test_a_thread_id_that_is_used_again_is_another_thread() -> None:
    samples = (guest(thread(1, 0), thread(2, 900)), guest(thread(1, 0), thread(2, 30), process=930))
    assert run_of(fed(Sample(), *(Sample(guests=(one,)) for one in samples)).guests[WEB]) == 930


def test_a_kernel_thread_is_no_part_of_its_guest_s_process() -> None:
    vhost = replace(thread(2, 5_000, kind=ThreadClass.VHOST), outside=True)
    usage = fed(Sample(), Sample(guests=(guest(thread(1, 100), vhost, process=100),)))
    assert usage.guests[WEB].classes[ThreadClass.VHOST].run_ns == 5_000
    assert usage.guests[WEB].ended_ns == 0


def test_a_guest_that_cannot_be_read_keeps_its_counters_and_one_that_ended_loses_them() -> None:
    usage = fed(Sample(), Sample(guests=(guest(thread(1, 100)),)), Sample(unread=frozenset({WEB})))
    assert run_of(usage.guests[WEB]) == 100
    assert accumulated(usage, Sample()).guests == {}


@given(
    own=st.lists(st.tuples(st.integers(0, 10 * TICK), st.integers(0, 10 * TICK)), max_size=30),
)
def test_others_on_an_owned_pcpu_are_the_busy_time_that_the_owner_did_not_run(own: list[tuple[int, int]]) -> None:
    usage, mine, others = None, 0, 0
    for run, taken in [(0, 0), *own]:
        mine, others = mine + run, others + taken
        sample = Sample(guests=(guest(thread(1, mine)),), busy_ns=((4, mine + others),), owned=((4, frozenset({1})),))
        usage = accumulated(usage, sample)
    assert usage is not None
    assert usage.pcpus[4].others_ns == others
    assert usage.pcpus[4].run_ns == mine + others


def test_a_sample_after_which_others_own_the_pcpu_counts_nothing_as_taken() -> None:
    def one(busy: int, run: int, owned: frozenset[int] | None) -> Sample:
        return Sample(
            guests=(guest(thread(1, run)),),
            busy_ns=((4, busy),),
            owned=() if owned is None else ((4, owned),),
            pools=(("shared", CpuSet.of(4)),),
        )

    mine = frozenset({1})
    usage = fed(one(0, 0, None), one(500, 100, mine), one(900, 480, mine), one(999, 490, None))
    assert usage.pcpus[4].others_ns == 20
    assert usage.pools["shared"].run_ns == 999


def test_waiting_counts_for_the_pool_that_a_thread_is_confined_to() -> None:
    def one(wait: int) -> Sample:
        threads = (thread(1, 0, wait=wait, on="4"), thread(2, 0, wait=10 * wait, on="0-1", kind=ThreadClass.EMULATOR))
        return Sample(
            guests=(guest(*threads),), busy_ns=((0, 0), (4, 0)), pools=(("dedicated", CpuSet.parse("4-7")), ("shared", CpuSet.parse("0-3")))
        )

    usage = fed(one(0), one(7))
    assert {name: pool.wait_ns for name, pool in usage.pools.items()} == {"dedicated": 7, "shared": 70}
    assert (usage.pcpus[4].wait_ns, usage.pcpus[0].wait_ns) == (7, 0)

"""What `pinfold top` shows of the time between two sweeps, and in which order."""

from __future__ import annotations

import pytest
from tests.watch.seen import guest, snapshot

from pinfold.core.cpuset import CpuSet
from pinfold.core.drift import FindingCode, Severity
from pinfold.core.drift.written import WrittenFinding
from pinfold.core.identity import GuestId
from pinfold.core.overhead import ThreadClass
from pinfold.core.usage import GuestUsage, PcpuUsage, PoolUsage, ThreadTimes, Times, Usage
from pinfold.watch.top import Order, Top, TopGuest, ordered, top

MS = 1_000_000
WEB = guest(1, "web")


def usage(run: int, wait: int, others: int = 0, *, start: int = 1) -> Usage:
    """What guest `web`, which has pCPU 3 alone, its pool and its pCPU had done, in milliseconds."""
    both = Times(run_ns=run * MS, wait_ns=wait * MS)
    thread = ThreadTimes(tid=7, thread_class=ThreadClass.VCPU, allowed=CpuSet.of(3), times=both)
    classes = dict.fromkeys((ThreadClass.VCPU, ThreadClass.EMULATOR, ThreadClass.KTHREAD, ThreadClass.UNKNOWN), both)
    return Usage(
        guests={GuestId(WEB.id): GuestUsage(pid=1, start_ticks=start, classes=classes, last={7: thread})},
        pcpus={3: PcpuUsage(busy_ns=0, owned=frozenset({7}), others_ns=others * MS)},
        pools={"overhead": PoolUsage(run_ns=run * MS, wait_ns=wait * MS)},
    )


def shown(before: Usage, after: Usage, **more: object) -> Top:
    return top(before, after, snapshot(WEB, **more), 2.0)  # type: ignore[arg-type]


def test_a_guest_has_what_its_overhead_threads_and_vcpus_did_in_each_second() -> None:
    (web,) = shown(usage(100, 10, 5), usage(500, 30, 205)).guests
    assert (web.name, web.origin, web.policy, web.vcpus) == ("web", "nova", "share", 1)
    assert (web.overhead_millicpu, web.overhead_wait_millicpu) == (400, 20)
    assert (web.vcpu_millicpu, web.vcpu_wait_millicpu) == (200, 10)
    assert web.others_millicpu == 100


def test_a_pool_has_what_its_pcpus_did_and_what_is_booked() -> None:
    found = shown(usage(100, 10), usage(500, 30))
    overhead = next(pool for pool in found.pools if pool.pool == "overhead")
    assert (overhead.used_millicpu, overhead.wait_millicpu, overhead.booked_millicpu, overhead.capacity_millicpu) == (200, 10, 32, 1000)
    assert [(pool.pool, pool.used_millicpu) for pool in found.pools] == [("dedicated", None), ("shared", None), ("overhead", 200)]


def test_a_guest_that_is_new_or_started_again_has_no_numbers_yet() -> None:
    for before in (Usage(), usage(0, 0, start=9)):
        (web,) = shown(before, usage(500, 30)).guests
        assert (web.overhead_millicpu, web.vcpu_wait_millicpu) == (None, None)


def test_a_pcpu_with_another_owner_than_before_tells_nothing() -> None:
    other = Usage(guests=usage(0, 0).guests, pcpus={3: PcpuUsage(busy_ns=0, owned=frozenset({8}))})
    assert shown(other, usage(0, 0, 50)).guests[0].others_millicpu is None


def test_drift_of_a_guest_is_counted_and_notes_are_not() -> None:
    findings = tuple(
        WrittenFinding(code=FindingCode.EMULATOR_THREAD, severity=severity, guest="web", guest_id=WEB.id, sentence="", advice="")
        for severity in (Severity.DRIFT, Severity.DRIFT, Severity.NOTE)
    )
    assert shown(Usage(), Usage(), findings=findings).guests[0].drift == 2


def test_guests_that_were_not_read_are_named_and_those_that_do_not_run_are_left_out() -> None:
    seen = snapshot(WEB, guest(2, "off", runs=False), guest(3, "on"))
    found = top(Usage(), Usage(), seen, 2.0, ("web",))
    assert ([one.name for one in found.guests], found.unread) == (["on"], ("web",))


@pytest.mark.parametrize(
    ("order", "names"),
    [
        (Order.DELAY, ["b", "c", "a", "new"]),
        (Order.OVERHEAD, ["a", "b", "c", "new"]),
        (Order.VCPU, ["c", "a", "b", "new"]),
        (Order.WAIT, ["c", "a", "b", "new"]),
        (Order.OTHERS, ["c", "a", "b", "new"]),
        (Order.NAME, ["a", "b", "c", "new"]),
    ],
)
def test_guests_are_sorted_with_the_most_first_and_without_a_number_last(order: Order, names: list[str]) -> None:
    def one(name: str, overhead: int, delay: int, vcpu: int) -> TopGuest:
        return TopGuest(
            guest=name,
            name=name,
            origin="nova",
            policy="share",
            vcpus=1,
            overhead_millicpu=overhead,
            overhead_wait_millicpu=delay,
            vcpu_millicpu=vcpu,
            vcpu_wait_millicpu=vcpu,
            others_millicpu=vcpu or None,
        )

    new = TopGuest(guest="new", name="new", origin="nova", policy="", vcpus=1)
    found = ordered((new, one("c", 1, 2, 9), one("b", 2, 9, 0), one("a", 3, 1, 0)), order)
    assert [each.name for each in found] == names

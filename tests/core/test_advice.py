"""Advice on the overhead pool: what follows from measured hours, and when there is too little evidence."""

from __future__ import annotations

from msgspec.structs import replace

from pinfold.core.host import OverheadRates
from pinfold.core.overhead.advice import BENCHMARK_PAGE, Evidence, advise
from pinfold.core.overhead.assumption import Assumptions
from pinfold.core.overhead.hours import LEAST_HOURS, OverheadHour

RATES = OverheadRates(guest=20, vcpu=2, disk=10, nic=10)
S = 1_000_000_000


def hour(number: int, *, busy: float = 0.5, delay_us: float = 100.0, pcpus: int = 2, run: float = 0.5) -> OverheadHour:
    """An hour with ten guests on a pool of two pCPUs, of which one is booked. `run` is what the guests' overhead threads ran, in pCPUs."""
    return OverheadHour(
        begins=3600 * number,
        seconds=3600.0,
        guest_seconds=36_000.0,
        run_ns=int(run * 3600 * S),
        wait_ns=int(delay_us * 1000 * 100_000),
        slices=100_000,
        pool_run_ns=int(busy * pcpus * 3600 * S),
        pool_cpu_seconds=pcpus * 3600.0,
        booked_cpu_seconds=3600.0,
    )


QUIET = tuple(hour(number) for number in range(LEAST_HOURS))


def value(figure: object) -> float | None:
    return getattr(figure, "value", None)


def test_fewer_than_a_day_of_hours_are_too_little_evidence() -> None:
    found = advise(QUIET[1:], 1000, RATES)
    assert (found.pcpus, found.rates, found.guests, found.busy_allowed) == (None, None, None, None)
    assert found.why == "too little evidence: 23 of 24 hours are measured; assume guests, and vcpus or cpu-per-guest, for a first answer"


def test_hours_that_are_hardly_measured_or_have_no_guests_are_no_evidence() -> None:
    for useless in (replace(QUIET[0], seconds=1799.0), replace(QUIET[0], guest_seconds=0.0), replace(QUIET[0], slices=999)):
        assert advise((useless, *QUIET[1:]), 1000, RATES).hours == LEAST_HOURS - 1


def test_where_every_hour_keeps_the_target_nothing_says_that_fewer_pcpus_would_do() -> None:
    found = advise((*QUIET, hour(90, busy=0.8, delay_us=900)), 1000, RATES)
    assert (found.pcpus, found.missed, value(found.busy_allowed), value(found.load)) == (2, 0, 0.8, 1.6)


def test_the_pool_grows_until_its_busiest_hour_is_as_busy_as_the_busiest_that_kept_the_target() -> None:
    found = advise((*QUIET, hour(90, busy=0.6, delay_us=900), hour(91, busy=0.9, delay_us=5000)), 1000, RATES)
    assert (found.pcpus, found.missed, value(found.busy_allowed), found.worst_delay_us) == (3, 1, 0.6, 5000.0)  # 1.8 / 0.6


def test_a_busier_hour_that_keeps_the_target_by_luck_allows_nothing() -> None:
    hours = (*QUIET, hour(90, busy=0.7, delay_us=2000), hour(91, busy=0.9, delay_us=10))
    assert value(advise(hours, 1000, RATES).busy_allowed) == 0.5


def test_where_the_least_busy_hour_misses_the_target_no_number_is_given() -> None:
    found = advise((*QUIET, hour(90, busy=0.1, delay_us=2000)), 1000, RATES)
    assert (found.pcpus, found.busy_allowed) == (None, None)
    assert "not known to help" in found.why


def test_without_a_journal_assumptions_and_the_benchmark_give_a_number() -> None:
    found = advise((), 1000, RATES, assumed=Assumptions(guests=40, cpu_per_guest=0.05))
    assert found.load is not None and found.busy_allowed is not None
    assert (found.load.value, found.load.evidence, found.load.source) == (
        2.0,
        Evidence.ASSUMED,
        "40 guests (assumed) with 0.05 pCPUs each (assumed)",
    )
    assert (found.busy_allowed.value, found.busy_allowed.evidence) == (0.839, Evidence.BENCHMARK)
    assert BENCHMARK_PAGE in found.busy_allowed.source
    assert (found.pcpus, found.hours) == (3, 0)
    assert found.rates_why == "too little evidence: 0 of 24 hours are measured"


def test_what_is_assumed_counts_before_what_was_measured() -> None:
    found = advise(QUIET, 1000, RATES, assumed=Assumptions(guests=100, busy=0.25))
    assert found.load is not None and found.guest_cpu is not None
    assert (found.guest_cpu.value, found.guest_cpu.evidence) == (0.05, Evidence.MEASURED)
    assert found.load.source == "100 guests (assumed) with 0.05 pCPUs each (measured)"
    assert found.pcpus == 20  # 100 x 0.05 / 0.25


def test_a_target_that_the_benchmark_did_not_keep_needs_an_assumption() -> None:
    assumed = Assumptions(guests=40, cpu_per_guest=0.05)
    found = advise((), 3, RATES, assumed=assumed)
    assert (found.pcpus, found.why) == (None, f"the benchmark ({BENCHMARK_PAGE}) did not keep that target; assume busy")
    assert advise((), 3, RATES, assumed=replace(assumed, busy=0.4)).pcpus == 5

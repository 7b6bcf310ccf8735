"""Advice on the overhead pool: what follows from measured hours, and when there is too little evidence."""

from __future__ import annotations

from msgspec.structs import replace

from pinfold.core.host import OverheadRates
from pinfold.core.overhead.advice import LEAST_HOURS, OverheadHour, advise

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


def test_fewer_than_a_day_of_hours_are_too_little_evidence() -> None:
    found = advise(QUIET[1:], 1000, RATES)
    assert (found.pcpus, found.rates, found.why) == (None, None, "too little evidence: 23 of 24 hours are measured")


def test_hours_that_are_hardly_measured_or_have_no_guests_are_no_evidence() -> None:
    for useless in (replace(QUIET[0], seconds=1799.0), replace(QUIET[0], guest_seconds=0.0), replace(QUIET[0], slices=999)):
        assert advise((useless, *QUIET[1:]), 1000, RATES).hours == LEAST_HOURS - 1


def test_where_every_hour_keeps_the_target_nothing_says_that_fewer_pcpus_would_do() -> None:
    found = advise((*QUIET, hour(90, busy=0.8, delay_us=900)), 1000, RATES)
    assert (found.pcpus, found.missed, found.busy_allowed, found.load) == (2, 0, 0.8, 1.6)


def test_the_pool_grows_until_its_busiest_hour_is_as_busy_as_the_busiest_that_kept_the_target() -> None:
    found = advise((*QUIET, hour(90, busy=0.6, delay_us=900), hour(91, busy=0.9, delay_us=5000)), 1000, RATES)
    assert (found.pcpus, found.missed, found.busy_allowed, found.worst_delay_us) == (3, 1, 0.6, 5000.0)  # 1.8 / 0.6


def test_a_busier_hour_that_keeps_the_target_by_luck_allows_nothing() -> None:
    hours = (*QUIET, hour(90, busy=0.7, delay_us=2000), hour(91, busy=0.9, delay_us=10))
    assert advise(hours, 1000, RATES).busy_allowed == 0.5


def test_where_the_least_busy_hour_misses_the_target_no_number_is_given() -> None:
    found = advise((*QUIET, hour(90, busy=0.1, delay_us=2000)), 1000, RATES)
    assert (found.pcpus, found.busy_allowed) == (None, None)
    assert "not known to help" in found.why


def test_rates_are_scaled_by_what_was_used_of_what_was_booked_in_the_busiest_hour() -> None:
    found = advise((*QUIET, hour(90, run=1.25)), 1000, RATES)
    assert found.factor == 1.25
    assert found.rates == OverheadRates(guest=25, vcpu=3, disk=13, nic=13)
    assert found.guest_millicpu == 125


def test_without_bookings_there_are_no_rates() -> None:
    found = advise(tuple(replace(one, booked_cpu_seconds=0.0) for one in QUIET), 1000, RATES)
    assert (found.factor, found.rates) == (None, None)
    assert found.pcpus == 2

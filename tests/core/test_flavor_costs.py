"""What share and isolate cost for a flavor, with the evidence of each number."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.core.test_advice import QUIET, RATES, hour
from tests.core.test_overhead_rates import hours

from pinfold.core.cpuset import CpuSet
from pinfold.core.errors import InvalidRequest
from pinfold.core.overhead.advice import BENCHMARK_PAGE, Evidence
from pinfold.core.overhead.assumption import BENCHMARK, Assumptions, assumptions, benchmark_busy, benchmark_delay
from pinfold.core.overhead.flavor_costs import FlavorCosts, FlavorShape, shared_guests
from pinfold.core.overhead.hours import LEAST_HOURS, Place, ShapeHour
from pinfold.core.overhead.sizing import Sizing, sizing
from pinfold.core.pools import PoolConfig
from pinfold.core.request.model import EmulatorPolicy

POOLS = PoolConfig(shared=CpuSet.parse("0-1"), dedicated=CpuSet.parse("2-63"))
SMALL = FlavorShape(name="small", vcpus=4, disks=1, nics=1)
LARGE = FlavorShape(name="large", vcpus=30, disks=1, nics=1)
EVENT = [replace(one, wait_ns=one.slices * 30_000) for one in hours((4, 1, 1), 96.0)]
"""Guests of the small flavor ran 96 millicpu of overhead each, and waited 30 us before a slice."""


def of(flavor: FlavorShape, *, measured: list[ShapeHour] | None = None, assumed: Assumptions | None = None) -> FlavorCosts:
    return whole(flavor, measured=measured, assumed=assumed).flavors[0]


def whole(flavor: FlavorShape, *, measured: list[ShapeHour] | None = None, assumed: Assumptions | None = None) -> Sizing:
    pool = QUIET if measured else ()
    return sizing(pool, tuple(measured or ()), 1000, RATES, POOLS, assumed or Assumptions(), [flavor], "flavors.toml")


def test_a_shape_that_was_measured_is_compared_by_its_own_numbers() -> None:
    found = of(SMALL, measured=EVENT)
    assert (round(found.cpu.value, 4), found.cpu.evidence) == (0.096, Evidence.MEASURED)
    assert found.share_pcpus == pytest.approx(0.192)  # the pool may be half busy
    assert (found.share_guests, found.isolate_guests) == (15, 12)  # 15 x 4 and 3 pCPUs of a pool; 12 x 5
    assert found.share_delay_us is not None
    assert (found.share_delay_us.value, found.share_delay_us.evidence) == (30.0, Evidence.MEASURED)
    assert found.isolate_delay_us is not None and found.isolate_delay_us.evidence is Evidence.BENCHMARK
    assert (found.policy, found.why) == (EmulatorPolicy.SHARE, "one pCPU of the pool is enough for 5 such guests")
    assert found.booked_millicpu == 96


def test_floating_vcpus_of_a_flavor_take_no_pcpu_but_book_as_any() -> None:
    found, whole_ones = of(replace(SMALL, floating=2), measured=EVENT), of(SMALL, measured=EVENT)
    assert (found.vcpus, found.pinned, found.share_guests, found.isolate_guests) == (4, 2, 29, 21)  # 29 x 2 and 6 of a pool; 21 x 3
    assert (found.booked_millicpu, found.cpu) == (whole_ones.booked_millicpu, whole_ones.cpu)


def test_guests_with_isolate_that_were_measured_are_the_evidence_of_isolate() -> None:
    own = [replace(one, place=Place.OWN, wait_ns=one.slices * 7000) for one in EVENT]
    found = of(SMALL, measured=[*EVENT, *own])
    assert found.isolate_delay_us is not None
    assert (found.isolate_delay_us.value, found.isolate_delay_us.evidence) == (7.0, Evidence.MEASURED)


def test_another_shape_is_judged_by_the_fitted_rates() -> None:
    found = of(LARGE, measured=EVENT)
    assert found.cpu.evidence is Evidence.MEASURED
    assert found.cpu.source == f"by the rates that match the guests of {LEAST_HOURS} measured hours"
    assert found.booked_millicpu == round(1000 * found.cpu.value) == 200  # twice 20 + 2 x 30 + 10 + 10


def test_a_flavor_whose_share_takes_a_pcpu_should_isolate() -> None:
    found = of(SMALL, assumed=Assumptions(guests=2, cpu_per_guest=0.9, busy=0.6))
    assert found.cpu.evidence is Evidence.ASSUMED
    assert (found.policy, found.why) == (EmulatorPolicy.ISOLATE, "with share it takes a pCPU of the pool or more")
    assert (found.share_guests, found.isolate_guests) == (11, 12)


def test_where_no_busy_hour_kept_the_target_flavors_should_isolate() -> None:
    late = (*QUIET[1:], hour(90, busy=0.1, delay_us=9000))
    found = sizing(late, (), 1000, RATES, POOLS, Assumptions(), [SMALL], "x").flavors[0]
    assert (found.policy, found.why) == (EmulatorPolicy.ISOLATE, "no busy hour of the pool kept the target")


def test_without_evidence_there_is_no_advice_and_the_rates_are_named_as_estimates() -> None:
    found = of(SMALL)
    assert (found.policy, found.share_pcpus, found.share_delay_us) == (None, None, None)
    assert (found.cpu.evidence, found.cpu.value) == (Evidence.CONFIGURED, 0.048)
    assert found.isolate_guests == 12
    assert "not known" in found.why


def test_without_flavors_the_measured_shapes_are_compared_and_pcpus_may_be_assumed() -> None:
    found = sizing(QUIET, tuple(EVENT), 1000, RATES, PoolConfig(), Assumptions(pcpus=20), None, "")
    assert [one.name for one in found.flavors] == ["4 vCPUs, 1 disk, 1 NIC"]
    assert found.flavors_from == "the guests that were measured"
    assert (found.flavors[0].share_guests, found.flavors[0].isolate_guests) == (4, 4)
    bare = sizing(QUIET, tuple(EVENT), 1000, RATES, PoolConfig(), Assumptions(), None, "")
    assert (bare.host_pcpus, bare.flavors[0].share_guests) == (None, None)


@pytest.mark.parametrize("pcpus", [1, 5, 17, 64])
@pytest.mark.parametrize("vcpus", [1, 4, 7])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.99, 2.5])
def test_shared_guests_are_the_most_that_fit(pcpus: int, vcpus: int, share: float) -> None:
    def fits(guests: int) -> bool:
        pool = next(size for size in range(1, 1000) if size >= guests * share - 1e-9)
        return guests * vcpus + (pool if guests else 0) <= pcpus

    assert shared_guests(pcpus, vcpus, share) == max(guests for guests in range(pcpus + 1) if fits(guests))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("guest=4", "did you mean guests?"),
        ("nonsense=1", "guests, vcpus, cpu-per-guest, busy, pcpus can be"),
        ("busy=1.5", "a number from 0.01 to 1 is"),
        ("busy=", "a number from 0.01 to 1 is"),
        ("guests=nan", "a number from 1 to 100000 is"),
        ("pcpus=2.5", "a whole number from 1 to 8192 is"),
    ],
)
def test_a_wrong_assumption_is_named(text: str, said: str) -> None:
    with pytest.raises(InvalidRequest, match=re.escape(said)):
        assumptions([text])
    with pytest.raises(InvalidRequest, match="given twice"):
        assumptions(["busy=0.5", "busy=0.6"])


def test_the_defaults_are_those_of_the_benchmarks_page() -> None:
    page = (Path(__file__).parents[2] / BENCHMARK_PAGE).read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if re.match(r"\| [0-9]", line)]
    assert sorted((float(busy), int(wait)) for _, busy, _, wait in rows) == list(BENCHMARK)
    assert (benchmark_busy(1000), benchmark_busy(50), benchmark_busy(3)) == (0.839, 0.822, None)
    assert (benchmark_delay(0.5), benchmark_delay(0.01), benchmark_delay(0.95)) == (10, None, None)

"""Rates that match what was measured: what shapes of guests tell, and what keeps its proportion."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pinfold.core.host import OverheadRates
from pinfold.core.overhead import ThreadClass
from pinfold.core.overhead.hours import LEAST_HOURS, Place, Shape, ShapeHour
from pinfold.core.overhead.rates import fitted

PRESENT = OverheadRates(guest=20, vcpu=2, disk=10, nic=10)
S = 1_000_000_000


def hours(shape: Shape, millicpu: float, *, guests: int = 4, count: int = LEAST_HOURS, first: int = 0) -> list[ShapeHour]:
    """Hours in which each guest of that shape ran so many millicpu, two thirds of it in the emulator and one in vhost."""
    vcpus, disks, nics = shape
    return [
        ShapeHour(
            begins=3600 * (first + number),
            place=Place.POOL,
            vcpus=vcpus,
            disks=disks,
            nics=nics,
            thread_class=kind,
            guest_seconds=3600.0 * guests,
            run_ns=int(millicpu * part / 3 * 3600 * guests * S / 1000),
            wait_ns=0,
            slices=1000,
        )
        for number in range(count)
        for kind, part in ((ThreadClass.EMULATOR, 2), (ThreadClass.VHOST, 1))
    ]


def test_one_shape_tells_no_rate_and_all_keep_their_proportion() -> None:
    found = fitted(hours((4, 1, 1), 96.0), PRESENT)  # 48 by the present rates
    assert found is not None
    assert (found.told, found.hours) == ((), LEAST_HOURS)
    assert found.rates == OverheadRates(guest=40, vcpu=4, disk=20, nic=20)
    assert [(one.used_millicpu, one.booked_millicpu) for one in found.shapes] == [(96.0, 96)]


def test_shapes_that_differ_in_vcpus_tell_the_rate_of_a_vcpu() -> None:
    found = fitted([*hours((2, 1, 1), 60.0), *hours((16, 1, 1), 200.0), *hours((32, 1, 1), 360.0)], PRESENT)
    assert found is not None
    assert "vcpu" in found.told and not {"disk", "nic"} & set(found.told)
    assert 9 <= found.rates.vcpu <= 12
    assert all(abs(one.booked_millicpu - one.used_millicpu) < 0.2 * one.used_millicpu for one in found.shapes)


def test_shapes_that_differ_in_everything_tell_every_rate() -> None:
    shapes = [(vcpus, disks, nics) for vcpus in (1, 16) for disks in (1, 6) for nics in (1, 4)]
    measured = [one for v, d, n in shapes for one in hours((v, d, n), 10.0 + 5 * v + 20 * d + 30 * n)]
    found = fitted(measured, PRESENT)
    assert found is not None
    assert set(found.told) >= {"vcpu", "disk", "nic"}
    assert 4 <= found.rates.vcpu <= 7 and 17 <= found.rates.disk <= 24 and 25 <= found.rates.nic <= 36


def test_a_shape_with_fewer_than_a_day_of_hours_is_left_out() -> None:
    assert fitted(hours((4, 1, 1), 48.0, count=LEAST_HOURS - 1), PRESENT) is None
    found = fitted([*hours((4, 1, 1), 48.0), *hours((8, 1, 1), 900.0, count=2)], PRESENT)
    assert found is not None and [one.vcpus for one in found.shapes] == [4]


def test_nothing_that_ran_gives_no_rates() -> None:
    assert fitted((), PRESENT) is None
    assert fitted(hours((4, 1, 1), 0.0), PRESENT) is None


@given(
    st.dictionaries(st.tuples(st.integers(1, 64), st.integers(0, 8), st.integers(0, 8)), st.floats(0.1, 5000), min_size=1, max_size=8),
    st.tuples(*[st.integers(0, 100)] * 4),
    st.floats(1, 20),
)
def test_in_every_hour_the_rates_book_at_least_what_was_run_and_none_is_negative(
    used: dict[Shape, float], present: tuple[int, int, int, int], burst: float
) -> None:
    rates = OverheadRates(guest=present[0], vcpu=present[1], disk=present[2], nic=present[3])
    measured = [one for shape, millicpu in used.items() for one in hours(shape, millicpu)]
    measured += [one for shape, millicpu in used.items() for one in hours(shape, millicpu * burst, count=1, first=99)]
    found = fitted(measured, rates)
    assert found is not None
    assert min(found.rates.guest, found.rates.vcpu, found.rates.disk, found.rates.nic) >= 0
    booked = sum(4 * one.booked_millicpu for one in found.shapes)
    for begins in {one.begins for one in measured}:
        run = sum(one.run_ns for one in measured if one.begins == begins) / 3600 / S * 1000
        assert run <= booked * 1.001 + 1

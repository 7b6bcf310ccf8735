"""Masks of a fitted guest's threads, what it books, and what a pool holds."""

from __future__ import annotations

import pytest
from tests.build.fits import fits
from tests.build.hosts import cpus, state
from tests.build.requests import guest

from pinfold.core.errors import InvariantViolation
from pinfold.core.fit.answer import Fit
from pinfold.core.host import Limits, OverheadRates
from pinfold.core.overhead import booked_millicpu, capacity_millicpu, masks
from pinfold.core.pools import Pools
from pinfold.core.request.model import EmulatorPolicy, GuestRequest


def test_every_vcpu_and_the_overhead_threads_have_their_mask() -> None:
    where = state("pack:2 core:4", shared="0,4", overhead="0,4")
    answer = fits(guest("2 2", floating="1", realtime="2-3", emulator=EmulatorPolicy.SHARE), where)
    told = masks(answer)
    assert told.vcpus == (cpus("1"), cpus("0"), cpus("5"), cpus("6"))
    assert (told.overhead, told.realtime) == (cpus("0,4"), cpus("2-3"))


def test_a_guest_without_cells_floats_with_every_thread() -> None:
    told = masks(fits(GuestRequest(vcpus=3, memory_mib=8), state("core:4", shared="1-2")))
    assert (set(told.vcpus), told.overhead) == ({cpus("1-2")}, cpus("1-2"))


def test_a_fit_without_a_place_for_a_thread_is_a_bug() -> None:
    with pytest.raises(InvariantViolation, match="vCPU 0"):
        masks(Fit(vcpus=1, memory_mib=1, emulator=cpus("0")))
    with pytest.raises(InvariantViolation, match="the emulator threads"):
        masks(Fit(vcpus=1, memory_mib=1, float_vcpus=cpus("0"), float_set=cpus("0")))


def test_what_a_guest_books() -> None:
    assert (
        booked_millicpu(GuestRequest(vcpus=8, memory_mib=1, disks=2, nics=1), OverheadRates(guest=5, vcpu=3, disk=7, nic=11))
        == 5 + 24 + 14 + 11
    )


@pytest.mark.parametrize(
    ("shared", "overhead", "fraction", "millicpu"),
    [
        pytest.param("0-3", None, 0.5, 0, id="no pool"),
        pytest.param("0-3", "", 0.5, 0, id="a pool that is offline"),
        pytest.param("0-3", "0-3", 0.5, 2000, id="half of the overlap"),
        pytest.param("0-3", "4-5", 0.5, 2000, id="a pool apart counts in full"),
        pytest.param("0-3", "3-4", 0.5, 1500, id="an overlap of one"),
        pytest.param("0", "0", 0.3335, 333, id="rounded down"),
        pytest.param("0-9", "0-9", 0.1, 1000, id="a fraction is the decimal that it is written as"),
        pytest.param("0-3", "0-3", 0.0, 0, id="a fraction of nothing"),
    ],
)
def test_what_a_pool_holds(shared: str, overhead: str | None, fraction: float, millicpu: int) -> None:
    pools = Pools(shared=cpus(shared), dedicated=cpus(""), overhead=None if overhead is None else cpus(overhead))
    assert capacity_millicpu(pools, Limits(shared_fraction=fraction)) == millicpu

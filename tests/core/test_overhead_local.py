"""`[overhead] locality = prefer_local`: the parts of the pool on the guest's host cells, what is booked of them, and the whole pool."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from tests.build.fits import fits
from tests.build.hosts import cpus, state
from tests.build.requests import guest

from pinfold.accounting.resources import amounts
from pinfold.core.drift import Subject, out_of_place
from pinfold.core.errors import Conflict
from pinfold.core.fit.answer import Fit, NoFit
from pinfold.core.fit.invariants import broken
from pinfold.core.host import Booking, HostState, Limits, Locality, OverheadRates
from pinfold.core.identity import GuestId
from pinfold.core.ledger import claim
from pinfold.core.overhead import rebooked
from pinfold.core.reasons import ReasonCode
from pinfold.core.request.model import EmulatorPolicy, GuestRequest

LOCAL = Limits(reserved_memory_mib=0, locality=Locality.PREFER_LOCAL)
TIGHT = replace(LOCAL, shared_fraction=0.05)
"""A shared pCPU holds 50 millicpu of overhead."""
SHARE = EmulatorPolicy.SHARE
TWO_CELLS = "pack:2 core:6"
ONE, OTHER = GuestId("00000000-0000-4000-8000-000000000001"), GuestId("00000000-0000-4000-8000-000000000002")


def two_cells(pool: str = "0-1,6-7", limits: Limits = LOCAL, **more: str) -> HostState:
    """A host of two cells of six pCPUs, 0-5 and 6-11, whose shared pool is its overhead pool."""
    return state(TWO_CELLS, shared=pool, overhead=pool, limits=limits, **more)


def claimed(where: HostState, *requests: GuestRequest) -> HostState:
    """The host after these guests were placed in turn."""
    for number, request in enumerate(requests):
        where = claim(where, GuestId(f"00000000-0000-4000-8000-{100 + number:012d}"), fits(request, where))
    return where


def test_overhead_threads_run_on_the_pool_of_the_guests_own_cell_and_book_it() -> None:
    where = two_cells(taken="2-5")
    answer = fits(guest("2", emulator=SHARE), where)
    assert [cell.host_cell for cell in answer.cells] == [1]
    assert (answer.emulator, answer.overhead_cells, answer.overhead_millicpu) == (cpus("6-7"), ((1, 24),), 24)
    assert not answer.warnings and broken(answer) == ""
    assert dict(amounts(answer, where))["CUSTOM_OVERHEAD_MILLICPU"] == 24


def test_the_default_is_the_whole_pool_with_nothing_booked_by_cell() -> None:
    answer = fits(guest("2", emulator=SHARE), two_cells(limits=replace(LOCAL, locality=Locality.POOL)))
    assert (answer.emulator, answer.overhead_cells, answer.overhead_millicpu) == (cpus("0-1,6-7"), (), 24)


def test_a_guest_whose_cells_have_no_part_of_the_pool_uses_the_whole_pool_without_a_warning() -> None:
    answer = fits(guest("2", emulator=SHARE), two_cells("0-3", taken="4-5"))
    assert [cell.host_cell for cell in answer.cells] == [1]
    assert (answer.emulator, answer.overhead_cells, answer.warnings) == (cpus("0-3"), (), ())


def test_a_guest_on_several_cells_books_in_proportion_to_vcpus_and_the_remainder_on_the_lowest() -> None:
    limits = replace(LOCAL, rates=OverheadRates(guest=10, vcpu=5))
    answer = fits(guest("1 3", emulator=SHARE), two_cells(limits=limits))
    by_cell = {cell.host_cell: len(cell.pins) for cell in answer.cells}
    assert answer.overhead_millicpu == 30
    assert answer.overhead_cells == ((0, 30 - 30 * by_cell[1] // 4), (1, 30 * by_cell[1] // 4))
    assert answer.emulator == cpus("0-1,6-7")


def test_only_cells_with_a_part_of_the_pool_are_booked() -> None:
    answer = fits(guest("1 3", emulator=SHARE), two_cells("0-1"))
    assert (answer.emulator, answer.overhead_cells) == (cpus("0-1"), ((0, 28),))


@pytest.mark.parametrize("booking", Booking)
def test_a_full_part_means_the_whole_pool_and_a_warning_that_names_the_cell(booking: Booking) -> None:
    where = claimed(
        two_cells("0,6-7", limits=replace(TIGHT, booking=booking), taken="5"), guest("1", emulator=SHARE), guest("1", emulator=SHARE)
    )
    assert [one.fit.overhead_cells for one in where.ledger.claims[:2]] == [((0, 22),), ((0, 22),)]
    answer = fits(guest("1", emulator=SHARE), where)
    assert [cell.host_cell for cell in answer.cells] == [0]
    assert (answer.emulator, answer.overhead_cells, answer.overhead_millicpu) == (cpus("0,6-7"), (), 22)
    assert [warning.sentence() for warning in answer.warnings] == [
        "the part of the overhead pool on cell 0 has 6 of 22 millicpu free",
    ]


def test_a_guest_on_the_whole_pool_takes_no_room_of_a_part() -> None:
    where = two_cells("0,6-7", limits=TIGHT, taken="5")
    whole = replace(fits(guest("1", emulator=SHARE), where), emulator=cpus("0,6-7"), overhead_cells=())
    where = claim(where, ONE, whole)
    assert fits(guest("1", emulator=SHARE), where).overhead_cells == ((0, 22),)


def test_a_pool_that_books_nothing_is_never_full() -> None:
    limits = replace(LOCAL, shared_fraction=0.0)
    where = claimed(two_cells(limits=limits), guest("1", emulator=SHARE), guest("1", emulator=SHARE))
    answer = fits(guest("1", emulator=SHARE), where)
    assert (answer.emulator, answer.overhead_cells, answer.overhead_millicpu, answer.warnings) == (cpus("0-1"), ((0, 0),), 0, ())


def test_a_claim_is_refused_where_another_took_the_room_of_the_part_first() -> None:
    where = two_cells("0,6-7", limits=TIGHT, taken="5")
    mine = fits(guest("1", emulator=SHARE), where)
    taken = claimed(where, guest("1", emulator=SHARE), guest("1", emulator=SHARE))
    free = taken.pools.dedicated - taken.ledger.claims[0].fit.taken - taken.ledger.claims[1].fit.taken
    (cell,) = mine.cells
    mine = replace(mine, cells=(replace(cell, pins=((0, free.first),)),))
    with pytest.raises(Conflict, match="the part of the overhead pool on cell 0 has 6 of 22 millicpu free by now"):
        claim(taken, OTHER, mine)


def test_a_rebook_keeps_the_part_and_divides_anew() -> None:
    request = guest("2", emulator=SHARE)
    where = claim(two_cells(), ONE, fits(request, two_cells()))
    dearer = replace(where, limits=replace(LOCAL, rates=OverheadRates(guest=40, vcpu=5), locality=Locality.POOL))
    anew = rebooked(where.ledger.claims[0].fit, request, dearer)
    assert isinstance(anew, Fit)
    assert (anew.emulator, anew.overhead_cells, anew.overhead_millicpu) == (cpus("0-1"), ((0, 50),), 50)


def test_a_rebook_that_a_part_cannot_hold_is_refused_unless_it_only_reports() -> None:
    request = guest("1", emulator=SHARE)
    where = claim(two_cells("0,6-7", limits=TIGHT, taken="5"), ONE, fits(request, two_cells("0,6-7", limits=TIGHT, taken="5")))
    dearer = replace(where, limits=replace(TIGHT, rates=OverheadRates(guest=58)))
    refused = rebooked(where.ledger.claims[0].fit, request, dearer)
    assert isinstance(refused, NoFit) and [reason.code for reason in refused.reasons] == [ReasonCode.OVERHEAD_CELL_BOOKED]
    warned = rebooked(where.ledger.claims[0].fit, request, replace(dearer, limits=replace(dearer.limits, booking=Booking.REPORT)))
    assert isinstance(warned, Fit) and warned.overhead_cells == ((0, 60),) and len(warned.warnings) == 1


def test_a_part_that_was_chosen_is_no_finding_until_it_leaves_the_pool() -> None:
    where = two_cells()
    answer = fits(guest("2", emulator=SHARE), where)
    subject, online = Subject(name="web"), where.topology.online
    assert out_of_place(subject, answer, where.pools, online) == ()
    shrunk = replace(where.pools, overhead=cpus("6-7"))
    assert [finding.code.value for finding in out_of_place(subject, answer, shrunk, online)] == ["outside-pool"]


@pytest.mark.parametrize(
    ("cells", "wrong"),
    [
        pytest.param(((0, 20),), "books 24 millicpu, and by cell another sum", id="another sum"),
        pytest.param(((1, 24),), "books the overhead pool on a cell where the guest has no vCPU", id="a cell that is not the guest's"),
        pytest.param(((0, 12), (0, 12)), "does not book the overhead pool's cells once each, in ascending order", id="a cell twice"),
    ],
)
def test_a_record_with_impossible_bookings_by_cell_is_broken(cells: tuple[tuple[int, int], ...], wrong: str) -> None:
    answer = fits(guest("2", emulator=SHARE), two_cells())
    assert broken(replace(answer, overhead_cells=cells)) == wrong

"""What a change of the pools means for the guests that run there: their pins stay, and their other threads follow."""

from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.build.fits import fits
from tests.build.hosts import cpus, pools, state, states
from tests.build.requests import guest, guests
from tests.oracle.room import read
from tests.oracle.valid import emulator_wrongs, floating_wrongs

from pinfold.core.cpuset import CpuSet
from pinfold.core.fit.answer import EmulatorPlacement, Fit, NoFit
from pinfold.core.fit.engine import fit
from pinfold.core.fit.invariants import broken
from pinfold.core.host import Booking, HostState, Limits, Locality, OverheadRates
from pinfold.core.identity import GuestId
from pinfold.core.ledger import claim, release
from pinfold.core.overhead import booked_millicpu, masks
from pinfold.core.overhead.pool import pool_of
from pinfold.core.pool_change import Followed, follow
from pinfold.core.pools import Pools
from pinfold.core.reasons import ReasonCode
from pinfold.core.request.model import EmulatorPolicy, GuestRequest

WEB = GuestId("web")
SHARE, ISOLATE, UNSET = EmulatorPolicy.SHARE, EmulatorPolicy.ISOLATE, EmulatorPolicy.UNSET
LIMITS = Limits(reserved_memory_mib=0)


def placed(request: GuestRequest, where: HostState) -> tuple[Fit, HostState]:
    answer = fits(request, where)
    return answer, claim(where, WEB, answer)


def changed(request: GuestRequest, where: HostState, after: Pools, **limits: object) -> tuple[Fit, Followed | NoFit]:
    """The guest's fit on `where`, and its fit after the pools of `where` became `after`."""
    before, there = placed(request, where)
    moved = replace(there, pools=after, limits=replace(there.limits, **limits))  # type: ignore[arg-type]
    return before, follow(moved.ledger.claims[-1], request, moved)


def followed(request: GuestRequest, where: HostState, after: Pools, **limits: object) -> tuple[Fit, Followed]:
    before, answer = changed(request, where, after, **limits)
    assert isinstance(answer, Followed), answer
    return before, answer


EIGHT = state("core:8", shared="0-1", overhead="0-1")


def test_the_overhead_threads_of_a_share_guest_follow_the_overhead_pool_and_its_pins_stay() -> None:
    before, after = followed(guest("2", emulator=SHARE), EIGHT, pools("1-2", "3-7", "1-2"))
    assert (before.emulator, after.fit.emulator) == (cpus("0-1"), cpus("1-2"))
    assert after.fit.pins == before.pins and after.fit.emulator_placement is EmulatorPlacement.POOL


def test_pins_outside_the_new_dedicated_pool_stay_and_retire() -> None:
    before, after = followed(guest("2", emulator=SHARE), EIGHT, pools("0-1", "3-7", "0-1"))
    assert (before.pinned, after.retiring) == (cpus("2-3"), cpus("2"))
    assert after.fit == before


def test_an_offline_pcpu_of_its_own_retires() -> None:
    request = guest("2", emulator=SHARE)
    _, there = placed(request, EIGHT)
    offline = replace(there, topology=state("core:8 offline:2").topology, pools=pools("0-1", "3-7", "0-1"))
    after = follow(offline.ledger.claims[0], request, offline)
    assert isinstance(after, Followed) and after.retiring == cpus("2")


def test_a_guest_whose_threads_float_over_its_own_pcpus_does_not_move() -> None:
    before, after = followed(guest("2", emulator=UNSET), EIGHT, pools("0", "2-7", "0"))
    assert after.fit == before and not after.retiring


def test_threads_that_float_over_its_own_pcpus_leave_an_offline_one() -> None:
    request = guest("2", emulator=UNSET)
    _, there = placed(request, EIGHT)
    offline = replace(there, topology=state("core:8 offline:2").topology)
    after = follow(offline.ledger.claims[0], request, offline)
    assert isinstance(after, Followed) and after.fit.emulator == cpus("3")


def test_an_isolated_emulator_keeps_its_pcpu_even_where_it_retires() -> None:
    before, after = followed(guest("1", emulator=ISOLATE), EIGHT, pools("0-1,3", "2,4-7", "0-1,3"))
    assert after.fit == before and after.retiring == cpus("3") == before.emulator


def test_floating_guests_follow_the_shared_pool_with_all_their_threads() -> None:
    request = GuestRequest(vcpus=2, memory_mib=1)
    _, after = followed(request, EIGHT, pools("4-5", "6-7", "4-5"))
    assert (after.fit.float_set, after.fit.emulator) == (cpus("4-5"), cpus("4-5"))


def test_floating_vcpus_of_a_cell_follow_their_cells_part_of_the_shared_pool() -> None:
    where = state("pack:2 core:4", shared="0,4", overhead="0,4")
    before, after = followed(guest("2 2", floating="1,3", emulator=SHARE), where, pools("0,3-4,6", "1-2,5,7", "0,3-4,6"))
    assert [str(cell.float_set) for cell in before.cells] == ["0", "4"]
    assert [str(cell.float_set) for cell in after.fit.cells] == ["0,3", "4,6"]


def test_a_cell_without_a_part_of_the_new_shared_pool_is_named() -> None:
    where = state("pack:2 core:4", shared="0,4", overhead="0,4")
    _, answer = changed(guest("2 2", floating="1,3"), where, pools("0", "1-3,5-7", "0"))
    assert isinstance(answer, NoFit)
    assert answer.sentence() == "cell 1 has 0 shared pCPUs, 1 needed so that the guest does not compete with itself"


@pytest.mark.parametrize(
    ("request_", "after", "code"),
    [
        (guest("2", emulator=SHARE), pools("", "2-7", ""), ReasonCode.OVERHEAD_POOL_OFFLINE),
        (guest("2", emulator=SHARE, realtime="0-1"), pools("", "2-7"), ReasonCode.NO_OVERHEAD_POOL),
        (GuestRequest(vcpus=1, memory_mib=1), pools("", "2-7", ""), ReasonCode.NO_SHARED_POOL),
    ],
    ids=["the whole overhead pool is offline", "an all-realtime guest loses the pool", "the shared pool is empty"],
)
def test_a_guest_that_cannot_follow_says_why(request_: GuestRequest, after: Pools, code: ReasonCode) -> None:
    _, answer = changed(request_, EIGHT, after)
    assert isinstance(answer, NoFit) and [reason.code for reason in answer.reasons] == [code]


def test_a_pool_that_is_configured_for_the_first_time_takes_the_threads_of_share_guests_which_book_it() -> None:
    where = state("core:8", dedicated="2-7")
    before, after = followed(guest("2", emulator=SHARE), where, pools("0-1", "2-7", "0-1"))
    assert (before.emulator, before.overhead_millicpu) == (before.pinned, 0)
    assert (after.fit.emulator, after.fit.overhead_millicpu) == (cpus("0-1"), 24)


def test_without_an_overhead_pool_the_threads_float_over_the_guests_own_pcpus_and_book_nothing() -> None:
    before, after = followed(guest("2", emulator=SHARE), EIGHT, pools("", "2-7"))
    assert (after.fit.emulator, after.fit.overhead_millicpu) == (before.pinned, 0)
    assert after.fit.emulator_placement is EmulatorPlacement.FLOAT


def test_a_guest_that_moves_books_by_the_rates_of_today() -> None:
    _, after = followed(guest("2", emulator=SHARE), EIGHT, pools("1-2", "3-7", "1-2"), rates=OverheadRates(guest=200))
    assert after.fit.overhead_millicpu == 204


def test_a_guest_that_does_not_move_keeps_its_booking() -> None:
    before, after = followed(guest("2", emulator=SHARE), EIGHT, EIGHT.pools, rates=OverheadRates(guest=200))
    assert after.fit == before


def test_a_pool_without_room_for_more_takes_the_threads_and_the_booking_of_before_with_a_warning() -> None:
    before, after = followed(guest("2", emulator=SHARE), EIGHT, pools("1", "2-7", "1"), rates=OverheadRates(guest=9_000))
    assert (after.fit.emulator, after.fit.overhead_millicpu) == (cpus("1"), before.overhead_millicpu)
    assert [reason.code for reason in after.fit.warnings] == [ReasonCode.OVERHEAD_BOOKED]


def test_a_first_pool_without_room_leaves_the_threads_where_they_are() -> None:
    where = state("core:8", dedicated="2-7")
    _, answer = changed(guest("2", emulator=SHARE), where, pools("0-1", "2-7", "0-1"), rates=OverheadRates(guest=9_000))
    assert isinstance(answer, NoFit) and [reason.code for reason in answer.reasons] == [ReasonCode.OVERHEAD_BOOKED]


def test_a_guest_on_its_cells_part_of_the_pool_follows_that_part() -> None:
    where = state("pack:2 core:4", shared="0,4", overhead="0,4", limits=replace(LIMITS, locality=Locality.PREFER_LOCAL))
    before, after = followed(guest("2", emulator=SHARE), where, pools("1,4-5", "0,2-3,6-7", "1,4-5"))
    assert (before.emulator, before.overhead_cells) == (cpus("0"), ((0, 24),))
    assert (after.fit.emulator, after.fit.overhead_cells) == (cpus("1"), ((0, 24),))


ANYWHERE = st.lists(st.sampled_from("ddso-"), min_size=40, max_size=40)


@st.composite
def cases(draw: st.DrawFn) -> tuple[HostState, list[GuestRequest], HostState]:
    """A host with guests and the same host with other pools, limits and rates, and what was asked for each guest."""
    where, requests = draw(states()), []
    for number, request in enumerate(draw(st.lists(guests(), min_size=1, max_size=4))):
        answer = fit(request, where)
        if isinstance(answer, Fit):
            where = claim(where, GuestId(f"g{number}"), answer)
            requests.append(request)
    roles = dict(zip(where.topology.online, draw(ANYWHERE), strict=False))
    named = {letter: CpuSet(pcpu for pcpu, role in roles.items() if role == letter) for letter in "dso"}
    overhead = draw(st.sampled_from([None, named["s"], named["o"], named["s"] | named["o"]]))
    limits = replace(
        where.limits,
        booking=draw(st.sampled_from(Booking)),
        locality=draw(st.sampled_from(Locality)),
        rates=OverheadRates(guest=draw(st.sampled_from([0, 20, 400, 900]))),
    )
    after = replace(where, pools=Pools(shared=named["s"], dedicated=named["d"], overhead=overhead), limits=limits)
    return where, requests, after


def amended(where: HostState, position: int, answer: Followed) -> HostState:
    one = where.ledger.claims[position]
    return claim(release(where, one.guest), one.guest, answer.fit)


RUN = settings(max_examples=60, deadline=None)


@RUN
@given(cases())
def test_pins_never_change_and_a_moved_guest_is_where_the_oracle_puts_it(case: tuple[HostState, list[GuestRequest], HostState]) -> None:
    _, requests, now = case
    for position, request in enumerate(requests):
        one = now.ledger.claims[position]
        answer = follow(one, request, now)
        if isinstance(answer, NoFit):
            assert answer.reasons and answer.sentence()
            continue
        assert (answer.fit.pins, answer.fit.taken) == (one.fit.pins, one.fit.taken)
        assert answer.retiring == one.fit.taken - now.pools.dedicated
        assert broken(answer.fit) == ""
        room = read(release(now, one.guest))
        assert floating_wrongs(request, room, answer.fit) == []
        if answer.fit.emulator_placement is EmulatorPlacement.ISOLATED:
            assert answer.fit.emulator == one.fit.emulator
        elif now.limits.locality is Locality.POOL or answer.fit.emulator != now.pools.overhead:
            assert emulator_wrongs(request, room, answer.fit) == []
        now = amended(now, position, answer)


@RUN
@given(cases())
def test_every_thread_runs_on_its_old_or_its_new_set_and_both_are_pools_or_the_guests_own(
    case: tuple[HostState, list[GuestRequest], HostState],
) -> None:
    before, requests, now = case
    for position, request in enumerate(requests):
        one = now.ledger.claims[position]
        answer = follow(one, request, now)
        if isinstance(answer, NoFit):
            continue
        old, new = masks(one.fit), masks(answer.fit)
        both = before.pools.shared | (before.pools.overhead or CpuSet()) | now.pools.shared | (now.pools.overhead or CpuSet())
        for was, is_ in zip((*old.vcpus, old.overhead), (*new.vcpus, new.overhead), strict=True):
            assert was | is_ <= both | one.fit.taken
        for vcpu, pcpu in one.fit.pins:
            assert new.vcpus[vcpu] == CpuSet.of(pcpu)


@RUN
@given(cases())
def test_booking_follows_the_rates_of_today_or_stays_where_there_is_no_room(
    case: tuple[HostState, list[GuestRequest], HostState],
) -> None:
    _, requests, now = case
    for position, request in enumerate(requests):
        one = now.ledger.claims[position]
        answer = follow(one, request, now)
        if isinstance(answer, NoFit) or answer.fit == one.fit:
            continue
        pool, booked = pool_of(now), answer.fit.overhead_millicpu
        in_pool = answer.fit.emulator_placement is EmulatorPlacement.POOL and pool.books
        assert booked in ((booked_millicpu(request, pool.rates), one.fit.overhead_millicpu) if in_pool else (0,))


@RUN
@given(cases())
def test_followed_guests_stay_when_the_pools_stay(case: tuple[HostState, list[GuestRequest], HostState]) -> None:
    _, requests, now = case
    assume(now.limits.locality is Locality.POOL)
    for position, request in enumerate(requests):
        answer = follow(now.ledger.claims[position], request, now)
        if isinstance(answer, Followed):
            now = amended(now, position, answer)
            assert follow(now.ledger.claims[position], request, now) == answer

"""How many more guests fit: by hand, and against the greatest number of guests that trying everything finds."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from tests.build.hosts import state, states
from tests.build.requests import ANY, guest, guests
from tests.oracle.enumeration import Placement, page_works, pcpu_choices, placements
from tests.oracle.generate import case
from tests.oracle.room import CellRoom, Room, read

from pinfold.core.fit.count import count_host
from pinfold.core.fit.demand import Demand, prepare
from pinfold.core.fit.engine import search
from pinfold.core.fit.slots import free_slots, one_after_another
from pinfold.core.host import HostState
from pinfold.core.request.model import EmulatorPolicy, GuestRequest, ThreadPolicy

TRIED = 4
"""More guests than this are not placed by trying everything."""


def every_placement(request: GuestRequest, room: Room) -> Iterator[Placement]:
    """Every placement, up to cores that are alike. The oracle's `placements` gives one for each map of cells and carrier."""
    for placed in placements(request, room):
        cells = [next(cell for cell in room.cells if cell.id == where) for where in placed.host_cells]
        pcpus = [
            distinct(cell, len(part.dedicated), placed.carrier == index, request.thread_policy)
            for index, (cell, part) in enumerate(zip(cells, request.cells, strict=True))
        ]
        sizes = [
            [page.size_kib for page in cell.pages if page_works(request, part, page)]
            for cell, part in zip(cells, request.cells, strict=True)
        ]
        small = [next((page.size_kib for page in cell.pages if page.small), 0) for cell in cells]
        for pages in itertools.product(*sizes):
            strict = sum(part.memory_mib for part, page, least in zip(request.cells, pages, small, strict=True) if page == least)
            if strict > room.small_memory and strict:
                continue
            for chosen in itertools.product(*pcpus):
                emulator = next((pcpu for _, pcpu in chosen if pcpu is not None), None)
                yield replace(placed, pcpus=tuple(own for own, _ in chosen), pages=pages, emulator=emulator)


def distinct(cell: CellRoom, count: int, carries: bool, threads: ThreadPolicy) -> list[tuple[tuple[int, ...], int | None]]:
    """The choices of pCPUs in a cell, one of those that leave the same numbers of free threads."""
    found = {}
    for own, emulator in pcpu_choices(cell, count, carries, threads):
        left = cell.free - set(own) - {emulator}
        form = tuple(sorted((len(core), len(core & left), len(core & set(own))) for core in cell.cores))
        found.setdefault(form, (own, emulator))
    return list(found.values())


def after(room: Room, request: GuestRequest, placed: Placement) -> Room:
    """What a guest leaves of the room."""
    cells = {cell.id: cell for cell in room.cells}
    strict = 0
    for index, (part, where) in enumerate(zip(request.cells, placed.host_cells, strict=True)):
        cell = cells[where]
        taken = set(placed.pcpus[index]) | ({placed.emulator} if placed.carrier == index else set())
        if request.thread_policy is ThreadPolicy.ISOLATE:
            taken |= {pcpu for core in cell.cores if core & taken for pcpu in core}
        page = next(page for page in cell.pages if page.size_kib == placed.pages[index])
        strict += part.memory_mib if page.small else 0
        used = part.memory_mib * 1024 // (1 if page.small else page.size_kib)
        pages = tuple(replace(page, free=page.free - used) if other is page else other for other in cell.pages)
        cells[where] = replace(cell, free=cell.free - taken, floating=cell.floating + len(part.shared), pages=pages)
    books = request.emulator_policy is EmulatorPolicy.SHARE and room.overhead is not None
    return replace(
        room,
        cells=tuple(cells.values()),
        floating=room.floating + len(request.floating),
        small_memory=room.small_memory - (strict if request.cells else request.memory_mib / room.ram_ratio),
        overhead_booked=room.overhead_booked + (room.overhead_of(request) if books else 0),
        disk=None if room.disk is None else room.disk - request.disk_gib,
    )


def shape(room: Room) -> tuple[object, ...]:
    """Equal for rooms that take the same guests."""
    return (room.floating, room.small_memory, room.overhead_booked, room.disk, tuple(map(cell_shape, room.cells)))


def cell_shape(cell: CellRoom) -> tuple[object, ...]:
    return (tuple(sorted((len(core), len(core & cell.free)) for core in cell.cores)), cell.floating, cell.pages)


def next_rooms(room: Room, request: GuestRequest) -> Iterator[Room]:
    """Each room, up to shape, that one more guest can leave."""
    seen = set()
    for placed in every_placement(request, room):
        left = after(room, request, placed)
        if (form := shape(left)) not in seen:
            seen.add(form)
            yield left


def greatest(room: Room, request: GuestRequest, most: int) -> int:
    """The most guests that can be placed one after another, at most `most`, by trying every placement of each."""
    rooms, slots = {shape(room): room}, 0
    while rooms and slots < most:
        rooms = {shape(left): left for one in rooms.values() for left in next_rooms(one, request)}
        slots += bool(rooms)
    return slots


def slots_of(request: GuestRequest, where: HostState, most: int = 1 << 40) -> int:
    return free_slots(prepare(request), count_host(where), most)


def exact(demand: Demand) -> bool:
    return not demand.cells or demand.one_kind


@pytest.mark.parametrize(
    ("text", "request_", "slots"),
    [
        pytest.param("core:7 mem:64", guest("2"), 3, id="one cell: what its pCPUs hold"),
        pytest.param("core:3 mem:64 / core:1 mem:64 / core:1 mem:64", guest("1 1"), 2, id="two cells: a host cell serves each guest once"),
        pytest.param("core:5 mem:64 / core:4 mem:64 / core:1 mem:64", guest("1 1 1"), 1, id="three cells: the smallest host cell decides"),
        pytest.param("core:8 mem:64", guest("1 1"), 0, id="two cells do not fit on a host of one"),
        pytest.param("core:8 mem:64", guest("2", memory_mib=20), 3, id="memory may end first"),
        pytest.param("core:9 mem:64", guest("2", emulator=EmulatorPolicy.ISOLATE), 3, id="an isolated emulator takes one more"),
        pytest.param("core:4 mem:64 / core:5 mem:64", guest("2 2", emulator=EmulatorPolicy.ISOLATE), 1, id="one cell of two carries it"),
        pytest.param("core:5 mem:64 / core:5 mem:64", guest("2 2", emulator=EmulatorPolicy.ISOLATE), 2, id="each cell may carry one"),
        pytest.param("core:4 pu:2 mem:64", guest("2", threads=ThreadPolicy.ISOLATE), 2, id="isolate counts cores"),
        pytest.param("core:4 pu:2 mem:64", guest("3", threads=ThreadPolicy.REQUIRE), 2, id="require wastes the odd thread"),
        pytest.param("core:2 pu:3 mem:64", guest("2", threads=ThreadPolicy.REQUIRE), 3, id="require may waste nothing on wide cores"),
        pytest.param("core:8 mem:10 huge:1024x4", guest("1", memory_mib=2, page=ANY), 5, id="any page size: both kinds together"),
    ],
)
def test_slots_by_hand(text: str, request_: GuestRequest, slots: int) -> None:
    assert slots_of(request_, state(text)) == slots


def test_the_emulator_of_a_guest_of_two_cells_may_cost_a_place() -> None:
    """Three guests of two cells of two need an emulator each: 6 + 7 pCPUs leave one, 6 + 9 three."""
    one_more, three_more = state("core:6 mem:64 / core:7 mem:64"), state("core:6 mem:64 / core:9 mem:64")
    request = guest("2 2", emulator=EmulatorPolicy.ISOLATE)
    assert slots_of(request, one_more) == 2
    assert slots_of(request, three_more) == 3


def test_slots_stop_at_the_most_that_is_asked_for() -> None:
    assert slots_of(guest("1"), state("core:8 mem:64"), most=4) == 4


@settings(max_examples=400, deadline=None)
@given(states(), guests())
def test_the_slots_of_a_small_host_are_the_most_that_trying_everything_places(where: HostState, request: GuestRequest) -> None:
    demand = prepare(request)
    assume(exact(demand))
    slots = slots_of(request, where)
    if slots <= TRIED:
        assert greatest(read(where), request, TRIED + 1) == slots
    else:
        assert greatest(read(where), request, TRIED + 1) == TRIED + 1


@settings(max_examples=200, deadline=None)
@given(states(), guests())
def test_the_engine_places_one_after_another_no_more_than_the_slots_and_the_first_one_exactly_if_there_is_one(
    where: HostState, request: GuestRequest
) -> None:
    demand, counts = prepare(request), count_host(where)
    slots = free_slots(demand, counts)
    assert (search(demand, counts) is not None) == (slots > 0)


@settings(max_examples=200, deadline=None)
@given(states(), guests())
def test_the_engine_reaches_the_slots_of_guests_of_one_cell_without_require(where: HostState, request: GuestRequest) -> None:
    assume(len(request.cells) < 2 and request.thread_policy is not ThreadPolicy.REQUIRE)
    demand, counts = prepare(request), count_host(where)
    assert one_after_another(demand, counts) == free_slots(demand, counts)


@pytest.mark.parametrize("seed", range(40))
def test_the_slots_of_the_oracles_own_cases_are_the_most_that_trying_everything_places(seed: int) -> None:
    for index in range(5):
        asked = case(20_000 + seed, index)
        demand, room = prepare(asked.request), read(asked.state)
        small = len(room.cells) <= 4 and all(len(cell.free) <= 8 for cell in room.cells)
        if exact(demand) and small:
            slots = slots_of(asked.request, asked.state)
            assert greatest(room, asked.request, min(slots + 1, TRIED)) == min(slots, TRIED), asked.seed

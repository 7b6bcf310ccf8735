"""The table of losses says what counting the free slots before and after the engine's own placement says."""

from __future__ import annotations

from random import Random

import pytest
from benchmarks.packing.traces import Shape as Asked
from benchmarks.packing.traces import demand
from benchmarks.schedule.fleet import empty, entry, filled, pinned
from msgspec.structs import replace

from pinfold.core import ledger
from pinfold.core.fit.answer import Strategy
from pinfold.core.fit.demand import Demand, prepare
from pinfold.core.fit.engine import search
from pinfold.core.fit.slots import free_slots
from pinfold.core.host import Claim, HostState
from pinfold.core.identity import GuestId
from pinfold.core.request.model import EmulatorPolicy, GuestRequest, ThreadPolicy
from pinfold.scheduler.decide import Conditions, decide, preview
from pinfold.scheduler.host_losses import Guest, best_places_on
from pinfold.scheduler.index import Entry, Index, View
from pinfold.scheduler.loss import LossTable, Shapes, shape_key, shapes_of
from pinfold.scheduler.model import HostStrategy, SchedulerSettings
from pinfold.scheduler.place_losses import NOWHERE, Guests, best_places
from pinfold.store.records import NOTHING

SHARE, ISOLATE = EmulatorPolicy.SHARE, EmulatorPolicy.ISOLATE
DEMANDS = (
    prepare(pinned(2)),
    prepare(pinned(4, emulator=SHARE)),
    prepare(pinned(4, emulator=ISOLATE)),
    prepare(pinned(16, 2, emulator=SHARE)),
    prepare(pinned(12, 3)),
    demand(Asked(vcpus=2, memory_gib=16, cells=1)),
    demand(Asked(vcpus=8, memory_gib=64, cells=2)),
)
SHAPES = shapes_of([(one, 3 + number) for number, one in enumerate(DEMANDS)], 7)


def lost(one: Demand, host: Entry, shapes: Shapes, place: int = -1) -> float | None:
    """The loss by placing the guest, on the host cell at that position if one is given; None if it does not fit there."""
    found = search(one, host.counts, host.strategy, place)
    if found is None or (place >= 0 and found.cells[0].host_cell != host.counts.cells[place].frame.id):
        return None
    after = host.counts.after(found, ledger.claim(host.counts.state, GuestId("new"), found), taken=True)
    return sum(shape.weight * (free_slots(shape.demand, host.counts) - free_slots(shape.demand, after)) for shape in shapes.shapes)


@pytest.mark.parametrize("strategy", Strategy)
@pytest.mark.parametrize("seed", range(12))
def test_the_table_says_what_placing_the_guest_would_lose(seed: int, strategy: Strategy) -> None:
    rng = Random(seed)
    shape = rng.choice(((2, 16, 2), (1, 32, 2), (4, 12, 2), (8, 8, 1)))
    states = [filled(empty(shape), rng.choice((0.0, 0.5, 0.8, 0.9, 0.95, 1.0)), rng) for _ in range(8)]
    entries = [replace_strategy(entry(number, state), strategy) for number, state in enumerate(states)]
    table = LossTable(SHAPES)
    table.renew(entries, range(len(entries)))
    for one in DEMANDS:
        told = table.find(one)
        for row, host in enumerate(entries):
            exact = lost(one, host, SHAPES)
            key, cell = int(told[0][row]), int(told[1][row])
            if exact is None:
                assert key == NOWHERE
            elif tied(one, host):
                assert key != NOWHERE
            else:
                assert (key >> 32) / 1e6 == pytest.approx(exact, abs=1e-4)
                found = search(one, host.counts, host.strategy)
                assert found is not None
                assert cell in (
                    -1,
                    next(place for place, here in enumerate(host.counts.cells) if here.frame.id == found.cells[0].host_cell),
                )


def tied(one: Demand, host: Entry) -> bool:
    """Whether the operator's preference leaves a choice among host cells."""
    free = [cell.n_free for cell in host.counts.cells]
    return len(one.cells) < len(free) and len(set(free)) < len(free)


def replace_strategy(host: Entry, strategy: Strategy, *, any_cell: bool = False) -> Entry:
    return Entry(id=host.id, name=host.name, counts=host.counts, strategy=strategy, any_cell=any_cell)


@pytest.mark.parametrize("seed", range(12))
def test_without_a_preference_the_cell_that_loses_least_is_chosen(seed: int) -> None:
    rng = Random(seed)
    states = [filled(empty((4, 12, 2)), rng.choice((0.0, 0.5, 0.8, 0.9)), rng) for _ in range(8)]
    entries = [replace_strategy(entry(number, state), Strategy.SPREAD, any_cell=True) for number, state in enumerate(states)]
    table = LossTable(SHAPES)
    table.renew(entries, range(len(entries)))
    for one in (each for each in DEMANDS if len(each.cells) == 1):
        keys, cells = table.find(one)
        for row, host in enumerate(entries):
            losses = [lost(one, host, SHAPES, place) for place in range(len(host.counts.cells))]
            least = min((loss for loss in losses if loss is not None), default=None)
            if least is None:
                assert keys[row] == NOWHERE
            else:
                assert (int(keys[row]) >> 32) / 1e6 == pytest.approx(least, abs=1e-4)
                assert losses[int(cells[row])] == pytest.approx(least, abs=1e-4)


@pytest.mark.parametrize("any_cell", [False, True], ids=["by preference", "any cell"])
@pytest.mark.parametrize("strategy", Strategy)
@pytest.mark.parametrize("seed", range(12))
def test_one_host_by_plain_numbers_has_the_places_that_arrays_say(seed: int, strategy: Strategy, any_cell: bool) -> None:
    rng = Random(seed)
    demands, shapes = (*DEMANDS, prepare(pinned(60)), prepare(pinned(80, 5))), SHAPES.shapes[: rng.choice((0, 1, 4, 7))]
    weighed = Guests.of([one.demand for one in shapes], [one.weight for one in shapes])
    plain = [Guest.of(one, 0.0) for one in demands], [Guest.of(one.demand, one.weight) for one in shapes]
    for _ in range(12):
        bare = empty(rng.choice(((2, 16, 2), (1, 32, 2), (4, 12, 2), (8, 8, 1))))
        bare = replace(bare, limits=replace(bare.limits, shared_fraction=rng.choice((0.0, 0.05, 1.0))))
        state = filled(bare, rng.choice((0.0, 0.5, 0.8, 0.9, 0.95, 1.0)), rng)
        host = replace_strategy(entry(0, state), strategy, any_cell=any_cell)
        keys, places = best_places([host], Guests.of(demands, [0.0] * len(demands)), weighed)
        assert best_places_on(host, *plain) == (keys[0].tolist(), places[0].tolist())


def test_guests_that_the_table_does_not_describe_have_no_shape() -> None:
    others = (
        prepare(GuestRequest(vcpus=2, memory_mib=64)),
        prepare(pinned(4, threads=ThreadPolicy.ISOLATE)),
        prepare(pinned(4, threads=ThreadPolicy.REQUIRE)),
        prepare(pinned(8, 2, emulator=ISOLATE)),
    )
    assert [shape_key(one) for one in others] == [None] * 4


def test_shapes_are_weighed_by_frequency_and_vcpus_squared_and_alike_guests_are_one() -> None:
    found = shapes_of([(prepare(pinned(2)), 8), (prepare(replace(pinned(2), disks=3)), 8), (prepare(pinned(4)), 4)], 1)
    assert [(shape.key.pins, shape.weight) for shape in found.shapes] == [(2, 0.5), (4, 0.5)]


LEAST_LOSS = SchedulerSettings(strategy=HostStrategy.LEAST_LOSS, top=1)
ANYWHERE = Conditions()


def index_of(*states: HostState, shapes: Shapes = SHAPES) -> Index:
    index = Index()
    index.put([entry(number, state) for number, state in enumerate(states)])
    index.weigh(shapes)
    return index


def keys_of(index: Index) -> dict[str, list[int]]:
    def see(view: View) -> dict[str, list[int]]:
        return {host.id: [int(view.losses.find(one)[0][row]) for one in DEMANDS] for row, host in enumerate(view.entries)}

    return index.look(see)


def test_the_table_follows_claims_releases_and_hosts_that_come_and_go() -> None:
    rng = Random(5)
    states = [filled(empty((2, 16, 2)), share, rng) for share in (0.0, 0.5, 0.9)]
    index = index_of(*states)
    keys_of(index)
    first, second, third = (host.id for host in index.look(lambda view: list(view.entries)))
    placed = decide(index, "g", DEMANDS[1], ANYWHERE, LEAST_LOSS)[0]
    index.claimed(placed.host, Claim(guest=GuestId("g"), fit=placed.fit), placed.revision + 1)
    index.put([entry(number, filled(empty((1, 32, 2)), 0.5, rng)) for number in range(3, 40)])
    index.drop([second])
    now = index.look(lambda view: list(view.entries))
    anew = Index()
    anew.put(now)
    anew.weigh(SHAPES)
    assert keys_of(index) == keys_of(anew)
    assert {first, third} < keys_of(index).keys()


def test_the_host_that_loses_least_gets_the_guest() -> None:
    """A host with room for one more wide guest is spared while another has only room for small ones."""
    wide, small = prepare(pinned(12)), prepare(pinned(2))
    rng = Random(1)
    whole = empty((1, 8, 2))
    broken = filled(whole, 0.4, rng)
    index = index_of(whole, broken, shapes=shapes_of([(wide, 10), (small, 10)], 1))
    assert free_slots(wide, entry(0, broken).counts) == 0 < free_slots(wide, entry(0, whole).counts)
    assert decide(index, "g", small, ANYWHERE, LEAST_LOSS)[0].host == entry(1, broken).id
    assert [found.host for found in preview(index, small, ANYWHERE, LEAST_LOSS).candidates] == [entry(1, broken).id, entry(0, whole).id]
    barred = Conditions(exclude=frozenset({entry(1, broken).id}))
    assert decide(index, "g", small, barred, LEAST_LOSS)[0].host == entry(0, whole).id


def test_equal_hosts_are_shared_out_by_the_guests_id() -> None:
    index = index_of(*[empty((2, 16, 2))] * 8)
    firsts = [decide(index, f"guest-{number}", DEMANDS[0], ANYWHERE, LEAST_LOSS)[0].host for number in range(40)]
    assert len(set(firsts)) > 4
    assert firsts == [decide(index, f"guest-{number}", DEMANDS[0], ANYWHERE, LEAST_LOSS)[0].host for number in range(40)]


def test_without_shapes_the_host_with_the_least_memory_left_gets_the_guest() -> None:
    rng = Random(3)
    states = [filled(empty((1, 32, 2)), share, rng) for share in (0.2, 0.7, 0.4)]
    index = index_of(*states, shapes=shapes_of([], 0))
    assert decide(index, "g", DEMANDS[0], ANYWHERE, LEAST_LOSS)[0].host == entry(1, states[1]).id


def test_a_guest_that_fits_nowhere_has_no_candidate() -> None:
    index = index_of(empty((1, 8, 1)))
    assert decide(index, "g", prepare(pinned(9)), ANYWHERE, LEAST_LOSS) == ()
    assert decide(Index(), "g", DEMANDS[0], ANYWHERE, LEAST_LOSS) == ()


@pytest.mark.parametrize("one", DEMANDS)
def test_hosts_that_have_not_reported_are_no_candidates(one: Demand) -> None:
    unknown = HostState(topology=NOTHING.topology, pools=NOTHING.pools, limits=NOTHING.limits)
    index = index_of(unknown, unknown)
    assert decide(index, "g", one, ANYWHERE, LEAST_LOSS) == ()
    index.put([entry(2, empty((4, 24, 2)))])
    assert [found.host for found in decide(index, "g", one, ANYWHERE, LEAST_LOSS)] == [entry(2, unknown).id]

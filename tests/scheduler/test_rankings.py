"""What the index keeps between decisions changes no answer: an index that lived through changes decides as one that was made now."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from benchmarks.schedule.fleet import ASKS, empty, entry, filled, pinned

from pinfold.core.fit.demand import prepare
from pinfold.core.fit.engine import search
from pinfold.core.host import Claim, Limits, Locality
from pinfold.core.identity import GuestId, HostId
from pinfold.core.request.model import EmulatorPolicy
from pinfold.scheduler.decide import Conditions, decide
from pinfold.scheduler.guest_kinds import GuestKind
from pinfold.scheduler.index import Entry, Index
from pinfold.scheduler.loss import shapes_of
from pinfold.scheduler.model import HostStrategy, SchedulerSettings
from pinfold.scheduler.rankings import Border

SHAPES = shapes_of([(ask.demand, 1) for ask in ASKS], 1)
KINDS = [ask.demand for ask in ASKS]


def hosts(count: int, seed: int) -> list[Entry]:
    rng = Random(seed)
    kinds = [filled(empty(shape), share, rng) for shape in ((2, 16, 2), (4, 12, 2)) for share in (0.0, 0.5, 0.9)]
    return [entry(number, kinds[number % len(kinds)]) for number in range(count)]


def index_of(entries: list[Entry]) -> Index:
    index = Index()
    index.put(entries)
    index.weigh(SHAPES)
    return index


@pytest.mark.parametrize("strategy", HostStrategy)
def test_an_index_decides_after_many_changes_as_one_that_was_made_now(strategy: HostStrategy) -> None:
    settings, rng = SchedulerSettings(strategy=strategy), Random(3)
    index = index_of(hosts(60, 1))
    held: list[tuple[HostId, GuestId]] = []
    for number in range(150):
        guest = GuestId(f"guest-{number}")
        everywhere = Conditions() if number % 3 else Conditions(exclude=frozenset(host for host, _ in held[::2]))
        demand = rng.choice(KINDS)
        found = decide(index, guest, demand, everywhere, settings)
        anew = index_of(index.look(lambda view: list(view.entries)))
        assert found == decide(anew, guest, demand, everywhere, settings)
        if found:
            index.claimed(found[0].host, Claim(guest=guest, fit=found[0].fit), found[0].revision + 1)
            held.append((found[0].host, guest))
        if number % 4 == 3 and held:
            host, gone = held.pop(rng.randrange(len(held)))
            known = index.get(host)
            assert known is not None
            index.released(host, gone, None, known.state.revision + 1)
        if number % 25 == 24:
            leaving = rng.choice(index.look(lambda view: list(view.entries))).id
            index.drop([leaving])
            held = [(host, guest) for host, guest in held if host != leaving]
            index.put([entry(1000 + number, empty((2, 16, 2)))])


@pytest.mark.parametrize("seed", range(30))
def test_the_few_smallest_keys_are_the_head_of_all_rows_in_order(seed: int) -> None:
    rng = np.random.default_rng(seed)
    border, nowhere = Border(), np.iinfo(np.int64).max
    for most in (1, 3, 32, 3, 500):
        keys = rng.integers(0, rng.choice([1, 3, 1000]), size=300).astype(np.int64)
        keys[rng.random(300) < rng.choice([0.0, 0.5, 0.99])] = nowhere
        first = int(rng.integers(0, 300))
        rows = np.flatnonzero(keys != nowhere)
        expected = rows[np.lexsort(((rows - first) % 300, keys[rows]))][:most]
        assert border.smallest(keys, most, first).tolist() == expected.tolist()


def test_a_host_that_is_filtered_out_by_a_condition_makes_room_for_the_next_ones() -> None:
    index = index_of(hosts(400, 1))
    settings = SchedulerSettings(strategy=HostStrategy.SPREAD)
    everywhere = decide(index, GuestId("g"), KINDS[0], Conditions(), settings)
    only = frozenset(HostId(entry(number, empty((2, 16, 2))).id) for number in (7, 390))
    found = decide(index, GuestId("g"), KINDS[0], Conditions(hosts=only), settings)
    assert {one.host for one in found} == only
    assert len(everywhere) > 2


def test_a_refusal_ends_when_a_host_gets_room() -> None:
    full = [entry(number, filled(empty((1, 32, 2)), 1.0, Random(number))) for number in range(20)]
    index, wide = index_of(full), prepare(pinned(58))
    settings = SchedulerSettings()
    assert decide(index, GuestId("g"), wide, Conditions(), settings) == ()
    host = full[4]
    for claim in host.state.ledger.claims:
        known = index.get(host.id)
        assert known is not None
        index.released(host.id, claim.guest, claim.id, known.state.revision + 1)
    assert [one.host for one in decide(index, GuestId("g"), wide, Conditions(), settings)] == [host.id]


def test_hosts_that_are_alike_share_one_fit_and_others_do_not() -> None:
    one, other, third = hosts(13, 1)[0], hosts(13, 1)[6], hosts(13, 1)[1]
    kind = GuestKind(KINDS[1])
    first = kind.search(one.counts, one.strategy)
    assert first == search(KINDS[1], one.counts, one.strategy)
    assert kind.search(other.counts, other.strategy) is first
    assert kind.search(third.counts, third.strategy) == search(KINDS[1], third.counts, third.strategy) != first


def test_a_pool_that_is_booked_by_cell_is_fitted_each_time() -> None:
    state = empty((2, 16, 2))
    local = entry(1, state.__class__(topology=state.topology, pools=state.pools, limits=Limits(locality=Locality.PREFER_LOCAL)))
    kind = GuestKind(prepare(pinned(2, emulator=EmulatorPolicy.SHARE)))
    assert kind.search(local.counts, local.strategy) is not kind.search(local.counts, local.strategy)

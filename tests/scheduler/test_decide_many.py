"""Guests of one body are decided on together: each as if those before it were claimed. Pure decisions on many hosts."""

from __future__ import annotations

import random
import uuid

import pytest
from tests.build.fits import fits
from tests.build.hosts import as_state, report
from tests.build.requests import floating, pinned

from pinfold.core import ledger
from pinfold.core.fit.count import count_host
from pinfold.core.fit.demand import Demand, prepare
from pinfold.core.host import Claim
from pinfold.core.identity import GuestId, HostId
from pinfold.core.request.model import EmulatorPolicy, GuestRequest
from pinfold.scheduler.decide import Conditions, decide, decide_many
from pinfold.scheduler.index import Entry, Index
from pinfold.scheduler.loss import shapes_of
from pinfold.scheduler.model import SchedulerSettings

REQUESTS = (pinned(1), pinned(2), pinned(3, memory_mib=700), pinned(2, emulator=EmulatorPolicy.SHARE), pinned(8))
SETTINGS = SchedulerSettings()


def fleet(seed: int, count: int) -> tuple[Index, dict[HostId, int]]:
    """Hosts with and without an overhead pool, each with a few guests, and common shapes; and the revision of each."""
    choose, index, known = random.Random(seed), Index(), {}
    for number in range(count):
        state = as_state(report(overhead=choose.random() < 0.8), name=f"c{number}", revision=number)
        for other in range(choose.randrange(4)):
            state = ledger.claim(state, GuestId(f"older-{other}"), fits(choose.choice(REQUESTS[:3]), state))
        host = HostId(str(uuid.uuid4()))
        index.put([Entry(id=host, name=state.name, counts=count_host(state), any_cell=choose.random() < 0.5)])
        known[host] = state.revision
    index.weigh(shapes_of([(prepare(request), choose.randrange(1, 5)) for request in REQUESTS], seed))
    return index, known


def ids(count: int) -> list[GuestId]:
    return [GuestId(str(uuid.uuid4())) for _ in range(count)]


def key(index: Index, host: HostId, demand: Demand) -> int:
    entry = index.get(host)
    assert entry is not None
    return index.look(lambda view: (view.losses.find(demand), view.losses.key(entry, demand))[1][0])


@pytest.mark.parametrize("request_", REQUESTS)
@pytest.mark.parametrize("seed", range(6))
def test_each_guest_goes_where_it_would_go_if_those_before_it_were_claimed(seed: int, request_: GuestRequest) -> None:
    (index, known), demand, guests = fleet(seed, 8), prepare(request_), ids(120)
    found = decide_many(index, guests, demand, Conditions(), SETTINGS)
    for guest, one in zip(guests, found, strict=False):
        best = decide(index, guest, demand, Conditions(), SETTINGS)[0]
        assert key(index, one.host, demand) == key(index, best.host, demand)
        entry = index.get(one.host)
        assert entry is not None
        assert (one.revision, one.shapes) == (known[one.host], seed)
        assert one.fit == index.kinds.of(demand).search(entry.counts, entry.strategy, index.cell(entry, demand))
        index.claimed(one.host, Claim(guest=guest, fit=one.fit), entry.state.revision + 1)
    assert 0 < len(found) < len(guests)
    pools = {host for host in known if (entry := index.get(host)) is not None and entry.state.pools.overhead is not None}
    left = decide(index, guests[-1], demand, Conditions(), SETTINGS)
    # Those that share an overhead pool are decided on together for hosts that have one.
    assert not left or (request_.emulator_policy is EmulatorPolicy.SHARE and left[0].host not in pools)


def test_of_equal_hosts_few_take_part() -> None:
    index = Index()
    for number in range(10):
        index.put([Entry(id=HostId(str(uuid.uuid4())), name=f"c{number}", counts=count_host(as_state(report())))])
    found = decide_many(index, ids(21), prepare(pinned(2)), Conditions(), SETTINGS)
    assert len(found) == 21
    assert len({one.host for one in found}) == 3  # each takes 7


def test_guests_that_the_table_of_losses_does_not_describe_are_decided_together_too() -> None:
    (index, known), guests = fleet(1, 4), ids(5)
    found = decide_many(index, guests, prepare(floating(1)), Conditions(), SETTINGS)
    assert len(found) == 5
    assert all(one.revision == known[one.host] for one in found)

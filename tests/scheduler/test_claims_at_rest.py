"""The claims of hosts on which nothing happens are packed, and nobody who decides or claims notices."""

from __future__ import annotations

import pytest
from tests.build.fits import fits
from tests.build.hosts import state
from tests.build.requests import pinned

from pinfold.core import ledger
from pinfold.core.fit.demand import prepare
from pinfold.core.host import Claim, HostState
from pinfold.core.packed_claims import PackedClaims
from pinfold.scheduler import index as indexes
from pinfold.scheduler.decide import Conditions, decide
from pinfold.scheduler.index import Entry, Index, counts_of
from pinfold.scheduler.model import SchedulerSettings

TEXT = "cell:1 core:8"


def _id(number: int) -> str:
    return f"{number:08}-0000-0000-0000-000000000000"


def _host(number: int) -> HostState:
    """A host with two guests."""
    where = state(TEXT)
    for guest in (2 * number, 2 * number + 1):
        where = ledger.claim(where, _id(guest), fits(pinned(1), where), _id(1000 + guest))
    return where


def _index(count: int) -> Index:
    index = Index()
    index.put([Entry(id=f"host-{number}", name=f"c{number}", counts=counts_of(_host(number))) for number in range(count)])
    return index


def _packed(index: Index) -> list[str]:
    entries = index.look(lambda view: tuple(view.entries))
    return sorted(one.name for one in entries if isinstance(one.state.ledger.claims, PackedClaims))


def test_the_claims_of_all_hosts_but_those_that_changed_last_are_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexes, "MOST_UNPACKED", 2)
    index = _index(5)
    assert _packed(index) == ["c0", "c1", "c2"]
    assert [index.get(f"host-{number}").state for number in range(5)] == [_host(number) for number in range(5)]  # type: ignore[union-attr]

    before = index.get("host-0")
    assert before is not None
    claim = Claim(guest=_id(900), fit=fits(pinned(1), before.state), id=_id(1900))
    index.claimed("host-0", claim, before.state.revision + 1)
    assert _packed(index) == ["c1", "c2", "c3"]
    after = index.get("host-0")
    assert after is not None
    assert after.state == ledger.claim(_host(0), claim.guest, claim.fit, claim.id)

    index.released("host-1", _id(2), _id(1002), _host(1).revision + 1)
    assert _packed(index) == ["c2", "c3", "c4"]
    assert index.get("host-1").state == ledger.release(_host(1), _id(2), _id(1002))  # type: ignore[union-attr]

    index.drop(["host-0", "host-2"])
    index.put([Entry(id="host-9", name="c9", counts=counts_of(_host(9)))])
    assert _packed(index) == ["c3", "c4"]


def test_decisions_do_not_depend_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = _index(5)
    monkeypatch.setattr(indexes, "MOST_UNPACKED", 0)
    rested = _index(5)
    assert len(_packed(rested)) == 5
    for number in range(20):
        sides = [decide(index, _id(number), prepare(pinned(2)), Conditions(), SchedulerSettings()) for index in (plain, rested)]
        assert sides[0] == sides[1]
        if not sides[0]:
            break
        best = sides[0][0]
        for index in (plain, rested):
            index.claimed(best.host, Claim(guest=_id(500 + number), fit=best.fit, id=_id(1500 + number)), best.revision + 1)
    else:
        pytest.fail("the hosts are never full")
    assert len(_packed(rested)) == 5

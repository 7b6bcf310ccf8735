"""Claims, releases, and what each pCPU is doing."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from tests.build.fits import fits, holding
from tests.build.hosts import cpus, state
from tests.build.requests import guest

from pinfold.core.errors import Conflict
from pinfold.core.host import Claim, Foreign, Ledger
from pinfold.core.ledger import Role, claim, conflicts, release, retiring, roles
from pinfold.core.pools import Pools
from pinfold.core.request.model import EmulatorPolicy, ThreadPolicy


def test_a_claim_stands_in_the_order_of_guest_ids() -> None:
    where = state("core:8")
    for name in ("m", "a", "z", "k"):
        where = claim(where, name, fits(guest("1"), where))
    assert [one.guest for one in where.ledger.claims] == ["a", "k", "m", "z"]
    assert where.revision == 4
    assert [one.guest for one in release(where, "k").ledger.claims] == ["a", "m", "z"]


def test_a_pcpu_that_is_taken_is_a_conflict() -> None:
    where = state("core:4")
    answer = fits(guest("2"), where)
    after = claim(where, "a", answer)
    with pytest.raises(Conflict, match="pCPU 0 belongs to guest a by now"):
        claim(after, "b", answer)
    with pytest.raises(Conflict, match="pCPU 1 belongs to other, which is not ours"):
        claim(replace(where, ledger=Ledger(foreign=(Foreign(name="other", cpus=cpus("1")),))), "b", answer)


def test_an_idle_sibling_is_taken_too() -> None:
    where = state("core:4 pu:2")
    after = claim(where, "a", fits(guest("1", threads=ThreadPolicy.ISOLATE), where))
    with pytest.raises(Conflict, match="pCPU 1 belongs to guest a"):
        claim(after, "b", holding(where.topology.cell_of, cpus("1")))


def test_a_guest_has_one_claim() -> None:
    where = state("core:4")
    after = claim(where, "a", fits(guest("1"), where))
    with pytest.raises(Conflict, match="guest a has a claim"):
        claim(after, "a", fits(guest("1"), after))
    with pytest.raises(Conflict, match="guest b has no claim"):
        release(after, "b")


def test_roles() -> None:
    where = state("core:6 pu:2", shared="10-11", foreign=(Foreign(name="other", cpus=cpus("8,10")),))
    where = claim(where, "a", fits(guest("1", threads=ThreadPolicy.ISOLATE, emulator=EmulatorPolicy.ISOLATE), where))
    told = roles(where)
    assert list(told) == list(range(10))
    assert [(told[n].role, told[n].guest, told[n].vcpu) for n in (0, 1, 2, 3, 4, 8)] == [
        (Role.VCPU, "a", 0),
        (Role.IDLE_SIBLING, "a", None),
        (Role.EMULATOR, "a", None),
        (Role.IDLE_SIBLING, "a", None),
        (Role.FREE, "", None),
        (Role.FOREIGN, "other", None),
    ]
    assert not any(role.retiring for role in told.values())


def test_pcpus_that_left_the_pool_under_a_guest_are_retiring() -> None:
    where = state("core:4")
    where = claim(where, "a", fits(guest("2"), where))
    shrunk = replace(where, pools=Pools(shared=cpus("0"), dedicated=cpus("1-3")))
    assert retiring(shrunk) == cpus("0")
    assert list(roles(shrunk)) == [0, 1, 2, 3]
    assert [role.retiring for role in roles(shrunk).values()] == [True, False, False, False]
    assert retiring(release(shrunk, "a")) == cpus("")


def test_two_owners_are_told() -> None:
    where = state("core:4")
    one, two = holding(where.topology.cell_of, cpus("0-1")), holding(where.topology.cell_of, cpus("1-2"))
    ledger = Ledger(claims=(Claim(guest="a", fit=one), Claim(guest="b", fit=two)), foreign=(Foreign(name="other", cpus=cpus("2-3")),))
    wrong = replace(where, ledger=ledger)
    assert conflicts(wrong) == cpus("1-2")
    assert [role.guest for role in roles(wrong).values()] == ["a", "a", "b", "other"]
    assert conflicts(release(wrong, "b")) == cpus("")
    assert fits(guest("1"), release(replace(wrong, ledger=Ledger(claims=ledger.claims)), "a")).taken == cpus("0")

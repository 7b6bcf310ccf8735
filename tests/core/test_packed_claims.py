"""Packed claims read like the tuple that they were made of."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.build.fits import fits
from tests.build.hosts import state
from tests.build.requests import guest

from pinfold.core import ledger
from pinfold.core.fit.answer import Fit
from pinfold.core.host import Claim, HostState, Ledger
from pinfold.core.packed_claims import PackedClaims, packed

FITS = [Fit(vcpus=count, memory_mib=64) for count in range(1, 4)]
IDS = st.uuids().map(str)
CLAIMS = st.lists(st.builds(Claim, guest=IDS, fit=st.sampled_from(FITS), id=IDS), min_size=1, max_size=9).map(tuple)


@given(CLAIMS, st.integers(-10, 10), st.integers(-10, 10))
def test_packed_claims_are_read_as_the_tuple_of_them(claims: tuple[Claim, ...], start: int, stop: int) -> None:
    found = packed(claims)
    assert isinstance(found, PackedClaims)
    assert (len(found), tuple(found), hash(found)) == (len(claims), claims, hash(claims))
    assert found == claims
    assert claims == found
    assert found == packed(list(claims))
    assert found[start:stop] == claims[start:stop]
    assert [found[at] for at in range(-len(claims), len(claims))] == [*claims, *claims]
    with pytest.raises(IndexError):
        found[len(claims)]
    assert packed(found) is found
    assert found != claims[:-1]


@pytest.mark.parametrize(
    "odd", ["web", "", "0" * 36, "{:-<36}".format(""), "AAAAAAAA-AAAA-AAAA-AAAA-AAAAAAAAAAAA", "11111111-1111-1111-1111-11111111111 "]
)
def test_claims_with_other_ids_stay_as_they_are(odd: str) -> None:
    usual = "11111111-1111-1111-1111-111111111111"
    for claims in ((Claim(guest=odd, fit=FITS[0], id=usual),), (Claim(guest=usual, fit=FITS[0], id=odd),)):
        assert packed(claims) is claims
    alone = (Claim(guest=usual, fit=FITS[0]),)
    assert packed(alone) is alone


def test_a_host_with_packed_claims_is_claimed_and_released_as_before() -> None:
    def at_rest(where: HostState) -> HostState:
        return where if not where.ledger.claims else _with(where, packed(where.ledger.claims))

    plain = rested = state("core:8")
    ids = [f"{number:08}-0000-0000-0000-000000000000" for number in (3, 1, 2)]
    for one in ids:
        fit = fits(guest("1"), plain)
        plain, rested = ledger.claim(plain, one, fit, one), ledger.claim(at_rest(rested), one, fit, one)
        assert at_rest(rested) == plain
    for one in ids[:2]:
        plain, rested = ledger.release(plain, one, one), ledger.release(at_rest(rested), one, one)
        assert rested == plain
    assert ledger.roles(at_rest(rested)) == ledger.roles(plain)


def test_packed_claims_take_a_fraction_of_the_memory() -> None:
    claims = [
        Claim(guest=f"{number:08}-0000-0000-0000-000000000000", fit=FITS[0], id=f"{number:08}-0000-0000-0000-000000000001")
        for number in range(10)
    ]
    found = packed(claims)
    assert isinstance(found, PackedClaims)
    plain = sum(sys.getsizeof(one) + sys.getsizeof(one.guest) + sys.getsizeof(one.id) for one in claims) + 8 * len(claims)
    assert sum(map(sys.getsizeof, (found, found._ids, found._fits))) * 3 < plain


def _with(where: HostState, claims: Sequence[Claim]) -> HostState:
    return replace(where, ledger=Ledger(claims=claims))

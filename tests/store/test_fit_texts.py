"""The text of a fit, which is written once, and whose fit is remembered for those who write the same."""

from __future__ import annotations

from hypothesis import given
from msgspec import json
from msgspec.structs import replace
from tests.build.fits import fits
from tests.build.hosts import state, states
from tests.build.requests import guests, pinned

from pinfold.core.fit import engine
from pinfold.core.fit.answer import Fit
from pinfold.core.host import HostState
from pinfold.core.reasons import Kind, Reason, ReasonCode
from pinfold.core.request.model import GuestRequest
from pinfold.store import claim_rows


@given(guests(), states())
def test_a_remembered_fit_is_the_one_that_its_text_says(request_: GuestRequest, where: HostState) -> None:
    found = engine.fit(request_, where)
    if isinstance(found, Fit):
        text = claim_rows.fit_text(found)
        assert claim_rows._fit(text) == claim_rows._read_fit(text, "claim.fit")


def test_a_fit_with_warnings_is_read_from_its_text_which_has_their_sentences() -> None:
    warning = Reason(code=ReasonCode.STALE, kind=Kind.INSUFFICIENT)
    text = claim_rows.fit_text(replace(fits(pinned(2), state("pack:2 core:4 pu:2")), warnings=(warning,)))
    assert json.decode(text)["value"]["warnings"][0]["sentence"]
    assert claim_rows._fit(text) == claim_rows._read_fit(text, "claim.fit")

"""Sentences that count: one of a thing is never a plural."""

from __future__ import annotations

import re

import pytest

from pinfold.core.reasons import Kind, Reason, ReasonCode


@pytest.mark.parametrize("code", ReasonCode)
def test_no_reason_says_one_of_many(code: ReasonCode) -> None:
    for kind in Kind:
        sentence = Reason(code=code, kind=kind, cell=0, needed=1, available=1, detail="4").sentence()
        assert not re.search(r"\b1 (?:\w+ ){0,3}\w*(?:CPU|page|cell|core|time)s\b", sentence), sentence

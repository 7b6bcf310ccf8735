"""The packing benchmark reads its traces, counts what it places, and reaches no more than the bound."""

from __future__ import annotations

import pytest
from benchmarks.packing import fill, traces
from benchmarks.packing.page import RULES


def test_the_traces_are_those_of_their_notice() -> None:
    assert (len(traces.hosts()), sum(pcpus for host in traces.hosts() for pcpus, _ in host)) == (1710, 141_856)
    assert [len(traces.requests(name)) for name in traces.NAMES] == [4998] * 3


def test_first_fit_refuses_its_first_request_where_it_always_has() -> None:
    assert fill.by_rule(traces.requests("c1", 2)[:6200], fill.first_fit).first == 77_032


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_places_all_of_the_first_requests(rule: str) -> None:
    asked = traces.requests("c1")[:60]
    filled = RULES[rule](asked)
    assert (filled.refused, filled.vcpus) == (0, sum(shape.vcpus for shape in asked))
    assert filled.vcpus + filled.pcpus_left == 141_856
    assert filled.vcpus <= fill.bound(asked)

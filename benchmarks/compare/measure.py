"""One round of one side: `measure.py TREE HOSTS` prints a JSON object of microseconds. It runs on the modules of TREE."""

from __future__ import annotations

import gc
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pinfold
from benchmarks.fit.own_worker import changes, request_of, state_of
from benchmarks.fit.scenarios import standard
from benchmarks.schedule import decisions
from pinfold.core.fit.answer import Strategy
from pinfold.core.fit.count import count_host
from pinfold.core.fit.demand import prepare
from pinfold.core.fit.engine import search
from pinfold.core.fit.explain import explain

_EVERY, _CALLS, _ROUNDS = 40, 60, 40


def main() -> None:
    """Measure decisions on a fleet, then fits on single hosts."""
    tree, hosts = Path(sys.argv[1]).resolve(), int(sys.argv[2])
    assert Path(pinfold.__file__).is_relative_to(tree), f"{pinfold.__file__} is not of {tree}"
    found = {}
    kinds, mix = decisions.measure(hosts, _ROUNDS)
    for kind in kinds:
        found[f"decision, {hosts:,} hosts, {kind.ask.name}"] = kind.p50_us
    found[f"decision, {hosts:,} hosts, the mix with its claims"] = 1e6 / mix.per_second
    print(json.dumps(found | _fits()))


def _fits() -> dict[str, float]:
    """The median over the cases of the median of one fit: on a counted host, on one with a claim more or less, on one counted from nothing;
    and of a refusal with its reasons.
    """
    gc.disable()
    counted, claimed, changed, explained = [], [], [], []
    for scenario in list(standard())[::_EVERY]:
        demand, counts = prepare(request_of(scenario)), count_host(state_of(scenario))
        counted.append(_median_us(lambda demand=demand, counts=counts: search(demand, counts, Strategy.SPREAD)))  # type: ignore[misc]
        changed.append(
            _median_us(lambda demand=demand, counts=counts: search(demand, count_host(counts.state, counts.frame), Strategy.SPREAD))  # type: ignore[misc]
        )
        change = changes(counts, 1)[0]
        claimed.append(_median_us(lambda demand=demand, counts=counts, change=change: search(demand, change(counts), Strategy.SPREAD)))  # type: ignore[misc]
        if search(demand, counts, Strategy.SPREAD) is None:
            explained.append(_median_us(lambda demand=demand, counts=counts: explain(demand, counts)))  # type: ignore[misc]
    return {
        "fit on a counted host": statistics.median(counted),
        "fit on a host with one claim more or less": statistics.median(claimed),
        "fit on a host that changed": statistics.median(changed),
        "reasons of a refusal": statistics.median(explained),
    }


def _median_us(call: Callable[[], Any]) -> float:
    samples = []
    for _ in range(_CALLS):
        began = time.process_time_ns()
        call()
        samples.append((time.process_time_ns() - began) / 1000)
    return statistics.median(samples)


if __name__ == "__main__":
    main()

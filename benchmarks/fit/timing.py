"""How one side answers the runner: lines of JSON in and out, decisions timed one by one. Standard library only.

What is decided, and with which objects, is the worker's.
"""

from __future__ import annotations

import gc
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from benchmarks.fit.scenarios import Cell, Scenario

BUDGET_NS = 6_000_000
MOST = 400


def scenario_of(values: dict[str, Any]) -> Scenario:
    """The scenario that a line of JSON holds."""
    cells = tuple(Cell(**{name: _tuples(value) for name, value in cell.items()}) for cell in values["cells"])
    rest = {name: _tuples(value) for name, value in values.items() if name != "cells"}
    return Scenario(cells=cells, **rest)


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def median_ns(prepare: Callable[[int], list[Any]], decide: Callable[[Any], Any], most: int = MOST) -> float:
    """The median time of one decision, in ns; `prepare(n)` makes the arguments of n decisions outside the timing."""
    warm = prepare(2)
    decide(warm[0])
    started = time.perf_counter_ns()
    decide(warm[1])
    once = max(1, time.perf_counter_ns() - started)
    arguments = prepare(min(most, max(3, BUDGET_NS // once)))
    samples = []
    clock = time.perf_counter_ns
    for argument in arguments:
        started = clock()
        decide(argument)
        samples.append(clock() - started)
    return statistics.median(samples)


def serve(commands: dict[str, Callable[[Scenario], dict[str, Any]]], versions: dict[str, str]) -> None:
    """Answer commands until the input ends; pinned to the last processor allowed, collector off."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    gc.disable()
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints must not stand between the answers
    print(json.dumps(versions), file=answers, flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        try:
            answer = commands[order["command"]](scenario_of(order["scenario"]))
        except Exception as error:  # the runner shows it, with the scenario
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)
        gc.collect()

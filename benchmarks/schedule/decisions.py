"""Decisions per second on synthetic fleets: filter, fit, rank, choose, and the index brought up to date as after a claim.

The kinds that are asked for are the fleet's common shapes.

Times are the process's own CPU time, which other work on the machine does not lengthen; one process, one thread.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.schedule.fleet import ASKS, Ask, entry, fleet
from pinfold.core.host import Claim
from pinfold.scheduler.decide import Conditions, decide
from pinfold.scheduler.index import Index
from pinfold.scheduler.loss import shapes_of
from pinfold.scheduler.model import SchedulerSettings

ANYWHERE = Conditions()
BUDGET = {10_000: 4000, 100_000: 1000}
"""The budget: the least decisions per second, by the number of hosts."""
P99_BUDGET_MS = 2.0
"""The budget of a decision in milliseconds that 99 of 100 keep, on each of these fleets."""
REFUSAL_BUDGET_MS = {100_000: 1.0}
"""The budget of a refusal in milliseconds that 99 of 100 keep, by the number of hosts."""
_MIXES: Final = 5
"""How often the mix is run, since other work on the machine slows down a run of a second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decisions:
    """What was measured for one kind of request on one fleet; times in microseconds."""

    hosts: int
    ask: Ask
    taken: bool
    first_us: float
    """The first decision of this kind, which looks at every host."""
    p50_us: float
    p99_us: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixed:
    """The whole mix in turn, every decision that found a host claimed there and given back later: decisions per second of it all.

    The median of several runs of the mix. A third as many rounds go before, so that the figure is that of a service that runs already.
    One run more times each decision alone, in microseconds: of all kinds of requests, and of those that are refused. Each finds hosts that
    changed since the last decision about its kind.
    """

    hosts: int
    per_second: float
    load_seconds: float
    p50_us: float
    p99_us: float
    refused_p50_us: float
    refused_p99_us: float


def measure(hosts: int, rounds: int) -> tuple[tuple[Decisions, ...], Mixed]:
    """Every kind of request `rounds` times on a fleet of so many hosts, then the mix."""
    states = fleet(hosts)
    index = Index()
    began = time.process_time()
    index.put([entry(number, state) for number, state in enumerate(states)])
    load = time.process_time() - began
    index.weigh(shapes_of([(ask.demand, 1) for ask in ASKS], version=1))
    settings = SchedulerSettings()
    gc.collect()
    gc.freeze()
    found = tuple(_one(index, hosts, ask, settings, rounds) for ask in ASKS)
    _mix(index, settings, rounds // 3, "warm")
    each = [_mix(index, settings, rounds, f"mixed-{number}") for number in range(_MIXES)]
    timed: list[tuple[float, bool]] = []
    _mix(index, settings, rounds, "timed", timed)
    every, refused = [spent for spent, _ in timed], [spent for spent, taken in timed if not taken]
    mixed = Mixed(
        hosts=hosts,
        per_second=statistics.median(each),
        load_seconds=load,
        p50_us=statistics.median(every),
        p99_us=_p99(every),
        refused_p50_us=statistics.median(refused),
        refused_p99_us=_p99(refused),
    )
    return found, mixed


def _one(index: Index, hosts: int, ask: Ask, settings: SchedulerSettings, rounds: int) -> Decisions:
    samples, taken = [], False
    for number in range(rounds + 2):
        began = time.process_time_ns()
        candidates = decide(index, f"guest-{number}", ask.demand, ANYWHERE, settings)
        spent = (time.process_time_ns() - began) / 1000
        taken = bool(candidates)
        samples.append(spent)
    first, samples = samples[0], samples[2:]
    return Decisions(hosts=hosts, ask=ask, taken=taken, first_us=first, p50_us=statistics.median(samples), p99_us=_p99(samples))


def _p99(samples: Sequence[float]) -> float:
    return sorted(samples)[int(len(samples) * 0.99)]


def _mix(index: Index, settings: SchedulerSettings, rounds: int, name: str, timed: list[tuple[float, bool]] | None = None) -> float:
    """The decisions per second. `timed` gets of each decision how many microseconds it took and whether it found a host."""
    held: list[tuple[str, str]] = []
    count = 0
    began = time.process_time()
    for number in range(rounds):
        for kind, ask in enumerate(ASKS):
            guest = f"{name}-{number}-{kind}"
            before = 0 if timed is None else time.process_time_ns()
            candidates = decide(index, guest, ask.demand, ANYWHERE, settings)
            if timed is not None:
                timed.append(((time.process_time_ns() - before) / 1000, bool(candidates)))
            count += 1
            if candidates:
                best = candidates[0]
                index.claimed(best.host, Claim(guest=guest, fit=best.fit), best.revision + 1)
                held.append((best.host, guest))
            if len(held) > 20:
                host, oldest = held.pop(0)
                known = index.get(host)
                assert known is not None
                index.released(host, oldest, None, known.state.revision + 1)
    return count / max(time.process_time() - began, 1e-9)

"""Decisions per second on synthetic fleets: filter, fit, rank, choose, and the index brought up to date as after a claim.

The kinds that are asked for are the fleet's common shapes.

Times are the process's own CPU time, which other work on the machine does not lengthen; one process, one thread.
"""

from __future__ import annotations

import gc
import statistics
import time
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
    """

    hosts: int
    per_second: float
    load_seconds: float


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
    return found, Mixed(hosts=hosts, per_second=statistics.median(each), load_seconds=load)


def _one(index: Index, hosts: int, ask: Ask, settings: SchedulerSettings, rounds: int) -> Decisions:
    samples, taken = [], False
    for number in range(rounds + 2):
        began = time.process_time_ns()
        candidates = decide(index, f"guest-{number}", ask.demand, ANYWHERE, settings)
        spent = (time.process_time_ns() - began) / 1000
        taken = bool(candidates)
        samples.append(spent)
    first, samples = samples[0], sorted(samples[2:])
    return Decisions(
        hosts=hosts, ask=ask, taken=taken, first_us=first, p50_us=statistics.median(samples), p99_us=samples[int(len(samples) * 0.99)]
    )


def _mix(index: Index, settings: SchedulerSettings, rounds: int, name: str) -> float:
    held: list[tuple[str, str]] = []
    count = 0
    began = time.process_time()
    for number in range(rounds):
        for kind, ask in enumerate(ASKS):
            guest = f"{name}-{number}-{kind}"
            candidates = decide(index, guest, ask.demand, ANYWHERE, settings)
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

"""How a fleet comes back after its only API process was away for longer than a lease, so that every host is down."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.ports import free_port
from tests.postgres import PostgreSQL

from benchmarks.agents.fleet import Agents, api, register
from benchmarks.process import cpu_seconds, started

_LOOKS: Final = 1.0
_PATIENCE_LEASES: Final = 20
"""After so many leases nobody waits any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """How many agents were `up` at which `seconds` after the process's new start, until all of them were or for twenty leases.

    `cpu` is of the process until then. `down` counts the agents that knew that they were down before. `asked` is what all agents asked from
    the new start on.
    """

    agents: int
    lease: float
    one_address: bool
    anew: bool
    away: float
    down: int
    seconds: tuple[float, ...]
    up: tuple[int, ...]
    cpu: float
    asked: dict[str, int]


def measure(folder: Path, count: int, lease: float, seed: int, *, one_address: bool, anew: bool) -> Outage:
    """Kill the process of a fleet at rest on PostgreSQL, start it again after two leases, and watch the agents come back, each from an
    address of its own, or all from one; with `anew`, as agents that begin anew.
    """
    with ExitStack() as stack:
        server = PostgreSQL.start()
        stack.callback(server.stop)
        database = server.create_database()
        fleet = register(database, count, seed)
        process = api(folder, 0, database, "", lease, port=free_port())
        stack.callback(process.kill)
        agents = Agents(folder, fleet, [started(process)], processes=2, lease=lease, stack=stack, one_address=one_address, anew=anew)
        agents.await_up(count)
        process.kill()
        time.sleep(2 * lease)
        up, before = agents.counts()
        down, began = count - up, time.monotonic()
        started(process)
        found: list[tuple[float, int]] = []
        while True:
            up, asked = agents.counts()
            found.append((round(time.monotonic() - began, 1), up))
            if up == count or found[-1][0] >= _PATIENCE_LEASES * lease:
                break
            time.sleep(_LOOKS)
        asked.subtract(before)
        return Outage(
            agents=count,
            lease=lease,
            one_address=one_address,
            anew=anew,
            away=2 * lease,
            down=down,
            seconds=tuple(seconds for seconds, _ in found),
            up=tuple(counted for _, counted in found),
            cpu=cpu_seconds(process.pid),
            asked={kind: times for kind, times in sorted(asked.items()) if times},
        )

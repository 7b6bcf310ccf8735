"""How a fleet comes back after its only API process was away for longer than a lease, so that every agent has to report anew."""

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

_LEASE: Final = 30.0
_AWAY: Final = 2 * _LEASE
_LOOKS: Final = 1.0
_PATIENCE: Final = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """Seconds from the process's new start until half of the agents were up, and all of them; None if that took longer than ten minutes.

    `cpu` is of the process until then. `down` counts the agents that knew that they were down before. `asked` is what all agents asked from
    the new start on.
    """

    agents: int
    away: float
    down: int
    half: float | None
    whole: float | None
    cpu: float
    asked: dict[str, int]


def measure(folder: Path, count: int, seed: int) -> Outage:
    """Kill the process of a fleet at rest on PostgreSQL, start it again after two leases, and watch the agents come back."""
    with ExitStack() as stack:
        server = PostgreSQL.start()
        stack.callback(server.stop)
        database = server.create_database()
        fleet = register(database, count, seed)
        process = api(folder, 0, database, "", _LEASE, port=free_port())
        stack.callback(process.kill)
        agents = Agents(folder, fleet, [started(process)], processes=1, lease=_LEASE, stack=stack)
        agents.await_up(count)
        process.kill()
        time.sleep(_AWAY)
        up, before = agents.counts()
        began, half, whole = time.monotonic(), None, None
        started(process)
        now, asked = agents.counts()
        while whole is None and time.monotonic() - began < _PATIENCE:
            passed = time.monotonic() - began
            half = passed if half is None and now >= count / 2 else half
            whole = passed if now == count else None
            time.sleep(_LOOKS)
            now, asked = agents.counts()
        asked.subtract(before)
        return Outage(
            agents=count,
            away=_AWAY,
            down=count - up,
            half=half,
            whole=whole,
            cpu=cpu_seconds(process.pid),
            asked={kind: times for kind, times in sorted(asked.items()) if times},
        )

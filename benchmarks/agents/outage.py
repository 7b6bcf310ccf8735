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

_LEASE: Final = 30.0
_LOOKS: Final = 1.0
_PATIENCE: Final = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """Seconds from the process's new start until half of the agents were up, and all of them; None if that took longer than ten minutes.

    `cpu` is of the process until then. `down` counts the agents that knew that they were down before. `asked` is what all agents asked from
    the new start on.
    """

    agents: int
    one_address: bool
    anew: bool
    away: float
    down: int
    half: float | None
    whole: float | None
    cpu: float
    asked: dict[str, int]


def measure(folder: Path, count: int, seed: int, *, one_address: bool, anew: bool, lease: float = _LEASE) -> Outage:
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
            one_address=one_address,
            anew=anew,
            away=2 * lease,
            down=count - up,
            half=half,
            whole=whole,
            cpu=cpu_seconds(process.pid),
            asked={kind: times for kind, times in sorted(asked.items()) if times},
        )

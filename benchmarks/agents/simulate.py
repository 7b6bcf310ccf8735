"""`python -m benchmarks.agents.simulate FILE`: many simulated agents in one process.

FILE is JSON: `agents`, each a name, a token and the number of its shape; `addresses` of API processes, which agents take in turns;
`seconds`, over which they start; `lease`, how long one lasts; `one_address`, whether all connect from the same one; `anew`, whether they
know nothing any more as soon as the service is away, as agents that begin anew. Each line on standard input is answered by one of JSON:
how many hosts are up, and how often the agents asked for what. They end with standard input.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
from collections import Counter
from pathlib import Path
from random import Random

from benchmarks.agents.simulated import SimulatedAgent
from benchmarks.schedule.fleet import SHAPES, empty


async def _run(asked: dict[str, list[list[object]]], seconds: float, lease: float, *, one_address: bool, anew: bool) -> None:
    counts: Counter[str] = Counter()
    states = [empty(shape) for shape in SHAPES]
    addresses = [(str(host), int(str(port))) for host, port in asked["addresses"]]
    # The API counts the connections of each address.
    agents = [
        SimulatedAgent(
            str(name),
            str(token),
            states[int(str(shape))],
            addresses[number % len(addresses)],
            "127.0.0.1" if one_address else f"127.{1 + (number >> 16)}.{number >> 8 & 255}.{number & 255}",
            lease,
            counts,
            Random(number),
            anew=anew,
        )
        for number, (name, token, shape) in enumerate(asked["agents"])
    ]
    starting = asyncio.create_task(_start(agents, seconds))
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while await reader.readline():
        print(json.dumps({"up": sum(agent.up for agent in agents), "asked": counts}), flush=True)
    starting.cancel()
    for agent in agents:
        agent.close()


async def _start(agents: list[SimulatedAgent], seconds: float) -> None:
    for agent in agents:
        agent.begin()
        await asyncio.sleep(seconds / len(agents))


def main(path: str) -> None:
    """Simulate the agents of a file."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    asked = json.loads(Path(path).read_text(encoding="utf-8"))
    run = _run(asked, asked["seconds"], asked["lease"], one_address=asked["one_address"], anew=asked["anew"])
    try:
        import uvloop
    except ImportError:
        asyncio.run(run)
    else:
        uvloop.run(run)


if __name__ == "__main__":
    main(sys.argv[1])

"""How soon an API process answers after its start, with so many hosts in its store and none of them in Placement yet."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
from tests.rig import loaded

from benchmarks.agents.fleet import api, register
from benchmarks.process import cpu_seconds, started

_COMPILE: Final = "import pinfold.cli.app, pinfold.wiring.api, placement.deploy, placement.wsgi, alembic.command"
"""Importing this compiles it, as an installation does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Seconds from the start of the process to the line that says that it works, and to the answer of `/healthz`; its CPU until each."""

    hosts: int
    ready: float
    ready_cpu: float
    answered: float
    answered_cpu: float
    health: str
    """What `/healthz` says of the hosts."""


def measure(folder: Path, hosts: int, seed: int) -> Start:
    """Start one process on SQLite, with an embedded Placement that knows no host: the comparison has all to do."""
    folder.mkdir()
    database = f"sqlite:///{folder}/pinfold.db"
    register(database, hosts, seed)
    subprocess.run([sys.executable, "-c", _COMPILE], env=loaded.importing(), check=True)
    process = api(folder, 0, database, f"sqlite:///{folder}/placement.db", 30.0)
    began = time.monotonic()
    try:
        started(process)
        ready, ready_cpu = time.monotonic() - began, cpu_seconds(process.pid)
        health = httpx.get(f"{process.told['url']}/healthz", timeout=300.0).json()
        return Start(
            hosts=hosts,
            ready=ready,
            ready_cpu=ready_cpu,
            answered=time.monotonic() - began,
            answered_cpu=cpu_seconds(process.pid),
            health=str(health["hosts"]),
        )
    finally:
        process.kill()

"""The modules that the agent's process loads."""

from __future__ import annotations

import subprocess
import sys

HEAVY = (
    "sqlalchemy",
    "fastapi",
    "uvicorn",
    "numpy",
    "placement",
    "pinfold.api",
    "pinfold.store.database",
    "pinfold.scheduler.scheduler",
    "pinfold.service.fleet",
)


def test_an_agent_alone_loads_nothing_of_the_service() -> None:
    script = f"""
import sys
import pinfold.cli.fleet, pinfold.wiring.agent, pinfold.wiring.command, pinfold.drivers.libvirt.connection
print(*(name for name in {HEAVY!r} if name in sys.modules))
"""
    environment = {"PYTHONPATH": ":".join(entry for entry in sys.path if entry)}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.split() == []

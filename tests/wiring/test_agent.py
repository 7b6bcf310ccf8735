"""The modules that the agent's process loads, and the facts of its host."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from pinfold.core.settings import HostSettings
from pinfold.wiring.agent import host_facts

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


def told(settings: HostSettings, address: str) -> dict[str, str]:
    found = host_facts(settings, address, hypervisor="QEMU", version=7_002_000, features=(), processor_refused="", booted=None)
    return dict(found.facts)


def test_a_look_at_the_host_waits_for_no_name_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def hanging(*_: object, **__: object) -> list[object]:
        raise AssertionError("a name server was asked, which may take half a minute")

    monkeypatch.setattr(socket, "getaddrinfo", hanging)
    assert told(HostSettings(state_dir=str(tmp_path)), "192.0.2.7")["host_ip"] == "192.0.2.7"


def test_an_address_that_is_not_known_is_not_told_as_another(tmp_path: Path) -> None:
    assert "host_ip" not in told(HostSettings(state_dir=str(tmp_path)), "")

"""The agent's parts put together: its libvirt, its service, and what the process knows of its host."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from pinfold import __version__
from pinfold.agent.client import ServiceClient
from pinfold.agent.loop import Agent, HostFacts
from pinfold.core.settings import HostSettings
from pinfold.wiring.host import open_driver

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_CPUINFO: Final = Path("/proc/cpuinfo")


@contextmanager
def open_agent(settings: HostSettings, service: ServiceClient, *, sweep_seconds: float) -> Iterator[Agent]:
    """An agent for the host's libvirt, let go of when the block ends. Raises `Unavailable` when libvirt cannot be reached."""
    with open_driver(settings) as driver:
        yield Agent(driver, settings, service, lambda: host_facts(settings), sweep_seconds=sweep_seconds)


def host_facts(settings: HostSettings) -> HostFacts:
    """What this machine says of itself: its boot, the disk that overlays go to, and facts for people."""
    disk = os.statvfs(settings.state_dir)
    model = next((line.partition(":")[2].strip() for line in _CPUINFO.read_text().splitlines() if line.startswith("model name")), "")
    return HostFacts(
        host_boot=_BOOT_ID.read_text(encoding="ascii").strip(),
        disk_gib=disk.f_blocks * disk.f_frsize >> 30,
        facts=(
            ("agent_version", __version__),
            ("cpu_model", model),
            ("host_ip", "127.0.0.1"),
            ("hostname", socket.gethostname()),
            ("hypervisor_type", "QEMU"),
        ),
    )

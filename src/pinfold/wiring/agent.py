"""Assemble the agent: its libvirt, its service, and what the process knows of its host; and run the agent as a process.

This module imports nothing of the service, so that an agent leaves the hypervisor's memory to guests.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from pinfold import __version__
from pinfold.agent.client import ServiceClient, read_token
from pinfold.agent.events import HostFacts
from pinfold.agent.loop import Agent, owner_of
from pinfold.agent.pool_file import PoolFile
from pinfold.agent.wire import PROTOCOL
from pinfold.config.find import drop_in
from pinfold.config.fleet import FleetSettings, settings_now
from pinfold.core import host_features
from pinfold.core.errors import InvalidRequest
from pinfold.core.options import Option
from pinfold.core.pools import PoolConfig
from pinfold.core.settings import HostSettings
from pinfold.drivers.port import Driver
from pinfold.host import templates
from pinfold.host.lock import owning, state_folder
from pinfold.linux import procfs
from pinfold.store.records import PROCESSOR_REFUSED, PROTOCOL_FACT
from pinfold.wiring.host import open_driver

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
POOL_FILE: Final = "zz-pools-of-the-service.conf"
"""The name of the file with the pools that the service orders. It is read last, because its name is."""
_MOST_WORDS: Final = 500
"""The most characters of the sentence about a processor; libvirt's may list every feature."""
_CPUINFO: Final = Path("/proc/cpuinfo")


@contextmanager
def open_agent(settings: FleetSettings, service: ServiceClient) -> Iterator[Agent]:
    """An agent for the host's libvirt, closed when the block ends. Raises `Unavailable` when libvirt cannot be reached."""
    booted = procfs.boot_time()  # read once: setting the clock changes it, and every changed fact causes a full report of the host
    with open_driver(settings.host) as driver:
        yield Agent(
            driver,
            settings.host,
            service,
            lambda: host_facts(
                settings.host,
                service.local_address,
                hypervisor=driver.platform_name(),
                version=driver.hypervisor_version(),
                features=driver.features(),
                processor_refused=processor_refused(driver),
                booted=booted,
            ),
            sweep_seconds=settings.agent.sweep_seconds,
            shutdown_seconds=settings.agent.shutdown_seconds,
            repair=settings.agent.repair,
            options=settings.options,
            read_options=lambda: _read_again(settings),
            pool_file=PoolFile(drop_in(settings.files, POOL_FILE)),
        )


def _read_again(settings: FleetSettings) -> tuple[tuple[Option, ...], PoolConfig]:
    now = settings_now(settings)
    return now.options, now.host.pools


def serve_agent(settings: FleetSettings, *, ready: Callable[[str], None]) -> None:
    """Run only this host's agent until SIGINT or SIGTERM; SIGHUP makes it read the configuration again and use its pools.

    Raises `InvalidRequest` when no service is configured.
    """
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until there is an agent that hears it
    if not settings.agent.api_url:
        raise InvalidRequest("[pinfold_agent] api_url is not set; the agent has to know its service", key="api_url")
    state_folder(settings.host)
    token = read_token(Path(settings.agent.token_file))
    with (
        owning(settings.host, owner_of(settings.host)),
        closing(
            ServiceClient(settings.agent.api_url, token, ca_file=settings.agent.ca_file, allow_plain_http=settings.agent.allow_plain_http)
        ) as client,
        open_agent(settings, client) as agent,
    ):
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: agent.stop())
        signal.signal(signal.SIGHUP, lambda *_: agent.hang_up())
        ready(settings.agent.api_url)
        agent.run()


def host_facts(
    settings: HostSettings,
    address: str,
    *,
    hypervisor: str,
    version: int,
    features: tuple[str, ...],
    processor_refused: str,
    booted: int | None,
) -> HostFacts:
    """Facts of this machine: its boot id, the size of the disk for overlays, and facts for people. No name server is asked.

    `address` is this machine's towards the service, '' if it is not known yet. `hypervisor` is its name and `version` its version,
    `processor_refused` why it cannot give guests the configured processor, and `booted` when the machine was started, in seconds since the
    epoch.
    """
    disk = os.statvfs(settings.state_dir)
    model = next((line.partition(":")[2].strip() for line in _CPUINFO.read_text().splitlines() if line.startswith("model name")), "")
    return HostFacts(
        host_boot=_BOOT_ID.read_text(encoding="ascii").strip(),
        disk_gib=disk.f_blocks * disk.f_frsize >> 30,
        networks=settings.networks,
        features=_with_templates(features, settings),
        facts=(
            ("agent_version", __version__),
            *([("booted", str(booted))] if booted is not None else []),
            ("cpu_model", model),
            *([("host_ip", address)] if address else []),
            ("hostname", socket.gethostname()),
            ("hypervisor_type", hypervisor),
            ("hypervisor_version", str(version)),
            *([(PROCESSOR_REFUSED, processor_refused)] if processor_refused else []),
            (PROTOCOL_FACT, str(PROTOCOL)),
        ),
    )


def processor_refused(driver: Driver) -> str:
    """Why this host cannot give new guests the configured processor, '' if it can. Raises `Unavailable`."""
    try:
        driver.processor()
    except InvalidRequest as error:
        return str(error)[:_MOST_WORDS]
    return ""


def _with_templates(features: tuple[str, ...], settings: HostSettings) -> tuple[str, ...]:
    """The features of the driver, and the templates in the host's folder if its driver starts guests."""
    if host_features.HARDWARE not in features:
        return features
    return (*features, *map(host_features.template, templates.names(Path(settings.templates_dir))))

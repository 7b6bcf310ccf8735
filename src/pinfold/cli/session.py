"""What a process gives to every command: how a driver is opened, and the configuration asked for. Wiring does not belong here."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import typer

from pinfold.cli.status import warn

if TYPE_CHECKING:  # `--help` answers without oslo.config and the core
    from pinfold.config import Configuration
    from pinfold.config.fleet import FleetSettings
    from pinfold.core.settings import HostSettings
    from pinfold.drivers.port import Driver


class Processes(Protocol):
    """The service's processes; each runs until a signal, and calls `ready` once it works."""

    def up(self, settings: FleetSettings, *, no_auth: bool, ready: Callable[[Any], None]) -> None:
        """API, Placement and agent in one."""
        ...

    def api(self, settings: FleetSettings, *, no_auth: bool, ready: Callable[[str], None]) -> None:
        """The API alone."""
        ...

    def agent(self, settings: FleetSettings, *, ready: Callable[[str], None]) -> None:
        """This host's agent alone."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What commands are given by the process that runs them.

    `open_driver` connects to the host's hypervisor until the block ends; `processes` are None where no service can be run.
    """

    open_driver: Callable[[HostSettings], AbstractContextManager[Driver]]
    processes: Processes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One host for one command: its driver and its configuration."""

    driver: Driver
    configuration: Configuration

    @property
    def settings(self) -> HostSettings:
        """The host's settings, with what the command line said in place of what the files say."""
        return self.configuration.settings


def read_configuration(
    named: Sequence[str] | None, uri: str | None, *, only_looks: bool, quiet: bool, audits: bool = False
) -> Configuration:
    """The configuration for one command. With `only_looks`, a nova.conf that lies in its usual place will do.

    With `audits`, it may also hold the options of Nova's by which pinfold places no guests. Slips in the files are said on
    standard error, unless `quiet`. Raises `InvalidRequest`.
    """
    from pinfold.config import find_files, load

    configuration = load(find_files(named or (), os.environ, nova=only_looks), audits=audits)
    if not quiet:
        for sentence in configuration.warnings:
            warn(sentence)
    if uri:
        configuration = replace(configuration, settings=replace(configuration.settings, uri=uri))
    return configuration


@contextmanager
def open_session(context: typer.Context, configuration: Configuration) -> Iterator[Session]:
    """The host of one command, connected until the block ends. Raises `Unavailable`."""
    parts: Parts = context.obj
    with parts.open_driver(configuration.settings) as driver:
        yield Session(driver=driver, configuration=configuration)

"""What a process passes to every command: how to open a driver, and the configuration."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Protocol

from msgspec import structs

from pinfold.cli.exit_status import warn
from pinfold.core.errors import Unavailable
from pinfold.core.printable import shell_line

if TYPE_CHECKING:  # `--help` answers without oslo.config and the core, and daemons run without Typer
    import typer

    from pinfold.cli.daemons import AgentCommand, WatchCommand
    from pinfold.config import Configuration
    from pinfold.config.fleet import FleetSettings
    from pinfold.core.settings import HostSettings
    from pinfold.drivers.port import Driver
    from pinfold.watch.options import WatchOptions


DAEMON_VARIABLE: Final = "PINFOLD_DAEMON"
"""The environment variable by which a process tells itself which daemon to be, when it executes itself without Typer."""


class Processes(Protocol):
    """The processes that run until a signal. Each calls `ready` once it works."""

    def up(self, settings: FleetSettings, *, no_auth: bool, ready: Callable[[Any], None]) -> None:
        """API, Placement and agent in one."""
        ...

    def api(self, settings: FleetSettings, *, no_auth: bool, ready: Callable[[str], None]) -> None:
        """Only the API."""
        ...

    def agent(self, command: AgentCommand) -> None:
        """Only this host's agent. It may replace this process, and then does not return."""
        ...

    def watch(self, command: WatchCommand) -> None:
        """The watch of this host, without a service. It may replace this process, and then does not return."""
        ...

    def watch_once(self, settings: HostSettings, options: WatchOptions) -> str:
        """One sweep of the watch. Returns its metrics."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a process passes to its commands.

    `open_driver` connects to the host's hypervisor until the block ends; `processes` is None if no service can be run. `typed` are the
    words of the command line after `pinfold`.
    """

    open_driver: Callable[[HostSettings], AbstractContextManager[Driver]]
    processes: Processes | None = None
    typed: Sequence[str] = ()


def applying(context: typer.Context, configuration: Configuration | None = None) -> str:
    """The command that was typed, with its options, and `--apply`: typed so, it does what was shown.

    It names the files of `configuration` if it would not find them itself, because a command that changes something takes a nova.conf only
    by name. None if what is shown depends on no file.
    """
    from pinfold.config.find import find_files, named_files, to_name

    parts: Parts = context.obj
    words = ["pinfold", *parts.typed]
    if configuration is not None and not named_files(context.params.get("config") or (), os.environ):
        read = configuration.files
        if read != find_files((), os.environ, nova=False):
            for file in to_name(read):
                words += ["--config", file]
    return shell_line((*words, "--apply"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One host for one command: its driver and its configuration."""

    driver: Driver
    configuration: Configuration

    @property
    def settings(self) -> HostSettings:
        """The host's settings; options of the command line replace those of the files."""
        return self.configuration.settings


def read_configuration(
    named: Sequence[str] | None, uri: str | None, *, only_looks: bool, quiet: bool, audits: bool = False
) -> Configuration:
    """The configuration for one command. With `only_looks`, a nova.conf in its usual place may serve.

    With `audits`, for commands that place no guests, it may also hold Nova's options by which pinfold places none. Warnings about the files
    go to standard error, unless `quiet`. Raises `InvalidRequest`.
    """
    from pinfold.config import find_files, load

    configuration = load(find_files(named or (), os.environ, nova=only_looks), audits=audits)
    if not quiet:
        for sentence in configuration.warnings:
            warn(sentence)
    if uri:
        configuration = replace(configuration, settings=structs.replace(configuration.settings, uri=uri))
    return configuration


_NEXT_STEP: Final = "; start it, or name another one with --connect; `pinfold doctor` says what this host lacks"


@contextmanager
def open_session(context: typer.Context, configuration: Configuration, *, checks: bool = False) -> Iterator[Session]:
    """The host of one command, connected until the block ends. Raises `Unavailable`, which names the next step unless the command `checks`
    the host itself.
    """
    parts: Parts = context.obj
    with ExitStack() as stack:
        try:
            driver = stack.enter_context(parts.open_driver(configuration.settings))
        except Unavailable as error:
            raise Unavailable(f"{error}{'' if checks else _NEXT_STEP}") from error
        yield Session(driver=driver, configuration=configuration)

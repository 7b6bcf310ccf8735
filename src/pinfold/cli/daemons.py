"""`pinfold watch` and `pinfold agent` as processes without Typer: the options in, a daemon until a signal.

Typer reads options with pydantic. Together they take some 10 MiB, which a daemon would hold for months. So `watch` and `agent` check their
options and put them into an environment variable, and the process executes its command line anew, which runs `run`.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

from msgspec import Struct, structs

from pinfold.cli.exit_status import ExitStatus, report
from pinfold.cli.fleet import Watchdog, read_fleet, tell_systemd_ready, watch_log
from pinfold.cli.output import show_json, silence, write
from pinfold.cli.session import DAEMON_VARIABLE, read_configuration
from pinfold.core.encoding import plain, reader
from pinfold.core.errors import InvalidRequest
from pinfold.core.printable import cleaned, shown
from pinfold.core.settings import RepairScope
from pinfold.watch.options import WatchOptions
from pinfold.watch.pools import PoolsMode

if TYPE_CHECKING:
    from collections.abc import Callable

    from pinfold.config import Configuration
    from pinfold.config.fleet import FleetSettings
    from pinfold.core.settings import HostSettings

_REPAIRED: Final = {
    RepairScope.OURS: "Threads of pinfold's guests",
    RepairScope.NOVA: "Threads of pinfold's and Nova's guests",
    RepairScope.ALL: "Threads of all guests",
}


class WatchCommand(Struct, frozen=True, kw_only=True, tag="watch"):
    """One command line of the watch. The configuration is not read yet: `options` lacks its files and flavors."""

    options: WatchOptions
    config: tuple[str, ...] = ()
    connect: str | None = None
    verbose: bool = False
    as_json: bool = False

    @property
    def texts(self) -> tuple[tuple[str, str], ...]:
        """Its options that are free text."""
        return (*_sources(self), ("--listen", self.options.listen), ("--textfile", self.options.textfile))

    def read(self, *, quiet: bool) -> Configuration:
        """Today's configuration. Raises `InvalidRequest`."""
        return read_configuration(self.config, self.connect, only_looks=True, quiet=quiet, audits=True)

    def prepared(self) -> tuple[HostSettings, WatchOptions]:
        """The settings, and the options with what the configuration adds to them. Raises `InvalidRequest`."""
        from pinfold.config.flavors import read_flavors

        found = self.read(quiet=self.as_json)
        counted = found.flavors_named or os.path.isfile(found.flavors_file)
        return found.settings, structs.replace(
            self.options,
            files=tuple(os.path.abspath(file) for file in found.files),
            flavors=tuple(read_flavors(found.flavors_file).values()) if counted else (),
        )


class AgentCommand(Struct, frozen=True, kw_only=True, tag="agent"):
    """One command line of the agent. The configuration is not read yet."""

    config: tuple[str, ...] = ()
    connect: str | None = None
    verbose: bool = False
    as_json: bool = False

    @property
    def texts(self) -> tuple[tuple[str, str], ...]:
        """Its options that are free text."""
        return _sources(self)


Command: TypeAlias = WatchCommand | AgentCommand


def _sources(command: Command) -> tuple[tuple[str, str], ...]:
    return (*(("--config", file) for file in command.config), ("--connect", command.connect or ""))


class _Encoded(Struct, frozen=True, kw_only=True):
    command: Command


_read: Final = reader(_Encoded)


class Daemons(Protocol):
    """The daemons. Each runs until SIGINT or SIGTERM, and calls `ready` once it works."""

    def watch(
        self,
        settings: HostSettings,
        options: WatchOptions,
        *,
        read_settings: Callable[[], HostSettings],
        ready: Callable[[str, str], None],
        alive: Callable[[], None],
    ) -> None:
        """The watch. `ready` gets the address of the metrics and that of the page, '' for none; `alive` is called while nothing hangs."""
        ...

    def agent(self, settings: FleetSettings, *, ready: Callable[[str], None]) -> None:
        """The agent. `ready` gets the URL of its service."""
        ...


def encoded(command: Command) -> str:
    """The command as text, for `run`. Raises `InvalidRequest` for an option that would not be read as it is."""
    for option, text in command.texts:
        if cleaned(text) != text:
            raise InvalidRequest(f"{option} {text!r}: only printable UTF-8 text is allowed", key=option)
    return json.dumps(plain(_Encoded(command=command)))


def run(text: str, daemons: Daemons) -> int:
    """Be the daemon of an encoded command, and return the exit status. It raises nothing: errors are printed on standard error."""
    as_json = False
    try:
        command = _decoded(text)
        as_json = command.as_json
        if isinstance(command, WatchCommand):
            _watch(command, daemons)
        else:
            _agent(command, daemons)
        return ExitStatus.OK
    except BrokenPipeError:
        silence()
        return ExitStatus.OK
    except (Exception, KeyboardInterrupt) as error:
        return report(error, as_json=as_json)


def _decoded(text: str) -> Command:
    try:
        return _read(json.loads(text), DAEMON_VARIABLE).command
    except (ValueError, InvalidRequest) as error:
        raise InvalidRequest(
            f"${DAEMON_VARIABLE} is set by `pinfold watch` and `pinfold agent` alone; unset it ({error})", key=DAEMON_VARIABLE
        ) from error


def _watch(command: WatchCommand, daemons: Daemons) -> None:
    settings, options = command.prepared()
    watch_log(verbose=command.verbose)

    def ready(where: str, page: str) -> None:
        places = " and ".join(filter(None, (where, options.textfile)))
        lines = [f"Watching {settings.uri} on {settings.host} every {options.interval:g} s."]
        lines += [f"Metrics are at {places}."] if places else []
        lines += [f"The page of the host is at {page}."] if page else []
        lines += [f"{_REPAIRED[options.repair]} are moved back when they drift."] if options.repair in _REPAIRED else []
        lines += ["Guests follow the pools when these change."] if options.pools is PoolsMode.APPLY else []
        document = {
            "host": settings.host,
            "uri": settings.uri,
            "metrics": where or None,
            "textfile": options.textfile or None,
            "page": page or None,
        }
        _announce(lines, document, as_json=command.as_json)

    daemons.watch(settings, options, read_settings=lambda: command.read(quiet=True).settings, ready=ready, alive=Watchdog().feed)


def _agent(command: AgentCommand, daemons: Daemons) -> None:
    settings = read_fleet(command.config, command.connect, None, None, quiet=command.as_json)
    watch_log(verbose=command.verbose)

    def ready(url: str) -> None:
        line = f"The agent of {settings.host.host} serves {settings.host.uri} for the service at {url}."
        _announce([line], {"host": settings.host.host, "service": url}, as_json=command.as_json)

    daemons.agent(settings, ready=ready)


def _announce(lines: list[str], document: dict[str, Any], *, as_json: bool) -> None:
    """Say on standard output and to systemd that the daemon works. The lines are not folded: that would take Rich."""
    if as_json:
        show_json(document)
    else:
        write("".join(f"{shown(line)}\n" for line in lines))
    tell_systemd_ready()

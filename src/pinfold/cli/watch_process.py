"""`pinfold watch` as a process without Typer: the options in, the daemon until a signal. The options are read and checked in `watch`.

Typer and its pydantic take 15 MiB, which a daemon would hold for months.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Final, Protocol

from msgspec import Struct, structs

from pinfold.cli.exit_status import ExitStatus, report
from pinfold.cli.fleet import Watchdog, tell_systemd_ready, watch_log
from pinfold.cli.output import show_json, silence, write
from pinfold.cli.session import WATCH_VARIABLE, read_configuration
from pinfold.core.encoding import plain, reader
from pinfold.core.errors import InvalidRequest
from pinfold.core.printable import cleaned, shown
from pinfold.core.settings import RepairScope
from pinfold.watch.options import WatchOptions
from pinfold.watch.pools import PoolsMode

if TYPE_CHECKING:
    from collections.abc import Callable

    from pinfold.config import Configuration
    from pinfold.core.settings import HostSettings

_REPAIRED: Final = {
    RepairScope.OURS: "Threads of pinfold's guests",
    RepairScope.NOVA: "Threads of pinfold's and Nova's guests",
    RepairScope.ALL: "Threads of all guests",
}


class WatchCommand(Struct, frozen=True, kw_only=True):
    """One command line of the watch. The configuration is not read yet: `options` lacks its files and flavors."""

    options: WatchOptions
    config: tuple[str, ...] = ()
    connect: str | None = None
    verbose: bool = False
    as_json: bool = False

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

    def encoded(self) -> str:
        """As text, for `run`. Raises `InvalidRequest` for a text that would not be read as it is."""
        named = [("--connect", self.connect or ""), ("--listen", self.options.listen), ("--textfile", self.options.textfile)]
        for option, text in (*(("--config", file) for file in self.config), *named):
            if cleaned(text) != text:
                raise InvalidRequest(f"{option} {text!r}: only printable UTF-8 text is allowed", key=option)
        return json.dumps(plain(self))


_read_command: Final = reader(WatchCommand)


class Serve(Protocol):
    """The daemon. `ready` gets the address of the metrics, '' for none; `alive` is called while nothing hangs."""

    def __call__(
        self,
        settings: HostSettings,
        options: WatchOptions,
        *,
        read_settings: Callable[[], HostSettings],
        ready: Callable[[str], None],
        alive: Callable[[], None],
    ) -> None:
        """Watch until SIGINT or SIGTERM."""
        ...


def run(encoded: str, serve: Serve) -> int:
    """Be the watch of one encoded command, and return the exit status. It raises nothing: errors are printed on standard error."""
    as_json = False
    try:
        command = _decoded(encoded)
        as_json = command.as_json
        settings, options = command.prepared()
        watch_log(verbose=command.verbose)
        serve(
            settings,
            options,
            read_settings=lambda: command.read(quiet=True).settings,
            ready=lambda where: _ready(command, settings, where),
            alive=Watchdog().feed,
        )
        return ExitStatus.OK
    except BrokenPipeError:
        silence()
        return ExitStatus.OK
    except (Exception, KeyboardInterrupt) as error:
        return report(error, as_json=as_json)


def _decoded(encoded: str) -> WatchCommand:
    try:
        return _read_command(json.loads(encoded), WATCH_VARIABLE)
    except (ValueError, InvalidRequest) as error:
        raise InvalidRequest(f"${WATCH_VARIABLE} is set by `pinfold watch` alone; unset it ({error})", key=WATCH_VARIABLE) from error


def _ready(command: WatchCommand, settings: HostSettings, where: str) -> None:
    options = command.options
    if command.as_json:
        show_json({"host": settings.host, "uri": settings.uri, "metrics": where or None, "textfile": options.textfile or None})
    else:
        places = " and ".join(filter(None, (where, options.textfile)))
        lines = [f"Watching {settings.uri} on {settings.host} every {options.interval:g} s."]
        lines += [f"Metrics are at {places}."] if places else []
        lines += [f"{_REPAIRED[options.repair]} are moved back when they drift."] if options.repair in _REPAIRED else []
        lines += ["Guests follow the pools when these change."] if options.pools is PoolsMode.APPLY else []
        write("".join(f"{shown(line)}\n" for line in lines))
    tell_systemd_ready()

"""The process of the command line: it passes the commands what they need of this host."""

from __future__ import annotations

import faulthandler
import gc
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from pinfold.cli.output import plain_signs
from pinfold.cli.session import DAEMON_VARIABLE, Parts
from pinfold.core.errors import Unavailable

if TYPE_CHECKING:
    from pinfold.cli.daemons import AgentCommand, Command, WatchCommand
    from pinfold.config.fleet import FleetSettings
    from pinfold.core.settings import HostSettings
    from pinfold.watch.options import WatchOptions


class ServiceProcesses:
    """The service's processes, imported only when one is run, because a command on one host does not need them.

    They load without the garbage collector, which would look at all modules again and again. It begins when the server starts.
    """

    def up(self, settings: FleetSettings, *, no_auth: bool, ready: Callable[[Any], None]) -> None:
        """See `wiring.up`."""
        gc.disable()
        from pinfold.wiring.up import up

        up(settings, no_auth=no_auth, ready=ready)

    def api(self, settings: FleetSettings, *, no_auth: bool, ready: Callable[[str], None]) -> None:
        """See `wiring.api`."""
        gc.disable()
        from pinfold.wiring.api import serve_api

        serve_api(settings, no_auth=no_auth, ready=ready)

    def agent(self, command: AgentCommand) -> None:
        """See `_become`."""
        _become(command)

    def watch(self, command: WatchCommand) -> None:
        """See `_become`."""
        _become(command)

    def watch_once(self, settings: HostSettings, options: WatchOptions) -> str:
        """See `wiring.watch`."""
        from pinfold.wiring.watch import watch_once

        return watch_once(settings, options)


def _become(command: Command) -> NoReturn:
    """Execute this command line again, in the same process, as a daemon that never imports Typer. See `main`.

    The process id stays, so that systemd and whoever else waits for it notice nothing.
    """
    from pinfold.cli.daemons import encoded

    os.environ[DAEMON_VARIABLE] = encoded(command)
    try:
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    except OSError as error:
        raise Unavailable(f"{sys.executable} cannot be executed: {error.strerror}") from error


class ServiceDaemons:
    """The daemons of a host, of which only the one that runs is imported."""

    def watch(
        self,
        settings: HostSettings,
        options: WatchOptions,
        *,
        read_settings: Callable[[], HostSettings],
        ready: Callable[[str, str], None],
        alive: Callable[[], None],
    ) -> None:
        """See `wiring.watch`."""
        from pinfold.wiring.watch import serve_watch

        serve_watch(settings, options, read_settings=read_settings, ready=ready, alive=alive)

    def agent(self, settings: FleetSettings, *, ready: Callable[[str], None]) -> None:
        """See `wiring.agent`."""
        from pinfold.wiring.agent import serve_agent

        serve_agent(settings, ready=ready)


def main() -> NoReturn:
    """The entry point `pinfold`."""
    plain_signs()
    faulthandler.enable()  # a process that a fault in a C library ends says where that happened
    if (daemon := os.environ.pop(DAEMON_VARIABLE, None)) is not None:
        from pinfold.cli.daemons import run as run_daemon

        with suppress(OSError):  # the name that ps and top show; it was the interpreter's since the process executed itself
            Path("/proc/self/comm").write_text("pinfold", encoding="ascii")
        sys.exit(run_daemon(daemon, ServiceDaemons()))

    from pinfold.cli.app import run
    from pinfold.wiring.host import open_driver

    sys.exit(run(sys.argv[1:], Parts(open_driver=open_driver, processes=ServiceProcesses())))


if __name__ == "__main__":
    main()

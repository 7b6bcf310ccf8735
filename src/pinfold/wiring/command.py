"""The process of the command line: it passes the commands what they need of this host."""

from __future__ import annotations

import faulthandler
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

from pinfold.cli.app import run
from pinfold.cli.output import plain_signs
from pinfold.cli.session import Parts
from pinfold.wiring.host import open_driver

if TYPE_CHECKING:
    from pinfold.config.fleet import FleetSettings
    from pinfold.core.settings import HostSettings
    from pinfold.watch.options import WatchOptions


class ServiceProcesses:
    """The service's processes, imported only when one is run, because a command on one host does not need them."""

    def up(self, settings: FleetSettings, *, no_auth: bool, ready: Callable[[Any], None]) -> None:
        """See `wiring.up`."""
        from pinfold.wiring.up import up

        up(settings, no_auth=no_auth, ready=ready)

    def api(self, settings: FleetSettings, *, no_auth: bool, ready: Callable[[str], None]) -> None:
        """See `wiring.up`."""
        from pinfold.wiring.up import serve_api

        serve_api(settings, no_auth=no_auth, ready=ready)

    def agent(self, settings: FleetSettings, *, ready: Callable[[str], None]) -> None:
        """See `wiring.agent`."""
        from pinfold.wiring.agent import serve_agent

        serve_agent(settings, ready=ready)

    def watch(
        self,
        settings: HostSettings,
        options: WatchOptions,
        *,
        read_settings: Callable[[], HostSettings],
        ready: Callable[[str], None],
        alive: Callable[[], None],
    ) -> None:
        """See `wiring.watch`."""
        from pinfold.wiring.watch import serve_watch

        serve_watch(settings, options, read_settings=read_settings, ready=ready, alive=alive)

    def watch_once(self, settings: HostSettings, options: WatchOptions) -> str:
        """See `wiring.watch`."""
        from pinfold.wiring.watch import watch_once

        return watch_once(settings, options)


def main() -> NoReturn:
    """The entry point `pinfold`."""
    plain_signs()
    faulthandler.enable()  # a process that a fault in a C library ends says where that happened
    sys.exit(run(sys.argv[1:], Parts(open_driver=open_driver, processes=ServiceProcesses())))


if __name__ == "__main__":
    main()

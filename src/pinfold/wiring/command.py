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


def main() -> NoReturn:
    """The entry point `pinfold`."""
    plain_signs()
    faulthandler.enable()  # a process that a fault in a C library ends says where that happened
    sys.exit(run(sys.argv[1:], Parts(open_driver=open_driver, processes=ServiceProcesses())))


if __name__ == "__main__":
    main()

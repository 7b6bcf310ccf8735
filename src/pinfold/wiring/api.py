"""`pinfold api`: the API as a process of its own, without an agent. It loads nothing of the agent, so that it answers sooner."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

from pinfold.config.fleet import FleetSettings
from pinfold.host.lock import state_folder
from pinfold.wiring.hangups import hearing_hangups, log_difference
from pinfold.wiring.http_server import server_of
from pinfold.wiring.service import keeps_state, listening_socket, open_service, url_of


def serve_api(settings: FleetSettings, *, no_auth: bool, ready: Callable[[str], None]) -> None:
    """Run only the API until SIGINT or SIGTERM; SIGHUP makes it read accounts and configuration again.

    The state directory is created only if a database is in it.
    """
    if keeps_state(settings):
        state_folder(settings.host)
    with (
        hearing_hangups() as hangups,
        closing(listening_socket(settings.api)) as listening,
        open_service(settings, no_auth=no_auth, hangups=hangups, heard=lambda: log_difference(settings)) as service,
    ):
        server = server_of(service, settings.api)
        ready(url_of(settings.api, listening))
        server.run(sockets=[listening])

"""`pinfold api`: the API with its scheduler and healer, without an agent."""

from __future__ import annotations

import typer

from pinfold.cli import options as opt
from pinfold.cli.fleet import placement_there, read_fleet, tell_systemd_ready, watch_log
from pinfold.cli.output import respond
from pinfold.cli.up import Listen, NoAuth, Port, Verbose


def api(
    context: typer.Context,
    no_auth: NoAuth = False,
    listen: Listen = None,
    port: Port = None,
    verbose: Verbose = False,
    config: opt.Config = None,
    as_json: opt.Json = False,
) -> None:
    """Run the API until Ctrl-C or SIGTERM. Any number may run on one PostgreSQL; SQLite serves one."""
    settings = read_fleet(config, None, listen, port, quiet=as_json)
    watch_log(verbose=verbose)

    def ready(url: str) -> None:
        respond({"url": url}, filter(None, (f"pinfold's API is at {url}.", placement_there(settings))), as_json=as_json)
        tell_systemd_ready()

    context.obj.processes.api(settings, no_auth=no_auth, ready=ready)

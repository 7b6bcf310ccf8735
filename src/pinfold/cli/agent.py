"""`pinfold agent`: run the agent of this host."""

from __future__ import annotations

import typer

from pinfold.cli import options as opt
from pinfold.cli.fleet import read_fleet, tell_systemd_ready, watch_log
from pinfold.cli.output import show, show_json
from pinfold.cli.up import Verbose


def agent(
    context: typer.Context, verbose: Verbose = False, config: opt.Config = None, connect: opt.Connect = None, as_json: opt.Json = False
) -> None:
    """Run this host's agent until Ctrl-C or SIGTERM. Guests go on when it ends."""
    settings = read_fleet(config, connect, None, None, quiet=as_json)
    watch_log(verbose=verbose)

    def ready(url: str) -> None:
        if as_json:
            show_json({"host": settings.host.host, "service": url})
        else:
            show([f"The agent of {settings.host.host} serves {settings.host.uri} for the service at {url}."])
        tell_systemd_ready()

    context.obj.processes.agent(settings, ready=ready)

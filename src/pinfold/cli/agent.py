"""`pinfold agent`: the service's hand on this host."""

from __future__ import annotations

import typer

from pinfold.cli import options as opt
from pinfold.cli.fleet import read_fleet, watch_log
from pinfold.cli.output import show, show_json
from pinfold.cli.up import Verbose


def agent(
    context: typer.Context, verbose: Verbose = False, config: opt.Config = None, connect: opt.Connect = None, as_json: opt.Json = False
) -> None:
    """Run this host's agent until Ctrl-C or SIGTERM. Guests go on when it ends."""
    settings = read_fleet(config, connect, None, None, quiet=as_json)
    watch_log(verbose=verbose)
    told = f"The agent of {settings.host.host} serves {settings.host.uri}"
    context.obj.processes.agent(
        settings,
        ready=lambda url: (
            show_json({"host": settings.host.host, "service": url}) if as_json else show([f"{told} for the service at {url}."])
        ),
    )

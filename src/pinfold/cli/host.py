"""`pinfold host`: what this host has, and who runs where on it."""

from __future__ import annotations

import typer

from pinfold.cli import options as opt
from pinfold.cli.output import console, show, show_json
from pinfold.cli.session import open_session, read_configuration
from pinfold.cli.status import warn

app = typer.Typer(help="Show this host's cells, pools and guests.", no_args_is_help=True)


@app.command("show")
def show_(context: typer.Context, config: opt.Config = None, connect: opt.Connect = None, as_json: opt.Json = False) -> None:
    """Show the host's cells, its pools and what is left of them, and the settings that count."""
    from pinfold.cli.documents import host_document
    from pinfold.cli.views.host_map import host_head
    from pinfold.cli.views.host_show import host_show_view
    from pinfold.host.map import host_map
    from pinfold.host.survey import survey

    configuration = read_configuration(config, connect, only_looks=True, quiet=as_json)
    with open_session(context, configuration) as session:
        seen = survey(session.driver, session.settings)
    chart = host_map(seen)
    if as_json:
        show_json(host_document(seen, chart, configuration.settings))
        return
    for warning in seen.warnings:
        warn(warning)
    show([*host_head(seen, chart), *host_show_view(seen, chart, configuration.settings)])


@app.command("map")
def map_(context: typer.Context, config: opt.Config = None, connect: opt.Connect = None, as_json: opt.Json = False) -> None:
    """Draw the host: cells, cores with their siblings side by side, the pool of each pCPU and what runs there."""
    from pinfold.cli.documents import map_document
    from pinfold.cli.views.host_map import host_map_view
    from pinfold.host.map import host_map
    from pinfold.host.survey import survey

    configuration = read_configuration(config, connect, only_looks=True, quiet=as_json)
    with open_session(context, configuration) as session:
        seen = survey(session.driver, session.settings)
    chart = host_map(seen)
    if as_json:
        show_json(map_document(chart))
        return
    for warning in seen.warnings:
        warn(warning)
    screen = console()
    show(host_map_view(seen, chart, screen.width), screen)

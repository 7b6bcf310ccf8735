"""`pinfold watch`: a daemon for one host that sweeps, measures and publishes. It needs no service and no database.

It changes nothing unless --repair or --pools says so.
"""

from __future__ import annotations

from typing import Annotated

import typer

from pinfold.cli import options as opt
from pinfold.cli.fleet import watch_log
from pinfold.cli.output import write
from pinfold.cli.session import Processes
from pinfold.cli.up import Verbose
from pinfold.core.errors import InvalidRequest
from pinfold.watch.options import UI_ADDRESS


def watch(
    context: typer.Context,
    once: Annotated[
        bool,
        typer.Option(
            "--once", help="Sweep once and end; counters are since each thread began. Prints the metrics, unless --textfile is given."
        ),
    ] = False,
    interval: Annotated[
        float, typer.Option(min=1.0, max=3600.0, help="Seconds between two sweeps. Events cause sweeps in between.")
    ] = 10.0,
    textfile: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write the metrics there after each sweep, for node_exporter's textfile collector.")
    ] = None,
    listen: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS:PORT|unix:PATH", help="Serve /metrics there: an address on loopback, or a unix socket."),
    ] = None,
    ui: Annotated[
        bool,
        typer.Option(
            "--ui",
            help=f"Serve a page of this host for browsers, too: at the address of --listen, or at {UI_ADDRESS}. It changes nothing.",
        ),
    ] = False,
    keep_days: Annotated[int, typer.Option(min=1, max=3650, help="For how many days the journal keeps what changed.")] = 30,
    keep_mib: Annotated[int, typer.Option(min=1, max=4096, help="The most MiB of the journal; its oldest entries go first.")] = 64,
    repair: Annotated[
        str,
        typer.Option(
            metavar="off|ours|nova|all",
            help="Whose drifted threads it moves back: nobody's, those of our guests, of Nova's too, of all guests. A guest whose repair "
            "was undone three times is left alone.",
        ),
    ] = "off",
    pools: Annotated[
        str,
        typer.Option(
            metavar="report|apply",
            help="When the pools have changed: report says which running guests are left behind, apply moves their threads to the new "
            "pools, without a restart.",
        ),
    ] = "report",
    verbose: Verbose = False,
    config: opt.Config = None,
    connect: opt.Connect = None,
    as_json: opt.Json = False,
) -> None:
    """Watch this host until Ctrl-C or SIGTERM: audit and measure all guests every few seconds, publish metrics, and keep a journal.

    It runs beside what manages the guests: on a Nova compute node with its nova.conf, on a libvirt host, or with --connect processes:.
    The journal lies in the state directory, and `pinfold history` reads it. The watch reads the configuration again when its files have
    changed, and at SIGHUP.
    If there is a flavors file, the metrics say how many more guests of each flavor fit.
    Metrics need the package prometheus-client: pip install 'pinfold\\[watch]'. The page of --ui needs jinja2: pip install 'pinfold\\[ui]'.
    """
    from pinfold.cli.daemons import WatchCommand
    from pinfold.core.settings import RepairScope
    from pinfold.watch.options import WatchOptions
    from pinfold.watch.pools import PoolsMode

    if once and listen:
        raise InvalidRequest("--once ends before anybody could ask; leave --listen out", key="--once")
    if once and ui:
        raise InvalidRequest("--once ends before anybody could look; leave --ui out", key="--once")
    if once and repair != "off":
        raise InvalidRequest("--once repairs nothing; `pinfold repair` does", key="--once")
    scope, mode = opt.member_of(RepairScope, repair, "--repair"), opt.member_of(PoolsMode, pools, "--pools")
    if once and pools != "report":
        raise InvalidRequest("--once moves nothing; `pinfold host pools` shows how to", key="--once")
    command = WatchCommand(
        options=WatchOptions(
            repair=scope,
            pools=mode,
            interval=interval,
            listen=listen or "",
            ui=ui,
            textfile=textfile or "",
            keep_days=keep_days,
            keep_mib=keep_mib,
        ),
        config=tuple(config or ()),
        connect=connect,
        verbose=verbose,
        as_json=as_json,
    )
    processes: Processes = context.obj.processes
    if not once:
        processes.watch(command)
        return
    settings, options = command.prepared()
    watch_log(verbose=verbose)
    text = processes.watch_once(settings, options)
    if not textfile:
        write(text)

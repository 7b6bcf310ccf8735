"""`pinfold host`: show this host and what runs on it; list and manage the hosts of the service."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from pinfold.cli import completion
from pinfold.cli import options as opt
from pinfold.cli.exit_status import ExitStatus, warn
from pinfold.cli.host_capacity import capacity
from pinfold.cli.host_history import history
from pinfold.cli.host_pools import order_pools
from pinfold.cli.host_repin import repin
from pinfold.cli.output import console, respond, show, show_json, write
from pinfold.cli.session import applying, open_session, read_configuration
from pinfold.core.encoding import plain
from pinfold.core.errors import InvalidRequest
from pinfold.core.plural import count, listed
from pinfold.core.printable import shown

if TYPE_CHECKING:
    from rich.console import RenderableType

    from pinfold.config import Configuration
    from pinfold.core.drift import Finding
    from pinfold.core.host_map import HostMap
    from pinfold.core.load import HostLoad
    from pinfold.host.survey import Survey

app = typer.Typer(help="Show this host's cells, pools and guests; list, add and fence hosts of the service.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="HOST", help="The host's name.", autocompletion=completion.hosts)]


@app.command("show")
def show_(context: typer.Context, config: opt.Config = None, connect: opt.Connect = None, as_json: opt.Json = False) -> None:
    """Show the host's cells, its pools and what is free in them, and the settings that matter."""
    from pinfold.cli.views.host_map import host_head
    from pinfold.cli.views.host_show import host_show_view
    from pinfold.host import written

    configuration = read_configuration(config, connect, only_looks=True, quiet=as_json, audits=True)
    seen, chart = _surveyed(context, configuration, quiet=as_json)
    if as_json:
        show_json(plain(written.host(seen, chart, configuration.settings)))
    else:
        show([*host_head(seen, chart), *host_show_view(seen, chart, configuration.settings)])


@app.command("map")
def map_(
    context: typer.Context,
    svg: Annotated[
        str | None, typer.Option("--svg", metavar="FILE", help="Write the map to that file as an SVG picture, for a ticket or a page.")
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Draw it anew every 2 seconds until Ctrl-C.")] = False,
    config: opt.Config = None,
    connect: opt.Connect = None,
    as_json: opt.Json = False,
) -> None:
    """Draw the host: cells, cores with their siblings side by side, the pool of each pCPU and what runs there, and below it the drift.

    Cores that are alike and that nobody holds share a line on hosts with more than 128 pCPUs. Where `pinfold watch` runs, map and picture
    say which pCPUs were waited for in the last minute, where others than the owner ran, and since when each finding has been reported.
    """
    from pinfold.cli.picture import draw_repeatedly, write_svg
    from pinfold.cli.views.host_map import host_map_view

    if (svg is not None) + watch + as_json > 1:
        raise InvalidRequest("one of --svg, --watch and --json is allowed, not several", key="--svg")
    configuration = read_configuration(config, connect, only_looks=True, quiet=as_json, audits=True)
    if watch:

        def draw(width: int) -> list[RenderableType]:
            seen, chart, drift = _audited(context, configuration, quiet=True)
            return host_map_view(seen, chart, width, drift, _load(configuration), _since(configuration, drift))

        draw_repeatedly(draw)
    seen, chart, drift = _audited(context, configuration, quiet=as_json)
    if as_json:
        show_json(plain(chart))
    elif svg is not None:
        write_svg(svg, seen, chart, drift, _load(configuration), _since(configuration, drift))
    else:
        screen = console()
        show(host_map_view(seen, chart, screen.width, drift, _load(configuration), _since(configuration, drift)), screen)


@app.command("pools")
def pools(
    context: typer.Context,
    apply: Annotated[bool, typer.Option("--apply", help="Move the threads and amend the records.")] = False,
    config: opt.Config = None,
    connect: opt.Connect = None,
    as_json: opt.Json = False,
) -> None:
    """Show which threads of running guests the pools of today move, from where and to where; with --apply, move them.

    No guest is restarted. Pinned vCPUs keep their pCPUs; those that left the dedicated pool retire with their guest, unless `pinfold host
    repin` frees them. Nova's guests with emulator policy share follow too. A guest that cannot be moved is moved back. Exit status 1: some
    guest is not where the pools of today put it.

    The pools are those of the configuration. --apply takes a nova.conf only by name (--config), and does nothing without any pools unless a
    file was named.
    """
    from pinfold.cli.views.pool_change import pools_view
    from pinfold.config.find import named_files
    from pinfold.host import pool_change, written

    configuration = read_configuration(config, connect, only_looks=not apply, quiet=as_json, audits=True)
    named = bool(named_files(config or (), os.environ))
    if apply and not named:
        pool_change.refuse_no_pools(configuration.settings, _files_to_name(configuration))
    with open_session(context, configuration) as session:
        done = pool_change.apply(session.driver, session.settings, without_pools=named) if apply else None
        plan = pool_change.plan(session.driver, session.settings) if done is None else done.plan
    respond(
        plain(written.pool_plan(plan, done)),
        pools_view(plan, done, applying(context, configuration)),
        as_json=as_json,
        warnings=plan.warnings,
    )
    if not (plan.settled if done is None else done.complete):
        raise typer.Exit(ExitStatus.REFUSED)


def _files_to_name(configuration: Configuration) -> str:
    """The advice to name the file that sets the pools: a nova.conf in its usual place, which only commands that look read by themselves."""
    from pinfold.config.find import find_files, to_name

    others = [file for file in to_name(find_files((), os.environ, nova=True)) if file not in configuration.files]
    return f"{listed(others)} is read only by name: --config {others[0]}" if others else "name the file that has them: --config FILE"


def _load(configuration: Configuration) -> HostLoad | None:
    """The last minute of this host, None if no watch measures it."""
    from pinfold.core.errors import Unavailable
    from pinfold.core.load import LATELY_SECONDS, lately
    from pinfold.watch import history as watched

    try:
        return lately(watched.ask(watched.socket_path(configuration.settings), int(LATELY_SECONDS)))
    except Unavailable:
        return None


def _since(configuration: Configuration, drift: tuple[Finding, ...]) -> tuple[float | None, ...]:
    """Since when the watch of this host has reported each finding; None where it does not know, and without a journal that can be read."""
    from pinfold.core.errors import Unavailable
    from pinfold.watch.journal import journal_path, read_since

    try:
        return read_since(journal_path(configuration.settings), drift)
    except (InvalidRequest, Unavailable):
        return (None,) * len(drift)


def _surveyed(context: typer.Context, configuration: Configuration, *, quiet: bool) -> tuple[Survey, HostMap]:
    """This host and its map, without a look at threads. Warnings go to standard error, unless `quiet`."""
    from pinfold.host.map import map_of
    from pinfold.host.survey import survey

    with open_session(context, configuration) as session:
        seen = survey(session.driver, session.settings)
    if not quiet:
        for warning in seen.warnings:
            warn(warning)
    return seen, map_of(seen)


def _audited(context: typer.Context, configuration: Configuration, *, quiet: bool) -> tuple[Survey, HostMap, tuple[Finding, ...]]:
    """This host, its map and its drift, after reading where all threads may run. Warnings go to standard error, unless `quiet`."""
    from pinfold.host.audit import audit_of
    from pinfold.host.map import audited_map
    from pinfold.host.survey import survey

    unread: list[str] = []
    with open_session(context, configuration) as session:
        seen = survey(session.driver, session.settings)
        found = audit_of(
            session.driver, session.settings, seen, lambda guest, error: unread.append(f"guest {guest.name} is drawn as recorded: {error}")
        )
    if not quiet:
        for warning in (*seen.warnings, *unread):
            warn(warning)
    return seen, audited_map(found), found.drift


app.command("capacity")(capacity)
app.command("history")(history)
app.command("repin")(repin)
app.command("order-pools")(order_pools)


@app.command("list")
def list_(config: opt.Config = None, as_json: opt.Json = False) -> None:
    """List the hosts of the service: which are up, their pools, how many findings break a promise, and which take new guests."""
    from pinfold.cli.service import open_access
    from pinfold.cli.views.servers import hosts_view

    with open_access(config) as service:
        hosts = service.ask("GET", "/v1/hosts")["hosts"]
    respond({"hosts": hosts}, hosts_view(hosts), as_json=as_json)


@app.command()
def add(
    name: Name,
    renew: Annotated[bool, typer.Option("--renew", help="The host is known: make a new token, and the old one void.")] = False,
    config: opt.Config = None,
    as_json: opt.Json = False,
) -> None:
    """Add a host to the service, and print its agent's token. The token is shown only once and not stored."""
    from pinfold.cli.service import open_access, segment

    with open_access(config) as service:
        path, body = (f"/v1/hosts/{segment(name)}/token", {}) if renew else ("/v1/hosts", {"name": name})
        answer = service.ask("POST", path, body)
    if as_json:
        show_json(answer)
    else:
        write(f"{shown(answer['token'])}\n")


@app.command()
def fence(
    name: Name,
    powered_off: Annotated[bool, typer.Option("--powered-off", help="Your word that the host has no power.")] = False,
    config: opt.Config = None,
    as_json: opt.Json = False,
) -> None:
    """Release everything that a silent host holds. Only do this when the host is powered off: the service cannot check it."""
    from pinfold.cli.service import open_access, segment

    if not powered_off:
        raise InvalidRequest(
            "a fence needs --powered-off: while the host has power its guests may run, and their pCPUs must not be given away",
            key="powered_off",
        )
    with open_access(config) as service:
        answer = service.ask("POST", f"/v1/hosts/{segment(name)}/fence", {"powered_off": True})
    if as_json:
        show_json(answer)
    else:
        lost = answer["lost"]
        show([f"host {name} is fenced; it had {count(len(lost), 'server')}" + (", now in error: " + ", ".join(lost) if lost else "")])


@app.command()
def drift(name: Name, config: opt.Config = None, as_json: opt.Json = False) -> None:
    """Show what the audit of the host's agent found, and how to undo each finding; run the commands on that host.

    Exit status 1: something is not as it should be. Notes alone leave it 0.
    """
    from pinfold.cli.service import open_access, segment
    from pinfold.cli.views.drift import drift_view
    from pinfold.core.drift import Severity

    with open_access(config) as service:
        answer = service.ask("GET", f"/v1/hosts/{segment(name)}/drift")
    respond(answer, drift_view(answer), as_json=as_json)
    if any(each["severity"] == Severity.DRIFT.value for each in answer["counts"]):
        raise typer.Exit(ExitStatus.REFUSED)


@app.command()
def remove(name: Name, config: opt.Config = None, as_json: opt.Json = False) -> None:
    """Remove a host from the service, if nothing is left on it."""
    from pinfold.cli.service import open_access, segment

    with open_access(config) as service:
        service.ask("DELETE", f"/v1/hosts/{segment(name)}")
    if as_json:
        show_json({"host": name, "removed": True})

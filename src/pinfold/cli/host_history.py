"""`pinfold host history`: the samples of the last hour, of this host's watch or of a host of the service."""

from __future__ import annotations

from typing import Annotated

import typer

from pinfold.cli import completion
from pinfold.cli import options as opt
from pinfold.cli.output import console, show, show_json
from pinfold.cli.session import read_configuration

Name = Annotated[
    str | None,
    typer.Argument(
        metavar="HOST", help="A host of the service, by its name; without it, this host's watch.", autocompletion=completion.hosts
    ),
]


def history(
    name: Name = None,
    minutes: Annotated[int, typer.Option("--minutes", min=1, max=60, help="How far back.")] = 60,
    guest: Annotated[str | None, typer.Option("--guest", metavar="GUEST", help="Only this guest, by name or id.")] = None,
    pcpus: Annotated[str | None, typer.Option("--pcpus", metavar="CPULIST", help="Only these pCPUs, such as 4-7,12.")] = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="ADDRESS:PORT|unix:PATH", help="Where the watch listens (its --listen), if not in its state directory."
        ),
    ] = None,
    config: opt.Config = None,
    as_json: opt.Json = False,
) -> None:
    """Show how pools, pCPUs and guests worked and waited in the last hour, and what others took of pCPUs that a guest has alone.

    `pinfold watch` and the agents of a service keep one sample each ten seconds in memory. Journal and metrics keep what is older.
    """
    from pinfold.cli.views.host_history import host_history_view
    from pinfold.core.cpuset import CpuSet
    from pinfold.core.encoding import plain
    from pinfold.core.errors import InvalidRequest
    from pinfold.core.history import selected
    from pinfold.watch import history as watched
    from pinfold.watch import listener

    if name is not None and source is not None:
        raise InvalidRequest("--from names a watch, and HOST a host of the service; give one of them", key="--from")
    chosen = None if pcpus is None else CpuSet.parse(pcpus)
    if name is None:
        address = listener.parse(source, option="--from") if source else None
        if address is None:
            address = watched.socket_path(read_configuration(config, None, only_looks=True, quiet=as_json, audits=True).settings)
        found = watched.ask(address, minutes * 60)
    else:
        from pinfold.cli.service import open_access, segment

        with open_access(config) as service:
            answer = service.ask("GET", f"/v1/hosts/{segment(name)}/history", query=[("minutes", str(minutes))])
        found = watched.read_plain(answer, f"the history of host {name}")
    found = selected(found, guest=guest, pcpus=chosen)
    if guest is not None and not found.guests:
        raise InvalidRequest(f"there are no samples of a guest {guest!r} in the last {minutes} min", key="--guest")
    if as_json:
        show_json(plain(found))
    else:
        screen = console()
        show(host_history_view(found, screen.width), screen)

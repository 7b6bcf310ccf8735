"""`pinfold host capacity`: how many more guests of each flavor fit, on this host or on all hosts of the service."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from pinfold.cli import completion
from pinfold.cli import options as opt
from pinfold.cli.exit_status import warn
from pinfold.cli.output import respond, show, show_json
from pinfold.cli.session import open_session, read_configuration
from pinfold.core.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pinfold.config import Configuration
    from pinfold.core.request.model import Flavor

Names = Annotated[
    list[str] | None,
    typer.Option("--flavor", metavar="NAME", help="Only this flavor; may be repeated.", autocompletion=completion.file_flavors),
]
File = Annotated[str | None, typer.Option("--flavors", metavar="FILE", help="The flavors file, in place of \\[pinfold] flavors_file.")]
Fleet = Annotated[bool, typer.Option("--fleet", help="Ask the service about all its hosts and flavors.")]


def capacity(
    context: typer.Context,
    flavor: Names = None,
    flavors: File = None,
    fleet: Fleet = False,
    config: opt.Config = None,
    connect: opt.Connect = None,
    as_json: opt.Json = False,
) -> None:
    """Show how many more guests of each flavor fit, and why free pCPUs are of no use to any of them.

    On this host with the flavors of the flavors file, or on the hosts of the service with its flavors. Each flavor is counted as if the
    host were filled with it alone.
    """
    if fleet:
        _fleet(flavor or (), config, as_json=as_json)
    else:
        _host(context, read_configuration(config, connect, only_looks=True, quiet=as_json), flavor or (), flavors, as_json=as_json)


def _host(context: typer.Context, configuration: Configuration, names: Sequence[str], file: str | None, *, as_json: bool) -> None:
    from pinfold.cli.views.capacity import capacity_view
    from pinfold.core.encoding import plain
    from pinfold.core.fit.capacity import capacity as capacity_of
    from pinfold.core.fit.capacity import demands_of
    from pinfold.core.fit.count import count_host
    from pinfold.host.survey import survey

    if file is None and not configuration.flavors_named and not os.path.isfile(configuration.flavors_file):
        raise InvalidRequest(
            f"there are no flavors to count: {configuration.flavors_file} does not exist; name a file with --flavors, or ask for one guest "
            "with `pinfold fit --vcpus N`",
            key="--flavors",
        )
    asked, refused = demands_of(chosen_flavors(file or configuration.flavors_file, names))
    with open_session(context, configuration) as session:
        seen = survey(session.driver, session.settings)
    left = plain(capacity_of(count_host(seen.state), asked))
    not_counted = plain(refused)
    if as_json:
        show_json({**left, "not_counted": not_counted, "warnings": list(seen.warnings)})
        return
    for warning in seen.warnings:
        warn(warning)
    show(capacity_view(left, not_counted))


def chosen_flavors(file: str, names: Sequence[str]) -> list[Flavor]:
    """The flavors of the file, or only those named. Raises `InvalidRequest`."""
    from pinfold.config.flavors import find_flavor, read_flavors

    return [find_flavor(file, name) for name in dict.fromkeys(names)] if names else list(read_flavors(file).values())


def _fleet(names: Sequence[str], config: list[str] | None, *, as_json: bool) -> None:
    from pinfold.cli.service import open_access
    from pinfold.cli.views.capacity import fleet_capacity_view

    with open_access(config) as service:
        pages = list(service.pages("/v1/capacity", "hosts", [("flavor", name) for name in names], marker="host"))
    answer = {**pages[-1], "hosts": [host for page in pages for host in page["hosts"]]}
    answer.pop("hosts_links", None)
    respond(answer, fleet_capacity_view(answer), as_json=as_json)

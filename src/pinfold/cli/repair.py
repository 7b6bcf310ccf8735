"""`pinfold repair`: pin drifted threads of our guests back to their record, and report what is left. It never touches other guests."""

from __future__ import annotations

from typing import Annotated

import typer

from pinfold.cli import completion
from pinfold.cli import options as opt
from pinfold.cli.exit_status import ExitStatus
from pinfold.cli.output import respond
from pinfold.cli.session import open_session, read_configuration
from pinfold.core.encoding import plain


def repair(
    context: typer.Context,
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME", help="One guest, by name or id; default: every running guest of ours.", autocompletion=completion.guests
        ),
    ] = None,
    config: opt.Config = None,
    connect: opt.Connect = None,
    as_json: opt.Json = False,
) -> None:
    """Pin every drifted thread of our guests back to where its record says.

    Guests that pinfold did not start are left alone, except at `processes:`: there they are moved off dedicated pCPUs. What remains is
    listed with the reason; `audit` has the commands for it. Exit status 1: something remains that is not as it should be, or the repair of
    a guest failed.
    """
    from pinfold.cli.views.audit import repair_view
    from pinfold.host import written
    from pinfold.host.repair import repair as repair_host

    configuration = read_configuration(config, connect, only_looks=False, quiet=as_json, audits=True)
    with open_session(context, configuration) as session:
        done = repair_host(session.driver, session.settings, name or "")
    respond(plain(written.repair(done)), repair_view(done), as_json=as_json)
    if not done.complete:
        raise typer.Exit(ExitStatus.REFUSED)

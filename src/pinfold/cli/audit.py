"""`pinfold audit`: compare recorded and observed placement of every guest and thread on this host. It changes nothing."""

from __future__ import annotations

import typer

from pinfold.cli import options as opt
from pinfold.cli.exit_status import ExitStatus
from pinfold.cli.output import respond
from pinfold.cli.session import open_session, read_configuration
from pinfold.core.encoding import plain


def audit(context: typer.Context, config: opt.Config = None, connect: opt.Connect = None, as_json: opt.Json = False) -> None:
    """Compare recorded and observed placement of every guest and thread; nothing is changed.

    Each difference comes with the exact command that repairs it. It also runs on a Nova compute node with its nova.conf: guests of Nova's
    are judged by their pins, their flavors and the pools. Exit status 1: something is not as it should be. Notes alone leave it 0.
    """
    from pinfold.cli.views.audit import audit_view
    from pinfold.host import written
    from pinfold.host.audit import audit as audit_host

    configuration = read_configuration(config, connect, only_looks=True, quiet=as_json, audits=True)
    with open_session(context, configuration) as session:
        found = audit_host(session.driver, session.settings)
    respond(plain(written.audit(found)), audit_view(found), as_json=as_json, warnings=found.seen.warnings)
    if found.drift:
        raise typer.Exit(ExitStatus.REFUSED)

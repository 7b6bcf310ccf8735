"""`pinfold doctor`: check what this host needs for placing guests, and report what is missing."""

from __future__ import annotations

from typing import Annotated

import typer

from pinfold.cli import options as opt
from pinfold.cli.exit_status import ExitStatus
from pinfold.cli.output import respond
from pinfold.cli.session import read_configuration
from pinfold.core.encoding import plain


def doctor(
    context: typer.Context,
    long: Annotated[bool, typer.Option("--long", help="Show the reason, the facts and the advice of every check.")] = False,
    config: opt.Config = None,
    connect: opt.Connect = None,
    as_json: opt.Json = False,
) -> None:
    """Check what this host needs for placing guests.

    Configuration, KVM, qemu-img, cgroups, the state directory, libvirt, the pools, what realtime guests and huge pages need, and what
    the kernel runs on dedicated pCPUs. What no flavor of the flavors file needs is shown with a dot and counts as no fault. Exit status 1:
    something is missing or looks wrong.
    """
    from pinfold.cli.checks import checkups
    from pinfold.cli.views.checks import doctor_view
    from pinfold.drivers.checkup import Health

    configuration = read_configuration(config, connect, only_looks=True, quiet=True, audits=True)
    found = checkups(context, configuration)
    respond({"checks": plain(found)}, doctor_view(found, long=long), as_json=as_json)
    if any(one.health in (Health.POOR, Health.BAD) for one in found):
        raise typer.Exit(ExitStatus.REFUSED)

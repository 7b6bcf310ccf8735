"""`pinfold guest adopt` and `release`: take a guest of somebody else's under management, and give it back."""

from __future__ import annotations

from typing import Annotated

import typer

from pinfold.cli import completion
from pinfold.cli import options as opt
from pinfold.cli.exit_status import ExitStatus, warn
from pinfold.cli.output import show, show_json
from pinfold.cli.session import applying, open_session, read_configuration
from pinfold.core.encoding import plain
from pinfold.core.request.model import EmulatorPolicy

Name = Annotated[str, typer.Argument(metavar="NAME", help="The guest's name or id.", autocompletion=completion.guests)]
Policy = Annotated[
    EmulatorPolicy | None,
    typer.Option("--emulator-threads", help="The emulator policy, in place of the one that Nova wrote or that its pins show."),
]


def adopt(
    context: typer.Context,
    name: Name,
    apply: Annotated[bool, typer.Option("--apply", help="Move the threads and write the record.")] = False,
    emulator_threads: Policy = None,
    config: opt.Config = None,
    connect: opt.Connect = None,
    as_json: opt.Json = False,
) -> None:
    """Show what it takes to manage a guest that virsh or Nova made; with --apply, do it, without a restart.

    Its pinned vCPUs keep their pCPUs. Its emulator threads move where their policy has them, and vCPUs without a pCPU of their own to the
    shared pool. Exit status 1: something conflicts, or it could not be adopted; nothing has changed.
    """
    from pinfold.cli.views.adopt import adopt_view
    from pinfold.host import adopt as host_adopt
    from pinfold.host import written

    configuration = read_configuration(config, connect, only_looks=not apply, quiet=as_json)
    with open_session(context, configuration) as session:
        driver, settings = session.driver, session.settings
        done = host_adopt.adopt(driver, settings, name, policy=emulator_threads) if apply else None
        plan = host_adopt.plan(driver, settings, name, policy=emulator_threads) if done is None else done.plan
    if as_json:
        show_json(plain(written.adoption(plan, done)))
    else:
        for warning in plan.seen.warnings:
            warn(warning)
        show(adopt_view(plan, done, applying(context)))
    if plan.found.record is None or (done is not None and done.failure):
        raise typer.Exit(ExitStatus.REFUSED)


def release(context: typer.Context, name: Name, config: opt.Config = None, connect: opt.Connect = None, as_json: opt.Json = False) -> None:
    """Remove pinfold's record from a guest, which goes on as it is pinned. From then on it counts as somebody else's."""
    from pinfold.host import written
    from pinfold.host.adopt import release as release_guest

    configuration = read_configuration(config, connect, only_looks=False, quiet=as_json)
    with open_session(context, configuration) as session:
        guest = release_guest(session.driver, session.settings, name)
    if as_json:
        show_json({"released": True, "guest": plain(written.guest(guest))})
    else:
        goes_on = "runs on where it is pinned" if guest.active else "keeps its definition and its pins"
        show([f"guest {guest.name} is released: it {goes_on}, and pinfold counts its pCPUs as somebody else's"])

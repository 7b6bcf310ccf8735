"""`pinfold host repin`: move running guests inside their host cells, so that retiring pCPUs become free or a larger guest fits."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from pinfold.cli import options as opt
from pinfold.cli.exit_status import ExitStatus, warn
from pinfold.cli.host_capacity import File, Names, chosen_flavors
from pinfold.cli.output import show, show_json
from pinfold.cli.session import open_session, read_configuration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pinfold.config import Configuration
    from pinfold.core.request.model import Flavor


def repin(
    context: typer.Context,
    apply: Annotated[bool, typer.Option("--apply", help="Move the threads and amend the records, step by step.")] = False,
    flavor: Names = None,
    flavors: File = None,
    config: opt.Config = None,
    connect: opt.Connect = None,
    as_json: opt.Json = False,
) -> None:
    """Show which pinned vCPUs to move inside their host cell, and what that gains; with --apply, move them.

    vCPUs, idle siblings and isolated emulators leave retiring pCPUs, and free siblings are joined where more guests of a flavor fit then.
    No guest leaves its host cell, because its memory stays there. If a step fails, all steps are undone. Exit status 1: a step has failed.
    """
    from pinfold.cli.views.repin import repin_view
    from pinfold.core.encoding import plain
    from pinfold.core.fit.capacity import demands_of
    from pinfold.host import repin as host_repin
    from pinfold.host import written

    configuration = read_configuration(config, connect, only_looks=not apply, quiet=as_json)
    asked, refused = demands_of(_flavors(configuration, flavor or (), flavors))
    with open_session(context, configuration) as session:
        done = host_repin.apply(session.driver, session.settings, asked) if apply else None
        plan = host_repin.plan(session.driver, session.settings, asked) if done is None else done.plan
    if as_json:
        show_json(plain(written.repin(plan, done)))
    else:
        for warning in (*plan.seen.warnings, *(f"flavor {one.flavor} is not counted: {one.why}" for one in refused)):
            warn(warning)
        show(repin_view(plan, done))
    if done is not None and done.failure:
        raise typer.Exit(ExitStatus.REFUSED)


def _flavors(configuration: Configuration, names: Sequence[str], file: str | None) -> Sequence[Flavor]:
    """The flavors whose guests the gain counts. None if nobody named any and the usual file is not there."""
    if not (names or file or configuration.flavors_named or os.path.isfile(configuration.flavors_file)):
        return ()
    return chosen_flavors(file or configuration.flavors_file, names)

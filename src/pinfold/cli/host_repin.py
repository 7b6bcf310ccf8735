"""`pinfold host repin`: move running guests inside their host cells, so that retiring pCPUs become free or a larger guest fits."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Annotated, Final

import typer

from pinfold.cli import completion
from pinfold.cli import options as opt
from pinfold.cli.exit_status import ExitStatus, warn
from pinfold.cli.host_capacity import File, Names, chosen_flavors
from pinfold.cli.output import show, show_json, waiting
from pinfold.cli.session import applying, open_session, read_configuration
from pinfold.core.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pinfold.cli.service import Service
    from pinfold.config import Configuration
    from pinfold.core.repin.written import WrittenProgress
    from pinfold.core.request.model import Flavor

ARRIVE_SECONDS: Final = 120.0
"""How long `--apply` waits until the guests of a host of the service have arrived."""
_LOOK_SECONDS: Final = 0.3

Name = Annotated[
    str | None,
    typer.Argument(metavar="HOST", help="A host of the service, by its name; without it, this host.", autocompletion=completion.hosts),
]


def repin(
    context: typer.Context,
    name: Name = None,
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

    On a host of a service its agent moves the guests, and the command waits for that; the service is asked there without a name, too.
    """
    if name is not None and connect is not None:
        raise InvalidRequest("--connect names a hypervisor, and HOST a host of the service; give one of them", key="--connect")
    if name is None:
        configuration = read_configuration(config, connect, only_looks=not apply, quiet=as_json)
        name = managed_as(configuration)
        if name is None:
            _here(context, configuration, apply=apply, names=flavor or (), file=flavors, as_json=as_json)
            return
    if flavors is not None:
        raise InvalidRequest(
            "--flavors names a file, and a service counts its own flavors; choose some of them with --flavor", key="--flavors"
        )
    _there(context, name, config, apply=apply, flavors=flavor or (), as_json=as_json)


def managed_as(configuration: Configuration) -> str | None:
    """The name under which a service manages this host, None if none does."""
    from pinfold.agent.owner import host_of
    from pinfold.host.lock import owner

    if not os.path.isdir(configuration.settings.state_dir):
        return None
    return host_of(owner(configuration.settings))


def _here(
    context: typer.Context, configuration: Configuration, *, apply: bool, names: Sequence[str], file: str | None, as_json: bool
) -> None:
    """Plan, and with `apply` move, on this host, which belongs to no service."""
    from pinfold.cli.views.repin import repin_view
    from pinfold.core.encoding import plain
    from pinfold.core.fit.capacity import demands_of
    from pinfold.host import repin as host_repin
    from pinfold.host import written

    asked, refused = demands_of(_flavors(configuration, names, file))
    with open_session(context, configuration) as session:
        done = host_repin.apply(session.driver, session.settings, asked) if apply else None
        plan = host_repin.plan(session.driver, session.settings, asked) if done is None else done.plan
    if as_json:
        show_json(plain(written.repin(plan, done)))
    else:
        for warning in (*plan.seen.warnings, *(f"flavor {one.flavor} is not counted: {one.why}" for one in refused)):
            warn(warning)
        show(repin_view(plan, done, applying(context, configuration)))
    if done is not None and done.failure:
        raise typer.Exit(ExitStatus.REFUSED)


def _there(context: typer.Context, name: str, config: list[str] | None, *, apply: bool, flavors: Sequence[str], as_json: bool) -> None:
    """Ask the service about that host; with `apply`, have its agent move the guests, and wait until they have arrived."""
    from msgspec.structs import replace

    from pinfold.cli.service import open_access, segment
    from pinfold.cli.views.host_repin import host_repin_view, progress_view, read_plan
    from pinfold.core.encoding import plain
    from pinfold.core.repin.progress import Phase

    path = f"/v1/hosts/{segment(name)}/repin"
    with open_access(config) as service:
        if apply:
            plan = read_plan(service.ask("POST", path, {"flavors": list(flavors)}), "plan")
            last = _last(service, path) if plan.steps else None
        else:
            plan, last = read_plan(service.ask("GET", path, query=[("flavor", one) for one in flavors]), "plan"), None
    if as_json:
        show_json(plain(plan if last is None else replace(plan, last=last)))
    else:
        for one in plan.not_counted:
            warn(f"flavor {one.flavor} is not counted: {one.why}")
        show([*host_repin_view(plan, applied=last is not None, applying=applying(context)), *(() if last is None else progress_view(last))])
    if last is not None and last.phase is not Phase.MOVED:
        raise typer.Exit(ExitStatus.REFUSED)


def _last(service: Service, path: str) -> WrittenProgress:
    """What has become of the plan, once it is over or `ARRIVE_SECONDS` have passed."""
    from pinfold.cli.views.host_repin import read_plan
    from pinfold.core.repin.progress import UNDER_WAY

    deadline = time.monotonic() + ARRIVE_SECONDS
    with waiting("waiting for the host's agent"):
        while True:
            last = read_plan(service.ask("GET", path), "plan").last
            assert last is not None
            if last.phase not in UNDER_WAY or time.monotonic() > deadline:
                return last
            time.sleep(_LOOK_SECONDS)


def _flavors(configuration: Configuration, names: Sequence[str], file: str | None) -> Sequence[Flavor]:
    """The flavors whose guests the gain counts. None if nobody named any and the usual file is not there."""
    if not (names or file or configuration.flavors_named or os.path.isfile(configuration.flavors_file)):
        return ()
    return chosen_flavors(file or configuration.flavors_file, names)

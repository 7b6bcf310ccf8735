"""`pinfold guest adopt` and `release`: take a guest of somebody else's under management, and give it back."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Final

import typer

from pinfold.cli import completion
from pinfold.cli import options as opt
from pinfold.cli.exit_status import ExitStatus
from pinfold.cli.host_repin import managed_as
from pinfold.cli.output import respond, show, show_json, waiting
from pinfold.cli.session import Session, applying, open_session, read_configuration
from pinfold.core.encoding import plain
from pinfold.core.errors import InvalidRequest, Unavailable
from pinfold.core.request.model import EmulatorPolicy

if TYPE_CHECKING:
    from pinfold.core.identity import GuestId
    from pinfold.drivers.port import HostGuest
    from pinfold.host.adopt import AdoptPlan, AppliedAdoption

AGENT_SECONDS: Final = 120.0
"""How long a command waits until the agent of this host has done what the service orders."""
_LOOK_SECONDS: Final = 0.3
_TASK: Final = "OS-EXT-STS:task_state"

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

    On a host of a service it becomes a server there: the host's agent takes it over, and the command waits for that.
    """
    from pinfold.cli.views.adopt import adopt_view
    from pinfold.host import adopt as host_adopt
    from pinfold.host import written

    configuration = read_configuration(config, connect, only_looks=not apply, quiet=as_json)
    managed = managed_as(configuration) if apply else None
    with open_session(context, configuration) as session:
        driver, settings = session.driver, session.settings
        if apply and managed is None:
            done = host_adopt.adopt(driver, settings, name, policy=emulator_threads)
            plan = done.plan
        else:
            plan, done = host_adopt.plan(driver, settings, name, policy=emulator_threads), None
        if managed is not None and plan.found.record is not None:
            done = _adopt_there(session, managed, plan, config)
    respond(
        plain(written.adoption(plan, done)),
        adopt_view(plan, done, applying(context, configuration)),
        as_json=as_json,
        warnings=plan.seen.warnings,
    )
    if plan.found.record is None or (done is not None and done.failure):
        raise typer.Exit(ExitStatus.REFUSED)


def release(context: typer.Context, name: Name, config: opt.Config = None, connect: opt.Connect = None, as_json: opt.Json = False) -> None:
    """Remove pinfold's record from a guest, which goes on as it is pinned. From then on it counts as somebody else's.

    On a host of a service, an adopted server is given back: the host's agent removes the record, and the server is gone.
    """
    from pinfold.host import written
    from pinfold.host.adopt import release as release_guest

    configuration = read_configuration(config, connect, only_looks=False, quiet=as_json)
    managed = managed_as(configuration)
    with open_session(context, configuration) as session:
        if managed is None:
            guest = release_guest(session.driver, session.settings, name)
        else:
            guest = _release_there(session, name, config)
    if as_json:
        show_json({"released": True, "guest": plain(written.guest(guest))})
    else:
        goes_on = "runs on where it is pinned" if guest.active else "keeps its definition and its pins"
        show([f"guest {guest.name} is released: it {goes_on}, and pinfold counts its pCPUs as somebody else's"])


def _adopt_there(session: Session, host: str, plan: AdoptPlan, config: list[str] | None) -> AppliedAdoption:
    """Have the service make a server of the guest, and wait until the host's agent has taken it over."""
    from pinfold.cli.service import open_access, segment
    from pinfold.core.adoption import NOT_ADOPTED, WantedAdoption
    from pinfold.drivers.port import GuestState
    from pinfold.host.adopt import AppliedAdoption
    from pinfold.host.survey import pick

    guest, record = plan.found.guest, plan.found.record
    assert record is not None
    assert record.request is not None
    wanted = WantedAdoption(
        guest=guest.id,
        name=guest.name,
        fit=record.fit,
        request=record.request,
        flavor=record.flavor,
        active=guest.active,
        paused=guest.state is GuestState.PAUSED,
    )
    failure = ""
    with open_access(config) as service:
        service.ask("POST", f"/v1/hosts/{segment(host)}/adoptions", plain(wanted))
        deadline = time.monotonic() + AGENT_SECONDS
        with waiting("waiting for the host's agent"):
            while (server := service.compute("GET", f"/servers/{guest.id}")["server"])[_TASK] == "adopting":
                if time.monotonic() > deadline:
                    raise Unavailable(
                        f"the agent of host {host} has not taken over guest {guest.name} within {AGENT_SECONDS:.0f} s; "
                        f"`pinfold server show {guest.id}` says when it has"
                    )
                time.sleep(_LOOK_SECONDS)
    if server["status"] == "ERROR":
        failure = server.get("fault", {}).get("message", "its server is in error").removeprefix(NOT_ADOPTED)
    return AppliedAdoption(plan=plan, guest=pick(session.driver.guests(), guest.id), failure=failure)


def _release_there(session: Session, name: str, config: list[str] | None) -> HostGuest:
    """Have the service give its server back, and wait until it has gone there. The guest as it is then."""
    from pinfold.cli.service import Service, open_access
    from pinfold.host.survey import pick
    from pinfold.host.verify import record_of

    def gone(service: Service, server: GuestId) -> bool:
        return all(one["id"] != server for one in service.servers())

    guest = pick(session.driver.guests(), name)
    record_of(guest)
    with open_access(config) as service:
        try:
            service.ask("POST", f"/v1/servers/{guest.id}/release", {})
        except InvalidRequest as error:
            raise InvalidRequest(f"guest {guest.name} is not released: {error}", key="guest") from error
        deadline = time.monotonic() + AGENT_SECONDS
        with waiting("waiting for the host's agent"):
            while not gone(service, guest.id):
                if time.monotonic() > deadline:
                    raise Unavailable(
                        f"this host's agent has not given back guest {guest.name} within {AGENT_SECONDS:.0f} s; "
                        f"`pinfold server show {guest.id}` fails once it has"
                    )
                time.sleep(_LOOK_SECONDS)
    return pick(session.driver.guests(), guest.id)

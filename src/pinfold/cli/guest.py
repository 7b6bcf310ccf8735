"""`pinfold guest`: start, list, show, restart, replace, stop, adopt and release guests directly on one libvirt, without a service.

`guest_console` reads what they print.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from pinfold.cli import completion
from pinfold.cli import options as opt
from pinfold.cli.exit_status import ExitStatus, warn
from pinfold.cli.guest_adopt import adopt, release
from pinfold.cli.guest_console import console_log
from pinfold.cli.guest_options import GuestOptions, takes_guest_options
from pinfold.cli.orphans import orphans
from pinfold.cli.output import respond, show, show_json
from pinfold.cli.session import Session, open_session, read_configuration
from pinfold.core.encoding import plain
from pinfold.core.errors import Conflict, InvalidRequest

if TYPE_CHECKING:
    from pinfold.core.topology import Topology
    from pinfold.host.start import StartResult
    from pinfold.host.survey import Survey
    from pinfold.host.verify import Verdict

app = typer.Typer(
    help="Start, list, show, read the console of, restart, replace, stop, adopt and release guests on this host.", no_args_is_help=True
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The guest's name or id.", autocompletion=completion.guests)]
NewName = Annotated[str, typer.Argument(metavar="NAME", help="A name for the guest: letters, digits, '.', '_' and '-'.")]
Remove = Annotated[bool, typer.Option("--remove/--keep", help="Forget the guest and its disk, or keep both, and its pCPUs, for a restart.")]
Graceful = Annotated[
    float,
    typer.Option("--graceful", metavar="SECONDS", min=0, help="Ask the guest to shut down first, and wait so long."),
]


@app.command()
@takes_guest_options
def start(
    context: typer.Context,
    name: NewName,
    guest: GuestOptions = GuestOptions(),
    config: opt.Config = None,
    connect: opt.Connect = None,
    as_json: opt.Json = False,
) -> None:
    """Place a guest, start it, and show where each of its threads runs.

    The guest starts paused, and runs only after every thread was checked. If a thread is elsewhere, the guest is removed completely. Exit
    status 1: it does not fit, or could not be placed.
    """
    from pinfold.cli.guest_description import describe_guest, refuse_without_boot
    from pinfold.core.fit.answer import NoFit
    from pinfold.host.start import place

    configuration = read_configuration(config, connect, only_looks=False, quiet=as_json)
    wanted = describe_guest(configuration, guest, name)
    refuse_without_boot(wanted)
    with open_session(context, configuration) as session:
        outcome = place(session.driver, session.settings, wanted)
    if isinstance(outcome, NoFit):
        from pinfold.cli.views.fit import refusal_view
        from pinfold.core.fit.written import answer_of

        if as_json:
            show_json(plain(answer_of(outcome, configuration.settings.host, not_acted_upon=wanted.request.not_acted_upon)))
        else:
            show(refusal_view(outcome, configuration.settings.host))
        raise typer.Exit(ExitStatus.REFUSED)
    _show_started(outcome, as_json=as_json)


@app.command("list")
def list_(context: typer.Context, config: opt.Config = None, connect: opt.Connect = None, as_json: opt.Json = False) -> None:
    """List the guests of this host, pinfold's and others."""
    from pinfold.cli.views.guests import guests_view
    from pinfold.host import written
    from pinfold.host.verify import verdicts

    configuration = read_configuration(config, connect, only_looks=True, quiet=as_json, audits=True)
    with open_session(context, configuration) as session:
        seen = _survey(session)
        guests = session.driver.guests() if seen is None else seen.guests
        found = () if seen is None else verdicts(session.driver, session.settings, seen)
    if as_json:
        drifted = [verdict.guest.id for verdict in found if verdict.drift]
        show_json({"guests": [plain(written.guest(guest)) for guest in guests], "drifted": drifted})
    else:
        show(guests_view(guests, seen, found))


@app.command("show")
def show_(context: typer.Context, name: Name, config: opt.Config = None, connect: opt.Connect = None, as_json: opt.Json = False) -> None:
    """Show one guest with the proof: every thread, where it may run, and where it should.

    Guests of ours are compared with their record, Nova's guests as `pinfold audit` does it. Exit status 1: a thread, or the definition, is
    not as it should be.
    """
    from pinfold.cli.views.proof import guest_view
    from pinfold.host import written

    configuration = read_configuration(config, connect, only_looks=True, quiet=as_json, audits=True)
    with open_session(context, configuration) as session:
        judged, topology = _judged(session, name)
    if as_json:
        show_json(plain(written.proof(judged)))
    else:
        show(guest_view(judged.guest, judged.masks, judged.observation, judged.findings, topology))
    if judged.drift:
        raise typer.Exit(ExitStatus.REFUSED)


@app.command()
def restart(context: typer.Context, name: Name, config: opt.Config = None, connect: opt.Connect = None, as_json: opt.Json = False) -> None:
    """Start a stopped guest of ours again, in the same place."""
    from pinfold.host.start import restart as restart_guest

    configuration = read_configuration(config, connect, only_looks=False, quiet=as_json)
    with open_session(context, configuration) as session:
        outcome = restart_guest(session.driver, session.settings, name)
    _show_started(outcome, as_json=as_json)


@app.command()
def replace(
    context: typer.Context,
    name: Name,
    flavor: Annotated[
        str | None, typer.Option("--flavor", metavar="NAME", help="The guest's flavor, if its record does not hold its request.")
    ] = None,
    config: opt.Config = None,
    connect: opt.Connect = None,
    as_json: opt.Json = False,
) -> None:
    """Give a stopped guest of ours a place in today's pools. Its id and its disk stay, and it stays stopped.

    A place that still holds is kept, and the definition is rewritten from the record. Exit status 1: the guest does not fit now; every
    reason is shown, and nothing has changed.
    """
    from pinfold.cli.views.fit import refusal_view
    from pinfold.cli.views.guests import replaced_view
    from pinfold.config.flavors import find_flavor
    from pinfold.core.fit.answer import NoFit
    from pinfold.core.fit.written import refusal, written_refusal
    from pinfold.host import written
    from pinfold.host.replace import replace as replace_guest

    configuration = read_configuration(config, connect, only_looks=False, quiet=as_json)
    wanted = None if flavor is None else find_flavor(configuration.flavors_file, flavor)
    with open_session(context, configuration) as session:
        outcome = replace_guest(session.driver, session.settings, name, flavor=wanted)
    if isinstance(outcome, NoFit):
        if as_json:
            show_json(plain(written_refusal(refusal(outcome, configuration.settings.host))))
        else:
            show(refusal_view(outcome, configuration.settings.host))
        raise typer.Exit(ExitStatus.REFUSED)
    respond(plain(written.replacement(outcome)), replaced_view(outcome), as_json=as_json, warnings=outcome.warnings)


@app.command()
def stop(
    context: typer.Context,
    name: Name,
    remove: Remove = False,
    graceful: Graceful = 0.0,
    config: opt.Config = None,
    connect: opt.Connect = None,
    as_json: opt.Json = False,
) -> None:
    """Stop a guest of ours. It keeps its pCPUs and its disk, unless --remove is given."""
    from pinfold.host import written
    from pinfold.host.stop import stop as stop_guest

    configuration = read_configuration(config, connect, only_looks=False, quiet=as_json)
    with open_session(context, configuration) as session:
        outcome = stop_guest(session.driver, session.settings, name, remove=remove, graceful_seconds=graceful)
    if as_json:
        show_json({"stopped": True, "removed": outcome.removed, "guest": plain(written.guest(outcome.guest))})
    else:
        kept = "and is gone" if outcome.removed else "and keeps its pCPUs; `pinfold guest restart` starts it again"
        show([f"guest {outcome.guest.name} no longer runs {kept}"])


app.command("console-log")(console_log)
app.command("adopt")(adopt)
app.command("release")(release)
app.command("orphans")(orphans)


def _survey(session: Session) -> Survey | None:
    """The survey of the host; None if the configured pools do not fit it, because a list of guests does not depend on them."""
    from pinfold.host.survey import survey

    try:
        return survey(session.driver, session.settings)
    except InvalidRequest:
        return None


def _judged(session: Session, name: str) -> tuple[Verdict, Topology]:
    """The guest with that name or id and the host's topology. A guest of ours is judged by its record, any other as in an audit of the
    host.
    """
    from pinfold.host.audit import audit
    from pinfold.host.survey import pick
    from pinfold.host.verify import verify

    guest = pick(session.driver.guests(), name)
    if guest.record is not None:
        topology = session.driver.topology()
        return verify(session.driver, session.settings, guest, online=topology.online), topology
    found = audit(session.driver, session.settings)
    for judged in found.guests:
        if judged.guest.id == guest.id:
            return judged, found.seen.state.topology
    raise Conflict(f"guest {guest.name} went away while it was looked at")


def _show_started(started: StartResult, *, as_json: bool) -> None:
    from pinfold.cli.views.proof import guest_view
    from pinfold.host import written

    if as_json:
        seconds = {step: round(took, 4) for step, took in started.timings}
        show_json({**plain(written.proof(started.verdict)), "warnings": list(started.warnings), "seconds": seconds})
        return
    for warning in started.warnings:
        warn(warning)
    show(guest_view(started.guest, started.masks, started.observation, started.findings))
    show([f"running after {sum(took for _, took in started.timings):.2f} s"])

"""`pinfold guest console-log`: the end of what a guest of this host printed on its serial console."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from pinfold.cli import completion
from pinfold.cli import options as opt
from pinfold.cli.output import show, show_json
from pinfold.cli.session import open_session, read_configuration
from pinfold.core.guest_questions import MOST_LINES

_MOST_BYTES = 16 << 20


def console_log(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The guest's name or id.", autocompletion=completion.guests)],
    lines: Annotated[
        int | None,
        typer.Option("--lines", metavar="N", min=1, max=MOST_LINES, help="Only the last N lines; all that is kept, if not given."),
    ] = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="Write the bytes as the guest printed them. Without it, control characters are shown as escapes.")
    ] = False,
    config: opt.Config = None,
    connect: opt.Connect = None,
    as_json: opt.Json = False,
) -> None:
    """Show what a guest printed on its serial console. The log survives restarts, and goes with the guest."""
    from pinfold.host import serial
    from pinfold.host.survey import pick

    configuration = read_configuration(config, connect, only_looks=True, quiet=raw or as_json)
    with open_session(context, configuration) as session:
        guest = pick(session.driver.guests(), name)
        found = serial.tail(session.settings, guest.id, most_bytes=_MOST_BYTES, lines=lines or 0)
    text = found.decode("utf-8", "replace")
    if as_json:
        show_json({"guest": guest.id, "output": text})
    elif raw:
        sys.stdout.buffer.write(found)
        sys.stdout.flush()
    else:
        show(text.replace("\r\n", "\n").rstrip("\n").split("\n"))

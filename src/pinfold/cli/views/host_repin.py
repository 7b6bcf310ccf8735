"""The screen of `host repin` for a host of the service: the plan, its gain, and what became of the last one that was carried out."""

from __future__ import annotations

from rich.console import RenderableType
from rich.text import Text

from pinfold.cli.views.columns import Columns
from pinfold.cli.views.repin import move_rows
from pinfold.core.encoding import reader
from pinfold.core.plural import count, pcpus
from pinfold.core.printable import shown
from pinfold.core.repin.progress import UNDER_WAY, Phase
from pinfold.core.repin.written import HostRepin, WrittenProgress

read_plan = reader(HostRepin)
"""Reads what the service answers."""


def host_repin_view(plan: HostRepin, *, applied: bool, applying: str) -> list[RenderableType]:
    """Every move in a table, the gain in sentences, the guests that keep retiring pCPUs; and unless it was `applied`, the command
    `applying`, after an earlier plan whose guests are on their way. Pure.
    """
    lines: list[RenderableType] = []
    if not applied and plan.last is not None and plan.last.phase in UNDER_WAY:
        lines += [*progress_view(plan.last), Text()]
    if plan.steps:
        lines += [_table(plan), Text(), *(Text(f"• {sentence}") for sentence in plan.gain)]
    lines += [Text(f"• guest {shown(stay.name)} keeps {pcpus(str(stay.pcpus))}: {shown(stay.why)}", style="yellow") for stay in plan.stays]
    if not plan.steps:
        return [*lines, Text(plan.no_move)]
    if applied:
        return lines
    guests = count(len(plan.steps), "guest")
    return [*lines, Text(f"{guests} to move; `{applying}` moves them, without a restart", style="yellow", no_wrap=True)]


def progress_view(last: WrittenProgress) -> list[RenderableType]:
    """What has become of a plan that was carried out. Pure."""
    guests = count(len(last.guests), "guest")
    failure = [Text(f"✗ {shown(last.failure)}", style="bold red")] if last.failure else []
    if last.phase is Phase.MOVED:
        return [Text.assemble(("✓ ", "bold green"), f"{guests} moved")]
    if last.phase is Phase.UNDONE:
        return [*failure, Text("every guest is where it was")]
    way = "back to where they were" if last.phase is Phase.TURNING_BACK else "to their new places"
    lines: list[RenderableType] = [*failure, Text(f"{guests} on the way {way}:")]
    for guest in last.guests:
        state = "is there" if guest.arrived else f"is on its way{': ' + shown(guest.why) if guest.why else ''}"
        lines.append(Text(f"• guest {shown(guest.name)} {state}"))
    return lines


def _table(plan: HostRepin) -> Columns:
    table = Columns("step", "guest", "what", "from", "to", whole=("step", "from", "to"), right=("step",))
    for number, step in enumerate(plan.steps, 1):
        move_rows(table, number, Text(shown(step.name)), step.moves)
    return table

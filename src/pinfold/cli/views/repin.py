"""The screen of `host repin`: the moves in their order, what they gain, and what keeps its retiring pCPUs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from rich.console import RenderableType
from rich.text import Text

from pinfold.cli.views.columns import Columns
from pinfold.cli.views.phrases import guest_cell
from pinfold.core.ledger import Role
from pinfold.core.plural import count, pcpus
from pinfold.core.repin.gain import gain, no_move
from pinfold.core.repin.plan import PcpuMove
from pinfold.host.repin import AppliedRepin, RepinPlan, Stay

_NAMED: Final = 3
"""More strangers than this are counted, not named."""


def repin_view(plan: RepinPlan, done: AppliedRepin | None, applying: str) -> list[RenderableType]:
    """Every move in a table, the gain in sentences, the guests that keep retiring pCPUs, then what happened, or `applying`, the command
    that carries it out. Pure.
    """
    lines: list[RenderableType] = []
    if plan.found.steps:
        lines += [_table(plan), Text(), *(Text(f"• {sentence}") for sentence in gain(plan.found))]
    lines += [Text(_kept(stay), style="yellow") for stay in plan.stays]
    return [*lines, *_strangers(plan), *_outcome(plan, done, applying)]


def _strangers(plan: RepinPlan) -> list[Text]:
    """The running guests that no plan moves, because they are not pinfold's."""
    names = sorted(guest.name for guest in plan.seen.guests if guest.active and guest.record is None)
    if not names:
        return []
    some = ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")
    who = f"guest {some} is" if len(names) == 1 else f"{len(names)} guests ({some}) are"
    return [Text(f"• {who} not pinfold's, and no move is looked for there; `pinfold guest adopt NAME` takes a guest over", style="yellow")]


def _table(plan: RepinPlan) -> Columns:
    guests = {guest.id: guest for guest in plan.seen.guests}
    table = Columns("step", "guest", "what", "from", "to", whole=("step", "from", "to"), right=("step",))
    for number, step in enumerate(plan.found.steps, 1):
        move_rows(table, number, guest_cell(guests[step.guest]), step.moves)
    return table


def move_rows(table: Columns, number: int, guest: RenderableType, moves: Iterable[PcpuMove]) -> None:
    """Add the rows of one step: its number and its guest in the first one, and each of its moves."""
    first: tuple[RenderableType, RenderableType] = (str(number), guest)
    for move in moves:
        table.add_row(*first, _what(move), str(move.before), str(move.after))
        first = ("", Text())


def _what(move: PcpuMove) -> str:
    if move.role is Role.VCPU:
        return f"vCPU {move.vcpu}"
    return "isolated emulator" if move.role is Role.EMULATOR else "idle siblings"


def _kept(stay: Stay) -> str:
    return f"• guest {stay.guest.name} keeps {pcpus(str(stay.pcpus))}: {stay.why}"


def _outcome(plan: RepinPlan, done: AppliedRepin | None, applying: str) -> list[Text]:
    steps = plan.found.steps
    if not steps:
        return [Text(no_move(plan.found))]
    guests = count(len({step.guest for step in steps}), "guest")
    if done is None:
        return [Text(f"{guests} to move; `{applying}` moves them, without a restart", style="yellow", no_wrap=True)]
    if not done.failure:
        return [Text.assemble(("✓ ", "bold green"), f"{guests} moved")]
    lines = [Text(f"✗ {done.failure}", style="bold red")]
    names = {str(guest.id): guest.name for guest in plan.seen.guests}
    lines += [Text(f"✗ guest {names[key]} could not be moved back: {why}", style="bold red") for key, why in done.not_undone.items()]
    return [*lines, Text("every other guest is where it was" if done.not_undone else "every guest is where it was")]

"""The screen of `guest adopt`: the place that a guest has, which threads move for it, and what conflicts."""

from __future__ import annotations

from rich.console import RenderableType
from rich.text import Text

from pinfold.cli.views.columns import Columns
from pinfold.cli.views.guests import place_words
from pinfold.cli.views.phrases import policy_words
from pinfold.cli.views.pool_change import move_words
from pinfold.core.printable import shell_word
from pinfold.host.adopt import AdoptPlan, AppliedAdoption


def adopt_view(plan: AdoptPlan, done: AppliedAdoption | None, applying: str) -> list[RenderableType]:
    """Its place by its pins and by the emulator policy, the moves, the conflicts, then what happened, or `applying`, the
    command that adopts it. Pure.
    """
    found = plan.found
    name = found.guest.name
    lines: list[RenderableType] = []
    if found.record is not None:
        place = f": {place_words(found.record.fit)}; emulator policy {policy_words(found.record.policy)}"
        lines.append(Text.assemble((name, "bold"), place))
    if plan.moves:
        table = Columns("threads", "", "from", "to", whole=("from", "to"), right=("",))
        for move in plan.moves:
            table.add_row(move_words(move), str(move.count), str(move.before), str(move.after))
        lines += [Text(), table, Text()]
    elif found.record is not None:
        what = "no thread moves" if found.guest.active else "it does not run; its definition gets these pins"
        lines.append(Text(what))
    lines += [Text(f"✗ {conflict}", style="bold red") for conflict in found.conflicts]
    lines += [Text(f"• {note}", style="yellow") for note in found.notes]
    return [*lines, _outcome(plan, done, applying)]


def _outcome(plan: AdoptPlan, done: AppliedAdoption | None, applying: str) -> Text:
    name = plan.found.guest.name
    if plan.found.record is None:
        return Text(f"guest {name} cannot be adopted as it is; nothing was changed")
    if done is None:
        return Text(f"`{applying}` adopts it, without a restart", style="yellow", no_wrap=True)
    if done.failure:
        return Text(f"✗ guest {name} was not adopted: {done.failure}", style="bold red")
    return Text.assemble(("✓ ", "bold green"), f"guest {name} is adopted; `pinfold guest release {shell_word(name)}` gives it back")

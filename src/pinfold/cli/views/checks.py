"""The screens of `config check` and `doctor`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.cells import cell_len
from rich.console import RenderableType
from rich.table import Column, Table
from rich.text import Text

from pinfold.cli.checks import CheckResult
from pinfold.cli.views.columns import Columns
from pinfold.core.host import Locality
from pinfold.core.printable import shown
from pinfold.drivers.checkup import Checkup, Health

_GAP: Final = 2
_LOCALITY: Final = {
    Locality.POOL: "overhead threads of policy share run on the whole overhead pool",
    Locality.PREFER_LOCAL: "overhead threads of policy share run on the part of the overhead pool on the guest's cells, if it has room",
}


def check_view(found: CheckResult) -> list[RenderableType]:
    """The files, the errors, the warnings, and the pools that they define on this host. Pure."""
    lines: list[RenderableType] = [Text(f"read {', '.join(found.files)}" if found.files else "no file: every option has its default")]
    lines += [Text.assemble(("✗ ", "bold red"), error) for error in found.errors]
    lines += [Text.assemble(("○ ", "bold yellow"), warning) for warning in found.warnings]
    table = Columns("", "", titled=False)
    for name, cpus in found.pools.items():
        table.add_row(f"  {name}", cpus or "none")
    if found.locality is not None:
        table.add_row("  locality", f"{found.locality.value}: {_LOCALITY[found.locality]}")
    for name, sentence in found.networks.items():
        table.add_row(f"  network {name}", sentence)
    lines += [table] if found.pools or found.networks or found.locality is not None else []
    if not found.warnings and not found.errors:
        lines.append(Text.assemble(("✓ ", "bold green"), "nothing found"))
    return [*lines, Text(found.host, style="dim")]


def doctor_view(found: Sequence[Checkup], *, long: bool = False) -> list[RenderableType]:
    """One line for each prerequisite, with its repair below it on one line so that it can be copied. Pure.

    Below those that are missing, and with `long` below all, stand the reason for the check, the facts behind the answer, and what to do.
    """
    signs = {
        Health.GOOD: ("✓", "bold green"),
        Health.UNUSED: ("·", "dim"),
        Health.POOR: ("○", "bold yellow"),
        Health.BAD: ("✗", "bold red"),
    }
    width = max((cell_len(shown(one.what)) for one in found), default=0)
    lines: list[RenderableType] = []
    for one in found:
        row = Table.grid(Column(width=1), Column(width=width, overflow="fold"), Column(overflow="fold"), padding=(0, _GAP, 0, 0))
        row.add_row(Text(*signs[one.health]), Text(one.what, style="bold"), one.words)
        if long or one.health in (Health.POOR, Health.BAD):
            for label, text in _details(one):
                row.add_row("", "", Text.assemble((f"{label}: ", "dim"), text))
        lines.append(row)
        if one.repair:
            lines.append(Text.assemble(" " * (width + 1 + 2 * _GAP), ("repair: ", "dim"), (one.repair, "bold"), no_wrap=True))
    return lines


def _details(one: Checkup) -> list[tuple[str, str]]:
    facts = [("seen", f"{fact.source}: {fact.value}") for fact in one.seen]
    return [("why", one.why), *facts, *([("do", one.advice)] if one.advice else [])]

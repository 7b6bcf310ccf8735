"""The screen of `pinfold top`: a line for each pool, then a line for each guest."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

from msgspec import Struct
from msgspec.structs import replace
from rich.console import Console, ConsoleOptions, RenderableType
from rich.table import Table
from rich.text import Text

from pinfold.cli.screen import printable
from pinfold.core.plural import count
from pinfold.core.printable import shortened, shown
from pinfold.watch.top import Order, Top, TopGuest, TopPool, ordered

KEYS: Final = {"d": Order.DELAY, "o": Order.OVERHEAD, "v": Order.VCPU, "w": Order.WAIT, "t": Order.OTHERS, "n": Order.NAME}
"""The keys that sort a live screen."""

_TITLES: Final = {
    Order.DELAY: "overhead delay",
    Order.OVERHEAD: "overhead CPU",
    Order.VCPU: "vCPU CPU",
    Order.WAIT: "vCPU delay",
    Order.OTHERS: "what others took",
    Order.NAME: "name",
}
_BAR: Final = 10
_GAP: Final = 2
_NARROWEST: Final = 10
_LONGEST_CPUS: Final = 20
_HIGH, _FULL = 0.7, 0.9
_STARVES_MILLICPU: Final = 50
"""From this delay on a number is marked: threads wait a twentieth of the time."""


def top_view(
    found: Top, order: Order, width: int, *, rows: int | None = None, live: bool = False, problem: str = ""
) -> list[RenderableType]:
    """The screen, `width` columns wide; with `rows`, at most so many lines. Pure."""
    head = Text.assemble((found.host or "this host", "bold"), f": {found.seconds:.1f} s, in CPUs; guests by {_TITLES[order]}")
    lines: list[RenderableType] = [Cut(head)]
    if problem:
        lines.append(Cut(Text(problem, style="bold red")))
    pools = _pools(found.pools, width) if found.pools else Cut(Text("no pools are configured", style="dim"))
    foot: list[RenderableType] = []
    if found.unread:
        names = f"{count(len(found.unread), 'guest')} cannot be read: {', '.join(found.unread)}"
        foot.append(Cut(Text(names, style="yellow")))
    if live:
        keys = "  ".join(f"{key} {by.value}" for key, by in KEYS.items())
        foot.append(Cut(Text(f"sort: {keys}  q quit", style="dim")))
    guests = ordered(found.guests, order)
    room = len(guests)
    if rows is not None:
        room = max(1, rows - len(lines) - len(found.pools) - len(foot) - 2)
        room -= len(guests) > room > 1
    lines += [pools, _guests(guests[:room], order, width)]
    if len(guests) > room:
        lines.append(Cut(Text(count(len(guests) - room, "more guest"), style="dim")))
    return lines + foot


class Cut:
    """A text on one line, cut where the screen ends."""

    def __init__(self, text: Text) -> None:
        self._text = text

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterable[RenderableType]:
        line = printable(self._text)
        line.truncate(options.max_width, overflow="ellipsis")
        yield line


class _Column(Struct, frozen=True):
    """A column: its title, and its cells. The first column gets the width that the others leave."""

    title: str
    cells: tuple[str | Text, ...]
    right: bool = True
    style: str = ""


def _table(columns: list[_Column], width: int) -> Table:
    """A table without folding, as wide as the screen at most: the first column is cut, and the last ones are left out."""
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, _GAP, 0, 0))
    widths = [max(len(column.title), *(len(str(cell)) for cell in column.cells), 1) for column in columns]
    while len(columns) > 1 and sum(widths[1:]) + _GAP * (len(columns) - 1) + min(widths[0], _NARROWEST) > width:
        columns, widths = columns[:-1], widths[:-1]
    widths[0] = min(max(map(len, map(shown, map(str, columns[0].cells))), default=0), width - sum(widths[1:]) - _GAP * (len(columns) - 1))
    widths[0] = max(widths[0], len(columns[0].title))
    for column, room in zip(columns, widths, strict=True):
        justify: Literal["left", "right"] = "right" if column.right else "left"
        table.add_column(Text(column.title, style=column.style), justify=justify, no_wrap=True, overflow="ellipsis", width=room)
    for row in zip(*(column.cells for column in columns), strict=True):
        table.add_row(*row)
    return table


def _pools(pools: tuple[TopPool, ...], width: int) -> Table:
    shares = [None if pool.used_millicpu is None or not pool.cpus else pool.used_millicpu / (1000 * len(pool.cpus)) for pool in pools]
    columns = [
        _Column("pool", tuple(pool.pool for pool in pools), right=False),
        _Column("used", tuple(f"{_cpus(pool.used_millicpu)} of {len(pool.cpus)}" for pool in pools)),
        _Column("", tuple(Text(_bar(share), style=_style(share)) for share in shares), right=False),
        _Column("waits", tuple(_delay(pool.wait_millicpu) for pool in pools)),
        _Column("booked", tuple(f"{_cpus(pool.booked_millicpu)} of {_cpus(pool.capacity_millicpu)}" for pool in pools)),
        _Column("guests", tuple(str(pool.guests) for pool in pools)),
        _Column("pCPUs", tuple(shortened(str(pool.cpus) or "none", _LONGEST_CPUS) for pool in pools), right=False),
    ]
    return _table(columns, width)


def _guests(guests: tuple[TopGuest, ...], order: Order, width: int) -> Table:
    if not guests:
        return _table([_Column("guest", (Text("no guest runs", style="dim"),), right=False)], width)
    drift = tuple(Text(str(guest.drift), style="bold red") if guest.drift else "-" for guest in guests)
    columns = [
        (Order.NAME, _Column("guest", tuple(guest.name for guest in guests), right=False)),
        (Order.OVERHEAD, _Column("overhead", tuple(_cpus(guest.overhead_millicpu) for guest in guests))),
        (Order.DELAY, _Column("delay", tuple(_delay(guest.overhead_wait_millicpu) for guest in guests))),
        (Order.VCPU, _Column("vCPUs", tuple(f"{_cpus(guest.vcpu_millicpu)} of {guest.vcpus}" for guest in guests))),
        (Order.WAIT, _Column("delay", tuple(_delay(guest.vcpu_wait_millicpu) for guest in guests))),
        (Order.OTHERS, _Column("taken", tuple(_delay(guest.others_millicpu) for guest in guests))),
        (None, _Column("drift", drift)),
        (None, _Column("policy", tuple(guest.policy or guest.origin for guest in guests), right=False)),
    ]
    return _table([replace(column, style="bold underline" if by is order else "") for by, column in columns], width)


def _style(share: float | None) -> str:
    return "" if share is None else "bold red" if share >= _FULL else "yellow" if share >= _HIGH else "green"


def _bar(share: float | None) -> str:
    full = 0 if share is None else min(_BAR, round(share * _BAR))
    return "█" * full + "·" * (_BAR - full) + ("     " if share is None else f" {100 * share:3.0f} %")


def _cpus(millicpu: int | None) -> str:
    return "-" if millicpu is None else f"{millicpu / 1000:.2f}"


def _delay(millicpu: int | None) -> Text:
    return Text(_cpus(millicpu), style="bold magenta" if millicpu is not None and millicpu >= _STARVES_MILLICPU else "")

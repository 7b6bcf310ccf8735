"""The last hour of a host on a screen: a row of bars for each pool, guest and pCPU, time from left to right."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from pinfold.core.history import HostHistory, mean
from pinfold.core.plural import count
from pinfold.core.printable import shown

BARS: Final = "▁▂▃▄▅▆▇█"
UNKNOWN: Final = "·"
_STYLES: Final = {"work": "green", "waits": "magenta", "others": "yellow"}
_LEAST_SCALE: Final = {"work": 100, "waits": 20, "others": 20}
"""Millicpu of a full bar at the least, so that next to nothing does not look like much."""
_WORTH_A_LINE: Final = 5
"""Waiting and what others took have a line from this mean over one column on, in millicpu."""
_FEWEST, _MOST = 12, 90
_KIND, _NUMBER = 6, 5
_BESIDE: Final = _KIND + 2 * _NUMBER + 4 * 2
"""The width of the columns beside name and bars, with the gaps."""
_LONGEST_NAME: Final = 24


def host_history_view(history: HostHistory, width: int) -> Iterator[RenderableType]:
    """The screen, `width` columns wide. Pure."""
    if not history.ends:
        yield Text.assemble((history.host or "this host", "bold"), ": no samples yet; the first one is there after two sweeps")
        return
    names = [f"pool {pool.pool}" for pool in history.pools]
    names += [f"{shown(guest.name)} {guest.thread_class.value}" for guest in history.guests] + ["pCPU 8191"] * bool(history.pcpus)
    label = min(_LONGEST_NAME, max(width - _BESIDE - _FEWEST, 1), max(map(len, names), default=0))
    columns = _columns(history, max(_FEWEST, min(_MOST, width - label - _BESIDE)))
    yield _head(history, columns)
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("", overflow="fold", width=label)
    table.add_column("", overflow="fold", width=_KIND)
    table.add_column(_clock(history, columns), overflow="fold", width=len(columns))
    table.add_column("mean", overflow="fold", justify="right", width=_NUMBER)
    table.add_column("most", overflow="fold", justify="right", width=_NUMBER)
    for pool in history.pools:
        _add(table, columns, f"pool {pool.pool}", work=pool.work_millicpu, waits=pool.wait_millicpu)
    for guest in history.guests:
        name = f"{guest.name} {guest.thread_class.value}"
        _add(table, columns, name, work=guest.work_millicpu, waits=guest.wait_millicpu, others=guest.others_millicpu)
    for pcpu in history.pcpus:
        _add(table, columns, f"pCPU {pcpu.pcpu}", work=pcpu.work_millicpu, waits=pcpu.wait_millicpu, others=pcpu.others_millicpu)
    yield table
    yield Text(f"in CPUs; a full bar is the most of its row; {UNKNOWN} not measured", style="dim")
    if any(pcpu.others_millicpu for pcpu in history.pcpus) or any(guest.others_millicpu for guest in history.guests):
        yield Text("others: what anyone but the owner ran on pCPUs that a guest has alone", style="dim")
    if history.left_out:
        yield Text(f"{count(history.left_out, 'guest')} left out: there is no more room for samples", style="yellow")


class _Column:
    """One column of the screen: the samples in it, and how long they are."""

    def __init__(self, places: Sequence[int], history: HostHistory) -> None:
        self._places = places
        self._seconds = [history.seconds[place] for place in places]

    def mean(self, amounts: Sequence[int | None]) -> int | None:
        """The mean of the samples in this column, None if none is there."""
        return mean([amounts[place] for place in self._places], self._seconds)


def _columns(history: HostHistory, most: int) -> list[_Column]:
    """Equal parts of the time from the first sample to the last one, at most `most`. A part without a sample has none."""
    step = history.step_seconds
    begin, end = history.ends[0] - min(history.seconds[0], step), history.ends[-1]
    number = max(1, min(most, math.ceil((end - begin) / step - 0.5)))
    found: list[list[int]] = [[] for _ in range(number)]
    for place, (ended, seconds) in enumerate(zip(history.ends, history.seconds, strict=True)):
        middle = ended - min(seconds, step) / 2
        found[max(0, min(number - 1, int((middle - begin) / max(end - begin, 1e-9) * number)))].append(place)
    return [_Column(places, history) for places in found]


def _head(history: HostHistory, columns: Sequence[_Column]) -> Text:
    begin, end = _begin(history), history.ends[-1]
    seconds = round((end - begin) / len(columns))
    length = f"{seconds} s" if seconds < 60 else f"{seconds // 60} min {seconds % 60} s".removesuffix(" 0 s")
    return Text.assemble((history.host or "this host", "bold"), f": {_time(begin)} to {_time(end)} UTC, a bar is {length}")


def _begin(history: HostHistory) -> float:
    return history.ends[0] - min(history.seconds[0], history.step_seconds)


def _clock(history: HostHistory, columns: Sequence[_Column]) -> str:
    """The title of the bars: when they begin, and when they end if there is room."""
    begin, end = (_time(at)[:5] for at in (_begin(history), history.ends[-1]))
    return f"{begin}{end:>{len(columns) - len(begin)}}" if len(columns) >= _FEWEST else "-" * len(columns)


def _time(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%H:%M:%S}"


def _add(table: Table, columns: Sequence[_Column], name: str, **kinds: Sequence[int | None]) -> None:
    """The lines of one row: its work, and what is worth a line beside it."""
    for kind, amounts in kinds.items():
        if not amounts:
            continue
        bars = [column.mean(amounts) for column in columns]
        if kind != "work" and max(_known(bars), default=0) < _WORTH_A_LINE:
            continue
        known = list(_known(bars))
        middle = f"{sum(known) / len(known) / 1000:.2f}" if known else "-"
        most = f"{max(known) / 1000:.2f}" if known else "-"
        table.add_row(name if kind == "work" else "", kind, Text(_bars(bars, _LEAST_SCALE[kind]), style=_STYLES[kind]), middle, most)


def _bars(amounts: Sequence[int | None], least_scale: int) -> str:
    full = max(least_scale, max(_known(amounts), default=0))
    return "".join(UNKNOWN if amount is None else BARS[round(amount / full * (len(BARS) - 1))] for amount in amounts)


def _known(amounts: Iterable[int | None]) -> Iterator[int]:
    return (amount for amount in amounts if amount is not None)

"""A host in small, for a list of many: a sign for each pCPU, and the legend of such a list. Pure.

The pool of a pCPU has a colour and a shape: a square is dedicated, a triangle shared or overhead, a diamond retires, a dash is in no pool.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Final

from pinfold.core.host_map import HostMap
from pinfold.core.plural import count
from pinfold.drawing.strip import beyond
from pinfold.drawing.svg import BANDS
from pinfold.drawing.tiles import pool_text

_ROW: Final = 32
"""pCPUs in a row."""
_STEP: Final = 7


def small_svg(chart: HostMap) -> str:
    """A host in small, without text and style: a sign for each pCPU, filled where somebody holds it, a row or more for each cell."""
    parts, y = [], 1
    for cell in chart.cells:
        pcpus = [pcpu for core in cell.cores for pcpu in core.pcpus]
        for place, pcpu in enumerate(pcpus):
            row, column = divmod(place, _ROW)
            parts.append(_sign(BANDS[pool_text(pcpu)][0], 1 + column * _STEP, y + row * _STEP, held=bool(pcpu.owners)))
        y += -(-len(pcpus) // _ROW) * _STEP + 3
    label = f"{count(len(chart.pcpus), 'pCPU')}, {sum(bool(pcpu.owners) for pcpu in chart.pcpus)} held"
    width = min(_ROW, max((sum(len(core.pcpus) for core in cell.cores) for cell in chart.cells), default=1)) * _STEP + 2
    return _svg(label, width, y, "".join(parts))


def _sign(band: str, x: int, y: int, *, held: bool) -> str:
    kind = f"pf-{band}" if held else f"pf-open pf-o{band}"
    if band == "R":
        return f'<path class="{kind}" d="M{x + 2.5} {y - 0.5}l3 3l-3 3l-3 -3z"/>'
    if band == "N":
        return f'<rect class="{kind}" x="{x}" y="{y + 2}" width="5" height="1"/>'
    if band in "SO":
        return f'<path class="{kind}" d="M{x + 2.5} {y}l2.5 5h-5z"/>'
    return f'<rect class="{kind}" x="{x}" y="{y}" width="5" height="5"/>'


def _svg(label: str, width: int, height: int, inner: str) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" class="pf" role="img" aria-label="{escape(label)}" viewBox="0 0 {width} {height}" '
    return head + f'width="{width}" height="{height}">{inner}</svg>'


_STRIP: Final = (("pf-O", "booked"), ("pf-used", "used in the last minute"), ("pf-wait", "waited for in the last minute"))
_SIGNS: Final = (
    ("D", True, "dedicated, held"),
    ("D", False, "dedicated, free"),
    ("S", False, "shared or overhead"),
    ("R", True, "retiring: held, but no longer dedicated"),
    ("N", False, "the host's own"),
)


def fleet_legend() -> str:
    """What the strips and signs of a list of hosts mean, as HTML."""
    strip = [(f'<rect class="{kind}" x="0" y="1" width="7" height="5"/>', words) for kind, words in _STRIP]
    strip.append((beyond(0, 1), "more than the ceiling"))
    signs = [(_sign(band, 1, 1, held=held), words) for band, held, words in _SIGNS]
    return f"{_keys('Overhead pool', strip)} {_keys('pCPUs', signs)}"


def _keys(title: str, signs: Iterable[tuple[str, str]]) -> str:
    keys = [
        f'<span><svg class="pf" aria-hidden="true" viewBox="0 0 8 7" width="16" height="14">{sign}</svg> {words}</span>'
        for sign, words in signs
    ]
    return f'<span class="legend"><strong>{title}:</strong> {" ".join(keys)}</span>'

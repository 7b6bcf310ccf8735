"""A host in small, for a list of many: a sign for each pCPU, and the legend of such a list. Pure.

The pool of a pCPU has a colour and a shape: a square is dedicated, a triangle shared or overhead, a diamond retires, a dash is in no pool.
Marks say what is to be looked at: a cross where the next guest would go, a bar below what was waited for, a frame where drift is.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Final

from msgspec import Struct

from pinfold.core.cpuset import CpuSet
from pinfold.core.host_map import HostMap
from pinfold.core.plural import count, pcpus
from pinfold.drawing.strip import beyond
from pinfold.drawing.svg import BANDS
from pinfold.drawing.tiles import pool_text

_END: Final = "</svg>"
_ROW: Final = 32
"""pCPUs in a row."""
_STEP: Final = 7
_WIDE: Final = 230
"""Up to this width, in pixels, a picture is drawn larger than its signs need."""
_MOST_SCALE: Final = 1.6
"""How much larger at most."""
_ROW_STEP: Final = 9
"""From a row to the next; the bar of waiting has its place between them."""


class Marks(Struct, frozen=True, kw_only=True):
    """What a small picture marks: where the next guest would go, pCPUs that were waited for, and places that drifted threads have left."""

    next: CpuSet = CpuSet()
    waited: CpuSet = CpuSet()
    left: CpuSet = CpuSet()

    def words(self) -> str:
        """The same in words.

        >>> Marks(next=CpuSet({12, 13}), waited=CpuSet({0})).words()
        'next guest on pCPUs 12-13; waited for pCPU 0'
        """
        named = (("next guest on", self.next), ("waited for", self.waited), ("drifted from", self.left))
        return "; ".join(f"{words} {pcpus(str(cpus))}" for words, cpus in named if cpus)


class SmallPicture(Struct, frozen=True, kw_only=True):
    """A host in small: the picture, and the corner of each pCPU's sign."""

    svg: str
    corners: dict[int, tuple[int, int]]

    def marked(self, marks: Marks) -> str:
        """The picture with marks over it."""
        parts = [_cross(*self.corners[cpu]) for cpu in marks.next if cpu in self.corners]
        parts += [_wait(*self.corners[cpu]) for cpu in marks.waited if cpu in self.corners]
        parts += [_frame(*self.corners[cpu]) for cpu in marks.left if cpu in self.corners]
        return self.svg.removesuffix(_END) + "".join(parts) + _END if parts else self.svg


def small_picture(chart: HostMap) -> SmallPicture:
    """A host in small, without text and style: a sign for each pCPU, filled where somebody holds it, a row or more for each cell."""
    parts, corners, y = [], {}, 2
    for cell in chart.cells:
        found = [pcpu for core in cell.cores for pcpu in core.pcpus]
        for place, pcpu in enumerate(found):
            row, column = divmod(place, _ROW)
            corners[pcpu.pcpu] = x, top = 2 + column * _STEP, y + row * _ROW_STEP
            parts.append(_sign(BANDS[pool_text(pcpu)][0], x, top, held=bool(pcpu.owners)))
        y += -(-len(found) // _ROW) * _ROW_STEP + 3
    label = f"{count(len(chart.pcpus), 'pCPU')}, {sum(bool(pcpu.owners) for pcpu in chart.pcpus)} held"
    width = min(_ROW, max((sum(len(core.pcpus) for core in cell.cores) for cell in chart.cells), default=1)) * _STEP + 3
    return SmallPicture(svg=_svg(label, width, y, "".join(parts)), corners=corners)


def _cross(x: float, y: float) -> str:
    return f'<path class="pf-l" d="M{x + 2.5} {y}v5M{x} {y + 2.5}h5"/>'


def _wait(x: float, y: float) -> str:
    return f'<rect class="pf-wait" x="{x - 1}" y="{y + 6.75}" width="7" height="2"/>'


def _frame(x: float, y: float) -> str:
    return f'<rect class="pf-left" x="{x - 1}" y="{y - 1.25}" width="7" height="7"/>'


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
    scale = max(1.0, min(_MOST_SCALE, _WIDE / width))
    return head + f'width="{round(width * scale)}" height="{round(height * scale)}">{inner}{_END}'


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
    marks = [
        (_cross(1, 1), "the next guest would go there"),
        (_wait(1, -2), "waited for"),
        (_frame(1, 1), "drift: recorded there, may run elsewhere"),
    ]
    return f"{_keys('Overhead pool', strip)} {_keys('pCPUs', signs)} {_keys('Marks', marks)}"


def _keys(title: str, signs: Iterable[tuple[str, str]]) -> str:
    keys = [
        f'<span><svg class="pf" aria-hidden="true" viewBox="-1 -1 10 9" width="18" height="16">{sign}</svg> {words}</span>'
        for sign, words in signs
    ]
    return f'<span class="legend"><strong>{title}:</strong> {" ".join(keys)}</span>'

"""Plots as values, and SVG from them by matplotlib. An SVG takes its ink from the reader's colour scheme, light or dark."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_INK, _FAINT = "#010203", "#010204"
"""Colours that `draw` replaces by CSS variables."""
_STYLE = "<style>:root{--ink:#24292f;--faint:#d0d7de}@media (prefers-color-scheme: dark){:root{--ink:#e6edf3;--faint:#3d444d}}</style>"
COLOURS = ("#3b82f6", "#e8710a", "#1a9e5c", "#a855f7", "#db3d60", "#0e98a8", "#8a7a00", "#7c7c86", "#b45f2a", "#4f9d2f")
"""Colours of the series, which are the most that a plot has; each can be read on white and on black."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One line, or one bar in each group; for lines `low` and `high` are its spread, drawn as a band."""

    label: str
    x: Sequence[float | str]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Heat:
    """A map of numbers: `rows[row][column]`, the first row on top. None is no value. The colours go from `least` to `most`."""

    rows: Sequence[Sequence[float | None]]
    unit: str
    least: float
    most: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """One picture: lines over x, bars in groups (x are texts), or a heat map."""

    name: str
    title: str
    x_label: str
    y_label: str
    series: Sequence[Series] = ()
    bars: bool = False
    log_x: bool = False
    log_y: bool = False
    ticks: Sequence[tuple[float, str]] = ()
    """Places on the x axis with their texts, in place of numbers."""
    heat: Heat | None = None
    whole_x: bool = False
    """Whether the x axis counts things, so that it has no ticks between whole numbers."""


def draw(plot: Plot) -> str:
    """The SVG of a plot. The same plot gives the same text."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot

    settings = {
        "svg.fonttype": "none",
        "svg.hashsalt": plot.name,
        "font.family": "sans-serif",
        "font.size": 10,
        "text.color": _INK,
        "axes.edgecolor": _INK,
        "axes.labelcolor": _INK,
        "xtick.color": _INK,
        "ytick.color": _INK,
        "grid.color": _FAINT,
        "axes.facecolor": "none",
        "figure.facecolor": "none",
        "legend.facecolor": "none",
        "legend.edgecolor": _FAINT,
        "legend.framealpha": 1,
    }
    with mpl.rc_context(settings):
        figure, axes = pyplot.subplots(figsize=(7.2, 3.6), layout="constrained")
        _fill(figure, axes, plot)
        written = io.StringIO()
        figure.savefig(written, format="svg", metadata={"Date": None, "Creator": None, "Title": plot.title})
        pyplot.close(figure)
    return _themed(written.getvalue())


def _fill(figure: Any, axes: Any, plot: Plot) -> None:
    axes.set_title(plot.title, fontsize=11)
    axes.set_xlabel(plot.x_label)
    axes.set_ylabel(plot.y_label)
    if plot.heat is not None:
        _fill_heat(figure, axes, plot.heat)
        return
    axes.grid(visible=True, axis="y", linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    if plot.bars:
        _fill_bars(axes, plot.series)
    else:
        for one, colour in zip(plot.series, COLOURS[: len(plot.series)], strict=True):
            axes.plot(one.x, one.y, color=colour, label=one.label, linewidth=1.6, marker="o" if len(one.x) <= 40 else None, markersize=3)
            if one.low:
                axes.fill_between(one.x, one.low, one.high, color=colour, alpha=0.18, linewidth=0)
    if plot.log_x:
        axes.set_xscale("log")
    if plot.log_y:
        axes.set_yscale("log")
        _plain_numbers(axes.yaxis)
    if plot.ticks:
        axes.set_xticks([at for at, _ in plot.ticks], [text for _, text in plot.ticks])
        axes.minorticks_off()
    if not plot.log_y:
        axes.set_ylim(bottom=0)
    if plot.whole_x:
        _whole_numbers(axes.xaxis)
    if len(plot.series) > 1:
        figure.legend(fontsize=8, loc="outside right center")


def _plain_numbers(axis: Any) -> None:
    """Ticks of a logarithmic axis at 1, 2 and 5 and their tenfolds, written as `0.5` or `2,000`, never as powers."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 1000 * low else (1,), numticks=16))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))
    axis.set_minor_formatter(NullFormatter())


def _whole_numbers(axis: Any) -> None:
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(integer=True))


def _fill_bars(axes: Any, series: Sequence[Series]) -> None:
    width = 0.8 / len(series)
    groups = list(dict.fromkeys(str(name) for one in series for name in one.x))
    for place, (one, colour) in enumerate(zip(series, COLOURS[: len(series)], strict=True)):
        at = [groups.index(str(name)) - 0.4 + width * (place + 0.5) for name in one.x]
        axes.bar(at, one.y, width=width, color=colour, label=one.label)
    axes.set_xticks(range(len(groups)), groups)


def _fill_heat(figure: Any, axes: Any, heat: Heat) -> None:
    import numpy as np
    from matplotlib.colors import LogNorm

    values = np.array([[np.nan if value is None else value for value in row] for row in heat.rows], dtype=float)
    scale = LogNorm(vmin=max(1.0, heat.least), vmax=max(10.0, heat.most))
    drawn = axes.pcolormesh(values, cmap="viridis", norm=scale)
    axes.invert_yaxis()
    bar = figure.colorbar(drawn, ax=axes)
    bar.set_label(heat.unit)


def _themed(svg: str) -> str:
    """The SVG with ink and grid as variables of the reader's colour scheme."""
    svg = svg.replace(_INK, "var(--ink)").replace(_FAINT, "var(--faint)")
    svg = re.sub(r"(<text[^>]*style=\"(?![^\"]*fill:))", r"\1fill: var(--ink); ", svg)
    return re.sub(r"[ \t]+$", "", re.sub(r"(<svg[^>]*>)", rf"\1{_STYLE}", svg, count=1), flags=re.MULTILINE)

"""The subject `pages`: how soon a browser shows the web page of 1,000 hosts."""

from __future__ import annotations

import shutil
import statistics
from collections.abc import Sequence
from typing import Final

from benchmarks.page import Budget, table
from benchmarks.pages.measure import opened
from benchmarks.plot import Plot, Series
from benchmarks.subject import Figures, Page, Size, Subject

BOUND_SECONDS: Final = 1.0
"""The budget for the first content of each page, median."""

_METHOD: Final = """\
One `pinfold api` process with Placement embedded, on SQLite, with {hosts:,} registered hosts of five shapes (64 to 96 pCPUs, with 0 to
40 guests) and {guests:,} guests. A headless Chromium on the same machine opens the pages in turns, {rounds} rounds in alternating order,
after a round that does not count. First content is the browser's own first contentful paint, from the beginning of the navigation. The
answer is complete when its last byte has arrived; the rest of the time is the browser's. CPU is what the whole process of the service took
meanwhile. The first fleet page after the start of the process, with the sign-in, took {first_seconds:.1f} s."""


def measure(size: Size, seed: int) -> Figures:
    """Fill a fleet, serve it, and open its pages."""
    hosts, rounds = {Size.CHECK: (3, 1), Size.SMALL: (100, 3), Size.LONG: (1000, 11)}[size]
    return opened(hosts, rounds, seed)


def page(figures: Figures) -> Page:
    """The budgets, the table, and the answer's part of each first content."""
    views, hosts = figures["views"], figures["hosts"]
    middle = [(statistics.median(view["first_content"]), statistics.median(view["answered"])) for view in views]
    places = [str(place + 1) for place in range(len(views))]
    return Page(
        budgets=[
            Budget(what=f"{view['what']}, {hosts:,} hosts: first content, median", measured=first, bound=BOUND_SECONDS, unit="s")
            for view, (first, _) in zip(views, middle, strict=True)
        ],
        body=[
            *_METHOD.format(**{name: figures[name] for name in ("hosts", "guests", "rounds", "first_seconds")}).splitlines(),
            "",
            *table(
                ("no.", "page", "first content, s", "slowest, s", "answer complete, s", "CPU of the service, s", "KiB"),
                [
                    (place, view["what"], first, max(view["first_content"]), answered, statistics.median(view["cpu"]), view["kib"])
                    for place, view, (first, answered) in zip(places, views, middle, strict=True)
                ],
            ),
            "",
            Plot(
                name="pages",
                title="Until a page is seen, by its number in the table; medians",
                x_label="page",
                y_label="s",
                bars=True,
                series=[
                    Series(label="first content", x=places, y=[first for first, _ in middle]),
                    Series(label="answer complete", x=places, y=[answered for _, answered in middle]),
                ],
            ),
        ],
    )


def _lacks() -> Sequence[str]:
    return () if shutil.which("chromium") else ("Debian's package chromium",)


PAGES: Final = Subject(
    name="pages",
    title="The web page",
    measure=measure,
    page=page,
    lacks=_lacks,
    limits="""\
Browser and service share one machine, so a network adds its time. One reader; the agents of the hosts do not answer, so the pages have
no loads, and a page with loads reads as many small texts more as it shows hosts, once for each answer. Figures of a small run are of 100
hosts and say nothing about the budget of 1,000.""",
)

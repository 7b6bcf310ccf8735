"""The marks of load in a picture: how much of a pool is booked, used and waited for, and how long a pCPU's owner waited. Pure.

Every amount also has words: a mark is never the only thing that says it.
"""

from __future__ import annotations

from typing import Final

from pinfold.core.load import Load, share

LEAST_MARK: Final = 50
"""A pCPU has no mark for less, in millicpu: it would look like dirt. The words say it."""


def strip(x: int, y: int, width: int, *, booked: int, total: int, measured: Load | None = None) -> str:
    """A pool as a strip; its right end is the ceiling. Above is what is booked; below is what is used, and then what waits.

    An arrow at the right end says that use and waiting are more than the ceiling.
    """
    high = 8 if measured is None else 14
    parts = [f'<rect class="pf-bar" x="{x}" y="{y}" width="{width}" height="{high}"/>']
    parts.append(f'<rect class="pf-O" x="{x}" y="{y}" width="{_part(width, booked, total)}" height="8"/>')
    if measured is not None:
        used = _part(width, measured.work or 0, total)
        waits = _part(width, (measured.work or 0) + (measured.wait or 0), total) - used
        parts.append(f'<rect class="pf-used" x="{x}" y="{y + 9}" width="{used}" height="5"/>')
        parts.append(f'<rect class="pf-wait" x="{x + used}" y="{y + 9}" width="{waits}" height="5"/>')
        if (measured.work or 0) + (measured.wait or 0) > total:
            parts.append(beyond(x + width, y + 9))
    return "".join(parts)


def beyond(x: int, y: int) -> str:
    """The arrow at the right end of a strip that is cut there."""
    return f'<path class="pf-beyond" d="M{x + 2} {y - 1}l5 3.5l-5 3.5z"/>'


def strip_svg(*, booked: int, total: int, measured: Load | None) -> str:
    """A small strip as a picture, without its style."""
    width, height = 160, 10 if measured is None else 16
    label = f"{booked:,} of {total:,} millicpu booked" + ("" if measured is None else f", {in_words(measured)}")
    head = f'<svg xmlns="http://www.w3.org/2000/svg" class="pf" role="img" aria-label="{label}" viewBox="0 0 {width + 10} {height}" '
    inner = strip(1, 1, width, booked=booked, total=total, measured=measured)
    return head + f'width="{width + 10}" height="{height}">{inner}</svg>'


def marks(load: Load, x: int, y: int, width: int) -> str:
    """The marks of one pCPU, full where it was all of the time: a filled bar for waiting, and below it a hollow one for what others ran."""
    parts = []
    if (load.wait or 0) >= LEAST_MARK:
        parts.append(f'<rect class="pf-wait" x="{x}" y="{y}" width="{_part(width, load.wait or 0, 1000)}" height="4"/>')
    if (load.others or 0) >= LEAST_MARK:
        parts.append(f'<rect class="pf-others" x="{x + 0.5}" y="{y + 5.5}" width="{_part(width, load.others or 0, 1000)}" height="3"/>')
    return "".join(parts)


def sample_of_waiting(x: int, y: int) -> str:
    """The mark of waiting, for the legend."""
    return f'<rect class="pf-wait" x="{x}" y="{y + 3}" width="22" height="4"/>'


def sample_of_others(x: int, y: int) -> str:
    """The mark of what others ran, for the legend."""
    return f'<rect class="pf-others" x="{x}" y="{y + 3}" width="22" height="4"/>'


def in_words(load: Load) -> str:
    """A load in words.

    >>> in_words(Load(work=620, wait=100)), in_words(Load(work=0, others=30)), in_words(Load())
    ('worked 62 %, waited 10 %', 'worked 0 %, others 3 %', 'not measured')
    """
    named = (("worked", load.work), ("waited", load.wait), ("others", load.others))
    return ", ".join(f"{word} {share(amount)}" for word, amount in named if amount is not None) or "not measured"


def _part(width: int, amount: int, total: int) -> int:
    return min(width, width * amount // total) if total else width

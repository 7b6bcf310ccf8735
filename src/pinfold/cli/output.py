"""How an answer is printed: one JSON document, or lines for people, coloured on a terminal alone. Layout is in `views`."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping

from rich.console import Console, RenderableType

_PIPED_WIDTH = 120


def console() -> Console:
    """The console that answers go to. A pipe gets 120 columns, unless $COLUMNS says otherwise, and no colour."""
    width = None if sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdigit() else _PIPED_WIDTH
    return Console(highlight=False, markup=False, emoji=False, width=width)


def show(lines: Iterable[RenderableType], to: Console | None = None) -> None:
    """Print one renderable after the other; without the blanks at the ends of lines where it is not a terminal."""
    target = to or console()
    if target.is_terminal:
        for line in lines:
            target.print(line)
        return
    with target.capture() as captured:
        for line in lines:
            target.print(line)
    print("\n".join(line.rstrip() for line in captured.get().splitlines()))


def show_json(document: Mapping[str, object]) -> None:
    """Print one JSON document."""
    print(json.dumps(document, indent=2, ensure_ascii=False))

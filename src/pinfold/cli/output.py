"""How an answer is printed: one JSON document, or lines for people, coloured on a terminal alone. Layout is in `views`."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping

import typer
from rich.console import Console, RenderableType
from rich.text import Text

from pinfold.core.errors import Unavailable

_PIPED_WIDTH = 120


def console() -> Console:
    """The console that answers go to. A pipe gets 120 columns, unless $COLUMNS says otherwise, and no colour."""
    width = None if sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdigit() else _PIPED_WIDTH
    return Console(highlight=False, markup=False, emoji=False, width=width)


def show(lines: Iterable[RenderableType], to: Console | None = None) -> None:
    """Print one renderable after the other; a text with `no_wrap` is not folded, so that a command in it can be copied.

    Blanks at the ends of lines are left out where it is not a terminal.
    """
    target = to or console()
    if target.is_terminal:
        _print(target, lines)
        return
    with target.capture() as captured:
        _print(target, lines)
    write("\n".join(line.rstrip() for line in captured.get().splitlines()) + "\n")


def _print(target: Console, lines: Iterable[RenderableType]) -> None:
    for line in lines:
        target.print(line, soft_wrap=isinstance(line, Text) and bool(line.no_wrap))


def show_json(document: Mapping[str, object]) -> None:
    """Print one JSON document."""
    write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def write(text: str) -> None:
    """Write text to standard output, at once. Raises `Unavailable` when it cannot be written, such as on a full disk."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader has seen enough, as `head` does
        silence()
        raise typer.Exit from None
    except OSError as error:
        silence()
        raise Unavailable(f"standard output cannot be written: {error.strerror}") from error


def silence() -> None:
    """Give up standard output, or Python complains once more while it closes it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)

"""Print a response: one JSON document, or lines for people, with colour only on a terminal. `views` does the layout."""

from __future__ import annotations

import codecs
import io
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from pinfold.cli.exit_status import warn
from pinfold.core.errors import Unavailable
from pinfold.core.printable import json_shown

if TYPE_CHECKING:  # imported late, because the watch writes its few lines without Rich
    from rich.console import Console, RenderableType

_PIPED_WIDTH = 120
_PLAIN: Final = str.maketrans("✓✗○·│─╭╮╰╯–…▁▂▃▄▅▆▇█", "vxo.|-++++-~_,:-=+*#")
"""Replacements for the symbols of the screens, for terminals whose encoding lacks them."""


def console() -> Console:
    """The console for output. A pipe gets 120 columns, unless $COLUMNS is set, and no colour."""
    from pinfold.cli.screen import Screen

    width = None if sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdigit() else _PIPED_WIDTH
    return Screen(width=width)


def show(lines: Iterable[RenderableType], to: Console | None = None) -> None:
    """Print the renderables one after another. The later lines of a folded text are indented.

    A text with `no_wrap` is not folded, so that a command in it can be copied.

    Trailing blanks are removed unless it is a terminal.
    """
    target, lines = to or console(), list(lines)
    if not lines:
        return
    if target.is_terminal:
        _print(target, lines)
        return
    with target.capture() as captured:
        _print(target, lines)
    write("\n".join(line.rstrip() for line in captured.get().splitlines()) + "\n")


def _print(target: Console, lines: Iterable[RenderableType]) -> None:
    from rich.text import Text

    from pinfold.cli.screen import Hanging

    for line in lines:
        if isinstance(line, Text) and line.no_wrap:
            target.print(line, soft_wrap=True)
        else:
            target.print(Hanging(line) if isinstance(line, str | Text) else line)


def show_json(document: Mapping[str, object]) -> None:
    """Print one JSON document, with escapes for non-printing characters."""
    write(json_shown(json.dumps(document, indent=2, ensure_ascii=False)) + "\n")


def respond(document: Mapping[str, object], lines: Iterable[RenderableType], *, as_json: bool, warnings: Iterable[str] = ()) -> None:
    """Print the document with `--json`, else the warnings on standard error and the lines. The document itself has the warnings."""
    if as_json:
        show_json(document)
        return
    for sentence in warnings:
        warn(sentence)
    show(lines)


def write(text: str) -> None:
    """Write text to standard output at once. Raises `Unavailable` when that fails, such as on a full disk.

    Raises `SystemExit` with status 0 if nobody reads any more.
    """
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader closed the pipe, as `head` does
        silence()
        raise SystemExit(0) from None
    except OSError as error:
        silence()
        raise Unavailable(f"standard output cannot be written: {error.strerror}") from error


@contextmanager
def waiting(words: str) -> Iterator[None]:
    """Show on standard error, with a spinner, what the command waits for, if that is a terminal."""
    from rich.text import Text

    from pinfold.cli.screen import Screen

    target = Screen(stderr=True)
    if not target.is_terminal:
        yield
        return
    with target.status(Text(words)):
        yield


def plain_signs() -> None:
    """Let standard output and error accept every text: characters that their encoding lacks become plain ones, or '?'."""
    codecs.register_error("plain-signs", _plain)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="plain-signs")


def _plain(error: UnicodeError) -> tuple[str, int]:
    """A codec's error handler for encoding.

    >>> _plain(UnicodeEncodeError("ascii", "a ✗ ü", 2, 3, "")), _plain(UnicodeEncodeError("ascii", "ü", 0, 1, ""))
    (('x', 3), ('?', 1))
    """
    if not isinstance(error, UnicodeEncodeError):
        raise error
    signs = error.object[error.start : error.end].translate(_PLAIN)
    return "".join(sign if sign.isascii() else "?" for sign in signs), error.end


def silence() -> None:
    """Close standard output, so that Python prints no second error when it closes it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)

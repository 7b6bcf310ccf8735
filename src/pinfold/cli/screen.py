"""The console for all output. It shows every text on one line, with escapes for non-printing characters.

Names, failures and thread names come from guests, hosts and users. An escape sequence in one of them would change the terminal, and a line
feed would add a line that looks like pinfold's own. Views therefore never put a line feed into a text; they use one renderable for each
line.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import accumulate
from typing import Any, Final

from rich.console import Console, ConsoleOptions, RenderableType
from rich.measure import Measurement
from rich.padding import Padding
from rich.segment import Segment
from rich.text import Span, Text

from pinfold.core.printable import shown, widths


class Screen(Console):
    """A console without markup that passes every text through `shown`, including texts inside tables and paddings."""

    def __init__(self, **options: Any) -> None:
        super().__init__(highlight=False, markup=False, emoji=False, **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        return super().render(printable(renderable) if isinstance(renderable, Text) else renderable, options)

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(shown(text), **options)


class Hanging:
    """A sentence whose later lines are indented, so that no name in it can imitate a separate line."""

    _INDENT: Final = 4

    def __init__(self, sentence: str | Text) -> None:
        self._text = Text(shown(sentence)) if isinstance(sentence, str) else printable(sentence)
        self._hang = self._INDENT + len(self._text.plain) - len(self._text.plain.lstrip(" "))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterable[RenderableType]:
        first, *others = self._text.wrap(console, options.max_width)
        yield first
        if others:
            rest = self._text[len(first.plain) :]
            rest.plain = rest.plain.lstrip(" ")
            for line in rest.wrap(console, max(options.max_width - self._hang, 1)):
                yield Padding(line, (0, 0, 0, self._hang))

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement.get(console, options, self._text).with_maximum(options.max_width)


def printable(text: Text) -> Text:
    """The text with escapes for non-printing characters, and with the same styles.

    >>> made = printable(Text.assemble(("a\\n", "bold"), "\\x1bb"))
    >>> made.plain == "a\\\\n\\\\x1bb", made.spans
    (True, [Span(0, 3, 'bold')])
    """
    plain = text.plain
    if plain.isprintable():
        return text
    places = list(accumulate(widths(plain), initial=0))
    made = text.blank_copy(shown(plain))
    made.spans = [Span(places[max(span.start, 0)], places[min(span.end, len(plain))], span.style) for span in text.spans]
    return made

"""Text from outside: which characters it may contain, and how to show those that do not print.

| for | function | rule |
|---|---|---|
| a store, a message | `cleaned` | a control character other than a line feed or a tab, and half of a surrogate pair, becomes U+FFFD |
| a sentence | `shortened`, `quoted` | at most so many characters, the last one an ellipsis where more are left out |
| a screen, a log | `shown` | every character that does not print becomes its escape; the text is one line |
| a JSON document | `json_shown` | the same, as JSON's escapes |
| a shell command | `shell_word` | quoted, and on the screen as a shell reads it |

`str.isprintable` decides what prints. Escape sequences (ESC, C1), line ends, marks that reverse the direction of writing, and
zero-width blanks do not print.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from typing import Final

UNCLEAN: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
"""The characters that no stored text may contain."""

_HIDDEN: Final = re.compile("[^ -~]")
_NOT_JSON: Final = re.compile("[^ -~\n]")
_SHORT: Final = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}


def cleaned(text: str) -> str:
    """The text with U+FFFD in place of every forbidden character.

    >>> cleaned("a\\x1b[2J\\tb\\n"), cleaned("\\ud800"), cleaned("𝄞")
    ('a\ufffd[2J\\tb\\n', '\ufffd', '𝄞')
    """
    return text if text.isprintable() else UNCLEAN.sub("\N{REPLACEMENT CHARACTER}", text)


def shown(text: str) -> str:
    r"""The text on one line, with an escape for every character that does not print, in the form of Python and of bash's `$'…'`.

    >>> print(shown("web\n\x1b[2J\x9b \u202e"), shown("Grüße 𝄞"))
    web\n\x1b[2J\u009b \u202e Grüße 𝄞
    """
    return text if text.isprintable() else _HIDDEN.sub(lambda found: _escaped(found[0]), text)


def shortened(text: str, most: int = 60) -> str:
    """The text, or its beginning and an ellipsis if it has more than so many characters.

    >>> shortened("dedicated"), shortened("dedicated", 5)
    ('dedicated', 'dedi…')
    """
    return text if len(text) <= most else text[: most - 1] + "…"


def quoted(text: str, most: int = 60) -> str:
    """The shortened text in quotes, with escapes for what does not print, as a sentence names a wrong value.

    >>> print(quoted("8-"), quoted("dedicated", 5))
    '8-' 'dedi…'
    """
    return repr(shortened(text, most))


def widths(text: str) -> list[int]:
    """For each character of `text`, the number of characters that `shown` prints for it.

    >>> widths("a\\nü")
    [1, 2, 1]
    """
    return [len(shown(sign)) for sign in text]


def json_shown(document: str) -> str:
    r"""A JSON text with an escape for every character that does not print; line feeds between its members stay.

    >>> json_shown('{"a": "\x7f\x9b\u202e"}'), json_shown('"ü"')
    ('{"a": "\\u007f\\u009b\\u202e"}', '"ü"')
    """
    return document if document.isprintable() else _NOT_JSON.sub(lambda found: _json_escape(found[0]), document)


def shell_word(word: str) -> str:
    r"""One word of a shell command, quoted if the shell needs it. A word with characters that do not print uses bash's `$'…'`.

    >>> print(shell_word("web 1"), shell_word("it's\n\x1b"))
    'web 1' $'it\'s\n\x1b'
    """
    if word.isprintable():
        return shlex.quote(word)
    return "$'" + shown(word.replace("\\", "\\\\").replace("'", "\\'")) + "'"


def shell_line(words: Iterable[str]) -> str:
    """The words as one shell command."""
    return " ".join(map(shell_word, words))


def _escaped(sign: str) -> str:
    if sign.isprintable() or sign in _SHORT:
        return _SHORT.get(sign, sign)
    code = ord(sign)
    return f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _json_escape(sign: str) -> str:
    if sign.isprintable():
        return sign
    units = sign.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{int.from_bytes(units[at : at + 2]):04x}" for at in range(0, len(units), 2))

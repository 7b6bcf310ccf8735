"""Check which characters the text of a request's body holds, before anything parses it.

It uses only a few searches, in time that grows linearly with the length of the body.
"""

from __future__ import annotations

import re
from typing import Final

_ESCAPED_BACKSLASH: Final = "\\\\"
_PAIR: Final = re.compile(r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}")
_HALF: Final = re.compile(r"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")
_CONTROL: Final = re.compile(r"[\x7f-\x9f]|\\[bfr]|\\u00(?:0[0-8b-fB-F]|1[0-9a-fA-F]|7[fF]|[89][0-9a-fA-F])")


def text_fault(body: bytes, *, controls: bool) -> str:
    """One sentence about a character that no text of a body may hold; '' if there is none.

    Refused are NUL, half of a surrogate pair, and with `controls` every control character but a line feed and a tab.

    >>> text_fault(b'{"name": "\\\\ud83d\\\\ude00 \\\\\\\\ud800 \\\\n"}', controls=True)
    ''
    >>> text_fault(b'{"name": "\\\\ud800"}', controls=False)
    'The request body holds half of a surrogate pair (\\\\ud800), which is no character.'
    >>> text_fault(b'{"name": "\\\\u001B[2J"}', controls=True)
    'The request body holds the control character \\\\u001b; of these a text may have line feeds and tabs alone.'
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        return "The request body is not text in UTF-8."
    if "\x00" in text:
        return "The request body is not text in UTF-8."
    if "\\" in text:
        text = text.replace(_ESCAPED_BACKSLASH, "  ")  # every remaining backslash begins an escape
    if "\\u0000" in text:
        return "The request body holds the character NUL, which is not allowed."
    if half := _HALF.search(_PAIR.sub(" ", text) if "\\u" in text else ""):
        return f"The request body holds half of a surrogate pair ({half[0].lower()}), which is no character."
    if controls and (found := _CONTROL.search(text)):
        shown = found[0].lower() if found[0].startswith("\\") else f"\\u{ord(found[0]):04x}"
        return f"The request body holds the control character {shown}; of these a text may have line feeds and tabs alone."
    return ""

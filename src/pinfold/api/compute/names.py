"""Allowed names in the Compute API, and regular expressions that search for names.

An expression is matched in time that grows linearly with the name. Its syntax is RE2's, that of Python's `re` without look-around and
back-references. It runs in this process and is the same for every database: one request could keep `re` busy for hours, and PostgreSQL has
a different syntax.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Final

import re2
from pydantic import Field

from pinfold.api.text_pattern import TextPattern
from pinfold.core.errors import InvalidRequest

Name = Annotated[
    str,
    Field(min_length=1, max_length=255),
    TextPattern(
        pattern=r"^[^\s\x00-\x1f\x7f-\x9f]([^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f])?$",
        allowed="a name has no control characters, and no blanks at its ends",
    ),
]
"""A name of a server, flavor or aggregate: no control characters, which a terminal would obey, and no blanks at its ends."""

_LONGEST: Final = 1024
_MEMORY: Final = 1 << 17
"""Bytes for an expression and its matching: enough for any literal name; the worst expression stays below a millisecond a name."""


def name_matches(pattern: str) -> Callable[[str], bool]:
    """A test whether the expression occurs in a name. Raises `InvalidRequest`, in Nova's words, for an unusable expression.

    >>> [name for name in ("vm1", "vm12", "my.vm1") if name_matches("^vm.$")(name)]
    ['vm1']
    >>> name_matches("vm[")
    Traceback (most recent call last):
    ...
    pinfold.core.errors.InvalidRequest: Invalid input for query parameters name. Value: vm[. 'vm[' is not a 'regex' (missing ]: [)
    """
    options = re2.Options()
    options.log_errors = False
    options.never_capture = True
    options.max_mem = _MEMORY
    try:
        if len(pattern) > _LONGEST:
            raise re2.error(f"{len(pattern)} characters, at most {_LONGEST}".encode())
        search = re2.compile(pattern, options).search
    except re2.error as error:
        why, given = error.args[0].decode(errors="replace"), pattern[:64]
        raise InvalidRequest(
            f"Invalid input for query parameters name. Value: {given}. {given!r} is not a 'regex' ({why[:64]})", key="name"
        ) from error
    return lambda name: search(name) is not None

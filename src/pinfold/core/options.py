"""Options of the configuration as values, and the sentence that says what has changed. Pure; `config` reads the files."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from msgspec import Struct

_MOST_TEXT: Final = 100


class Option(Struct, frozen=True, kw_only=True):
    """One option: its key `[group] name`, and its value as text, '' if it is not set. The value of a `secret` one is never shown."""

    key: str
    value: str
    secret: bool = False


def difference(before: Iterable[Option], after: Iterable[Option]) -> str:
    """One sentence about the options that differ, in the order of `after`. `before` are those that a process runs with.

    >>> print(difference((Option(key="[a] b", value="1"),), (Option(key="[a] b", value="2"),)))
    the configuration was read again: [a] b was '1' and is '2'; start this process again to use it
    >>> print(difference((), ()))
    the configuration was read again; it is what this process runs with
    """
    old = {option.key: option for option in before}
    changes = [_change(old.get(option.key), option) for option in after if option != old.get(option.key)]
    if not changes:
        return "the configuration was read again; it is what this process runs with"
    return f"the configuration was read again: {', '.join(changes)}; start this process again to use it"


def refusal(why: str) -> str:
    """The sentence about a configuration that cannot be used now.

    >>> print(refusal("[a] b in c.conf: 'x' is not allowed"))
    the configuration stays as it was, because what is in its files now is wrong: [a] b in c.conf: 'x' is not allowed
    """
    return f"the configuration stays as it was, because what is in its files now is wrong: {why}"


def _change(before: Option | None, after: Option) -> str:
    if after.secret:
        return f"{after.key} has another value, which is secret"
    return f"{after.key} was {_shown('' if before is None else before.value)} and is {_shown(after.value)}"


def _shown(value: str) -> str:
    if not value:
        return "not set"
    return repr(value if len(value) <= _MOST_TEXT else value[: _MOST_TEXT - 1] + "…")

"""Options of the configuration as values, and the sentence that says what has changed. Pure; `config` reads the files."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

from msgspec import Struct

from pinfold.core.printable import quoted

_MOST_TEXT: Final = 100


class Option(Struct, frozen=True, kw_only=True):
    """One option: its key `[group] name`, and its value as text, '' if it is not set. The value of a `secret` one is never shown."""

    key: str
    value: str
    secret: bool = False


def difference(before: Iterable[Option], after: Iterable[Option], live: Collection[str] = ()) -> str:
    """One sentence about the options that differ, in the order of `after`. `before` are those that a process runs with.

    The options with the keys in `live` are used from now on; all others need a new start.

    >>> print(difference((Option(key="[a] b", value="1"),), (Option(key="[a] b", value="2"),)))
    the configuration was read again: [a] b was '1' and is '2'; start this process again to use it
    >>> print(difference((Option(key="[a] b", value="1"),), (Option(key="[a] b", value="2"),), {"[a] b"}))
    the configuration was read again: [a] b was '1' and is '2', which is used from now on
    >>> print(difference((), ()))
    the configuration was read again; it is what this process runs with
    """
    old = {option.key: option for option in before}
    changes = {option.key: _change(old.get(option.key), option) for option in after if option != old.get(option.key)}
    now = [change for key, change in changes.items() if key in live]
    later = [change for key, change in changes.items() if key not in live]
    if not changes:
        return "the configuration was read again; it is what this process runs with"
    said = [f"{', '.join(now)}, which is used from now on"] if now else []
    said += [f"{', '.join(later)}; start this process again to use it"] if later else []
    return f"the configuration was read again: {'; '.join(said)}"


def taken_over(before: tuple[Option, ...], after: Iterable[Option], live: Collection[str]) -> tuple[Option, ...]:
    """`before` with the values of `after` for the options with the keys in `live`.

    >>> before, after = ((Option(key="a", value=value), Option(key="b", value=value)) for value in "12")
    >>> [option.value for option in taken_over(before, after, {"a"})]
    ['2', '1']
    """
    new = {option.key: option for option in after if option.key in live}
    return tuple(new.get(option.key, option) for option in before)


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
    return quoted(value, _MOST_TEXT) if value else "not set"

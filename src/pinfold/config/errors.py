"""Collect every error of configuration files, not only the first. `check` finds likely mistakes in valid files."""

from __future__ import annotations

from collections.abc import Sequence

from pinfold.config.host import Configuration, load
from pinfold.config.options import AUDITED, GROUPS
from pinfold.config.parse import Entry, key_of, read_entries
from pinfold.core.errors import InvalidRequest

_KEYS = frozenset(key_of(group.name, opt.name) for group in (*GROUPS, *AUDITED) for opt in group.options)


def readable(files: Sequence[str]) -> tuple[tuple[str, ...], tuple[Entry, ...], list[str]]:
    """The files that can be read, their lines, and an error for each other file."""
    good: list[str] = []
    entries: list[Entry] = []
    errors: list[str] = []
    for file in files:
        try:
            entries += read_entries(file)
            good.append(file)
        except InvalidRequest as error:
            errors.append(str(error))
    return tuple(good), tuple(entries), errors


def usable(files: Sequence[str]) -> tuple[Configuration | None, list[str]]:
    """The configuration without the options that have errors, and every error; None if an error cannot be attributed to an option.

    The options of the service are checked only if its packages are installed.
    """
    without: set[str] = set()
    errors: list[str] = []
    while True:
        try:
            configuration = load(files, without=without)
            _load_fleet(files, without)
            return configuration, errors
        except InvalidRequest as error:
            errors.append(str(error))
            if error.key is None or error.key not in _KEYS or error.key in without:
                return None, errors
            without.add(error.key)


def _load_fleet(files: Sequence[str], without: set[str]) -> None:
    try:
        from pinfold.config.fleet import load_fleet
    except ModuleNotFoundError:
        return
    load_fleet(files, without=without)

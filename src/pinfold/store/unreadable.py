"""Leave out a stored value that cannot be read, and say so in the log once. One bad row must not break a listing.

For values from agents: an earlier pinfold accepted some that this one refuses, and the agent's next report replaces them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import lru_cache
from typing import TypeVar

from pinfold.core.errors import InvalidRequest

_log = logging.getLogger(__name__)

T = TypeVar("T")
Other = TypeVar("Other")


def read_or(read: Callable[[str, str], T], text: str, where: str, instead: Other) -> T | Other:
    """The value of a stored text by its decoder, or `instead` if it cannot be read."""
    try:
        return read(text, where)
    except InvalidRequest as error:
        log_once(f"{error}; it is left out")
        return instead


@lru_cache(maxsize=256)
def log_once(sentence: str) -> None:
    """Log a warning, unless the log has it already from an earlier read of the same row."""
    _log.warning("%s", sentence)

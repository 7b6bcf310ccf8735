"""Somebody asks that the threads of a guest be moved back now: the question to its agent, and the answer. Values only."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Final

from msgspec import Meta, Struct

from pinfold.core.bounds import GuestUuid, Revision

MOST_WORDS: Final = 8_000
"""The most characters of an answer's sentence."""


class RepairQuestion(Struct, frozen=True, kw_only=True):
    """Move the threads of this guest back to their recorded places. Questions about one guest are counted by `number`."""

    guest: GuestUuid
    number: Revision


class RepairResult(Enum):
    """What became of it: the threads were moved and read back in their places, there was nothing to move, or drift remains."""

    DONE = "done"
    NEEDLESS = "needless"
    FAILED = "failed"


class RepairAnswer(Struct, frozen=True, kw_only=True):
    """An agent's answer to the question of that number: the result, and in `sentence` which drift it undid, or why it did not."""

    number: Revision
    result: RepairResult
    sentence: Annotated[str, Meta(max_length=MOST_WORDS)] = ""

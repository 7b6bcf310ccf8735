"""The differences between the recorded answers and today's that are allowed, each with its reason. No other one passes.

An entry turns today's answer back into the recorded one. Where a key was added:

    Difference(family="documents", cases="* guest show *", reason="a guest's document names its claim", undo=_without_claim)

An entry that changes nothing any more fails the tests, so that the list holds what is true and no more.
"""

from __future__ import annotations

from tests.replay.recording import Difference

DIFFERENCES: tuple[Difference, ...] = ()

"""Record the last move of a guest's claim in the guest's details. `replace` does the move. Pure."""

from __future__ import annotations

from typing import Final

from pinfold.scheduler.model import Move
from pinfold.store import codec
from pinfold.store.records import GuestRecord, Pairs

_MOVED: Final = "moved"
"""The last move, in the codec's form."""


def with_move(guest: GuestRecord, move: Move) -> Pairs:
    """The guest's details with its last move, ordered by key."""
    return tuple(sorted((dict(guest.details) | {_MOVED: codec.encode(move, Move)}).items()))


def last_move(guest: GuestRecord) -> Move | None:
    """The guest's last move, None if it was never moved."""
    text = dict(guest.details).get(_MOVED)
    return None if text is None else codec.decode(text, Move, f"guest {guest.id}")

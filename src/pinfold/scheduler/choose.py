"""Choose one of the best few hosts by a hash of the guest's id, so that replicas do not compete for the very best one."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

from pinfold.core.identity import GuestId
from pinfold.scheduler.model import Candidate

Scored = tuple[tuple[int, ...], Candidate]


def choose(guest: GuestId, scored: Sequence[Scored], top: int) -> tuple[Candidate, ...]:
    """The candidates in the order in which to try them: the `top` best by a hash of guest and host, then the others by score.

    The hash alone never puts a host without an overhead pool before one with it (the first part of the score). Ties go by name.
    """
    ordered = sorted(scored, key=lambda one: (one[0], one[1].name, one[1].host))
    few = [one for one in ordered[:top] if one[0][0] == ordered[0][0][0]]
    first = sorted(few, key=lambda one: _hash(guest, one[1].host))
    return tuple(candidate for _, candidate in (*first, *ordered[len(few) :]))


def _hash(guest: GuestId, host: str) -> bytes:
    return blake2b(f"{guest} {host}".encode(), digest_size=8).digest()

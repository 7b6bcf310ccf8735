"""Which of the best hosts is taken: one of the top few, by a hash of the guest's id, so that replicas do not fight over the very best."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

from pinfold.scheduler.model import Candidate

Scored = tuple[tuple[int, ...], Candidate]


def choose(guest: str, scored: Sequence[Scored], top: int) -> tuple[Candidate, ...]:
    """The candidates in the order in which they are to be tried: the `top` best by hash of guest and host, then the others by score.

    A host without an overhead pool is never put before one with it by the hash alone (the score's first part). Ties go by name.
    """
    ordered = sorted(scored, key=lambda one: (one[0], one[1].name, one[1].host))
    few = [one for one in ordered[:top] if one[0][0] == ordered[0][0][0]]
    first = sorted(few, key=lambda one: _hash(guest, one[1].host))
    return tuple(candidate for _, candidate in (*first, *ordered[len(few) :]))


def _hash(guest: str, host: str) -> bytes:
    return blake2b(f"{guest} {host}".encode(), digest_size=8).digest()

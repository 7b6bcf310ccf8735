"""What a row of the table of claims holds: its columns from a claim, and the claim from its columns. `claims` stores them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

import sqlalchemy as sa
from msgspec import Struct

from pinfold.core.encoding import decoder, encode
from pinfold.core.fit.answer import Fit
from pinfold.core.fit.written import written
from pinfold.core.identity import ClaimId, GuestId, HostId
from pinfold.store.records import Amounts, ClaimRecord, ClaimRole, ClaimState

_read_amounts = decoder(Amounts)
_read_fit = decoder(Fit)


class IntendedClaim(Struct, frozen=True, kw_only=True):
    """A claim as it is stored while it is `intended`. `shapes` is as in `ClaimRecord`."""

    id: ClaimId
    guest: GuestId
    host: HostId
    amounts: Amounts
    fit: Fit
    role: ClaimRole = ClaimRole.RUNS
    shapes: int = 0


def columns(one: IntendedClaim, seconds: float) -> dict[str, Any]:
    """The columns of a new claim that depend on it, and the `seconds` that its deadline is away."""
    return {"id": one.id, "guest": one.guest, "role": one.role.value, **place(one, seconds)}


def place(one: IntendedClaim, seconds: float) -> dict[str, Any]:
    """The columns of a claim that change when it is redirected."""
    return {"host": one.host, "amounts": amounts_text(one.amounts), "fit": fit_text(one.fit), "shapes": one.shapes, "seconds": seconds}


_MOST_TEXTS: Final = 1024
_made: Final[dict[str, Fit]] = {}
"""The fits of the texts that this process wrote last. Processes that create guests which are alike write the same texts, and read them in
each other's claims.
"""


@lru_cache(maxsize=_MOST_TEXTS)
def fit_text(fit: Fit) -> str:
    """The column of a fit."""
    text = encode(written(fit))
    if not fit.warnings:  # the text has their sentences, too
        if len(_made) >= _MOST_TEXTS:
            _made.clear()
        _made[text] = fit
    return text


@lru_cache(maxsize=1024)
def amounts_text(amounts: Amounts) -> str:
    """The column of what a claim takes."""
    return encode(amounts)


@lru_cache(maxsize=1024)
def _amounts(text: str) -> Amounts:
    return _read_amounts(text, "claim.amounts")


# About 2 KiB each. The index keeps the live ones too; only the number of dead ones must stay small.
@lru_cache(maxsize=16384)
def _fit(text: str) -> Fit:
    return _made.get(text) or _read_fit(text, "claim.fit")


def record(row: Mapping[str, Any] | sa.RowMapping) -> ClaimRecord:
    """The claim of a row, from a result or from JSON that PostgreSQL has made of it."""
    return ClaimRecord(
        id=row["id"],
        guest=row["guest"],
        host=row["host"],
        state=ClaimState(row["state"]),
        deadline=row["deadline"],
        amounts=_amounts(row["amounts"]),
        fit=_fit(row["fit"]),
        revision=row["revision"],
        role=ClaimRole(row["role"]),
        held=row["held"],
        shapes=row["shapes"],
        created=row["created"],
        updated=row["updated"],
    )

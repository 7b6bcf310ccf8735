"""`PackedClaims`: the claims of one host in little memory, for the many hosts of a fleet that nothing happens on. They read like a tuple.

A claim takes some 260 bytes beside its fit, most of them for two ids as text. Packed it takes 40: both ids in 32 bytes, and the fit, which
other hosts share. Each `Claim` is made anew whenever it is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, overload

from pinfold.core.fit.answer import Fit
from pinfold.core.host import Claim
from pinfold.core.identity import ClaimId, GuestId

_UUID: Final = 36
"""Characters of an id: 32 digits and four dashes."""
_DASHES: Final = (8, 13, 18, 23)


class PackedClaims(Sequence[Claim]):
    """Equal to the tuple of the same claims. `ids` are 16 bytes of each: those of all guests, then those of all claims; `fits` are in the
    same order.
    """

    __slots__ = ("_fits", "_ids")

    def __init__(self, ids: bytes, fits: tuple[Fit, ...]) -> None:
        self._ids = ids
        self._fits = fits

    def __len__(self) -> int:
        return len(self._fits)

    @overload
    def __getitem__(self, at: int) -> Claim: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[Claim, ...]: ...
    def __getitem__(self, at: int | slice) -> Claim | tuple[Claim, ...]:
        if isinstance(at, slice):
            return tuple(self)[at]
        place = range(len(self))[at]
        starts = (16 * place, 16 * (len(self) + place))
        guest, claim = _texts(b"".join([self._ids[start : start + 16] for start in starts]))
        return Claim(guest=GuestId(guest), fit=self._fits[place], id=ClaimId(claim))

    def __iter__(self) -> Iterator[Claim]:
        ids = _texts(self._ids)
        pairs = zip(ids[: len(self)], ids[len(self) :], self._fits, strict=True)
        return iter([Claim(guest=GuestId(guest), fit=fit, id=ClaimId(claim)) for guest, claim, fit in pairs])

    def __eq__(self, other: object) -> bool:
        return tuple(self) == tuple(other) if isinstance(other, (tuple, PackedClaims)) else NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(self))


def packed(claims: Sequence[Claim]) -> Sequence[Claim]:
    """The same claims, packed. Claims without an id, or with one that is no UUID in its usual form, stay as they are.

    >>> packed(())
    ()
    """
    if not claims or isinstance(claims, PackedClaims):
        return claims
    ids = [claim.guest for claim in claims] + [claim.id or "" for claim in claims]
    text = "".join(ids)
    digits = text.replace("-", "")
    if set(map(len, ids)) != {_UUID} or len(digits) != 32 * len(ids) or {text[dash::_UUID] for dash in _DASHES} != {"-" * len(ids)}:
        return claims
    try:
        found = bytes.fromhex(digits)
    except ValueError:
        return claims
    # Capital letters and blanks would be lost.
    return PackedClaims(found, tuple([claim.fit for claim in claims])) if found.hex() == digits else claims


def _texts(ids: bytes) -> list[str]:
    text = ids.hex()
    return [
        f"{text[at : at + 8]}-{text[at + 8 : at + 12]}-{text[at + 12 : at + 16]}-{text[at + 16 : at + 20]}-{text[at + 20 : at + 32]}"
        for at in range(0, len(text), 32)
    ]

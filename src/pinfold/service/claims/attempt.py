"""`Attempt`: one create in progress."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from msgspec import Struct

from pinfold.accounting.resources import Amounts
from pinfold.core.fit.answer import Fit
from pinfold.core.fit.demand import Demand
from pinfold.core.identity import ClaimId, HostId
from pinfold.core.reasons import ReasonCode
from pinfold.scheduler.decide import Conditions
from pinfold.scheduler.model import Candidate, HostRefusal, HostSearch
from pinfold.store.claim_rows import IntendedClaim
from pinfold.store.host_news import Seen
from pinfold.store.records import ClaimRecord

_OVERTAKEN: Final = frozenset({ReasonCode.STALE, ReasonCode.PLACEMENT})


class Foreseen(Struct, frozen=True, kw_only=True):
    """The fits that guests get on a host one after another, from a revision on: this one the first of them, or if others like it come there
    before, a later one.
    """

    host: HostId
    revision: int
    fits: tuple[Fit, ...]

    def on(self, host: HostId, revision: int) -> tuple[Fit, ...]:
        """The fits, if they are of that host at that revision."""
        return self.fits if (host, revision) == (self.host, self.revision) else ()


@dataclass(slots=True)
class Attempt:
    """One create in progress: what was written so far, and what refused. `intent` is what the claim row says until it is booked.

    `conditions` and `candidates` are of a first decision (`Claimer.begin`) that nothing was tried on yet; `seen` is what the first host was
    at when the claim row for it was written (`Claimer.store`). `beside` are the claims that others intended on a host when the guest was
    decided beside them, `foreseen` what it gets beside others that are like it.
    """

    wanted: HostSearch
    demand: Demand
    conditions: Conditions | None = None
    candidates: tuple[Candidate, ...] = ()
    claim: ClaimId | None = None
    intent: IntendedClaim | None = None
    seen: Seen | None = None
    host: HostId | None = None
    booked: Amounts = ()
    shapes: int = 0
    overtaken: int = 0
    tried: dict[HostId, HostRefusal] = field(default_factory=dict)
    beside: dict[HostId, tuple[ClaimRecord, ...]] = field(default_factory=dict)
    foreseen: Foreseen | None = None

    def ask_again(self) -> None:
        """Drop the refusals that only say that others were faster: those may have released the host since."""
        self.tried = {host: told for host, told in self.tried.items() if not {one.code for one in told.no_fit.reasons} <= _OVERTAKEN}

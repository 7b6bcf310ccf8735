"""What comes of an attempt to claim a host: a held claim, or every host's refusal."""

from __future__ import annotations

from msgspec import Struct

from pinfold.core.fit.answer import Fit
from pinfold.core.identity import ClaimId, GuestId, HostId
from pinfold.scheduler.model import HostRefusal


class Claimed(Struct, frozen=True, kw_only=True):
    """A held claim. `revision` is the host's revision that the claim made. `refusals` are the hosts tried before, in that order."""

    claim: ClaimId
    guest: GuestId
    host: HostId
    name: str
    revision: int
    fit: Fit
    refusals: tuple[HostRefusal, ...] = ()


class Refused(Struct, frozen=True, kw_only=True):
    """No host takes the guest; holds every host's reasons, by name. Nothing is left of the attempt."""

    guest: GuestId
    refusals: tuple[HostRefusal, ...]
    considered: int
    """How many hosts were asked. It exceeds the number of refusals in a fleet too large to give each host's reasons."""
    registered: int = 0
    """How many hosts there are. Some are not asked: the request rules them out, or the guest's start failed there."""

    def sentence(self) -> str:
        """One line with all reasons, as the guest's fault shows it."""
        if not self.considered:
            if not self.registered:
                return "No host is registered"
            every = "The one registered host" if self.registered == 1 else f"None of the {self.registered} registered hosts"
            return f"{every} may {'not ' if self.registered == 1 else ''}take the guest"
        told = "; ".join(refusal.sentence() for refusal in self.refusals)
        more = self.considered - len(self.refusals)
        return f"No host takes the guest: {told}" + (f"; and {more} more" if more else "")

"""`Foresight`: fits for a guest that others like it may overtake between its decision and its arrival. `claim` says when they are used."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from pinfold.accounting.resources import Amounts, amounts
from pinfold.core.fit.answer import Fit
from pinfold.scheduler.decide import following
from pinfold.scheduler.index import Entry, Index
from pinfold.scheduler.model import Candidate
from pinfold.service.claims import newest
from pinfold.service.claims.attempt import Attempt, Foreseen
from pinfold.store.claim_rows import IntendedClaim
from pinfold.store.host_news import Seen

MOST_EXPECTED: Final = 8
"""For so many claims of others that come between a decision and the guest's arrival there is a fit beforehand."""


class Foresight:
    """Of one process. Safe to share between threads: what they count of each other's claims need not be exact."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._expected = 0
        """How many claims of others came to a host lately between a decision and the guest's arrival."""

    def intended(self, newer: int) -> None:
        """Note how many came between a decision and the claim row."""
        self._expected = min(MOST_EXPECTED, max(newer, self._expected - 1))

    def arrived(self, others: int) -> None:
        """Note how many came between a decision and the arrival."""
        self._expected = max(self._expected, min(MOST_EXPECTED, others))

    def later_fits(self, attempt: Attempt, best: Candidate, intent: IntendedClaim) -> tuple[Fit, ...]:
        """The fits that the guest gets if others like it are claimed on the host before it, as many as were of late. If that is what
        happens, the claim row need not be redirected.
        """
        entry = self._index.get(best.host) if self._expected and best.fit.taken_mask else None
        if entry is None:  # or nothing in the fits of such guests, which float, says how many they are
            return ()
        return self._followed(attempt, entry, best, intent.amounts)[1:]

    def fits_again(self, attempt: Attempt, entry: Entry, fit: Fit) -> tuple[Fit, ...]:
        """The fits, its own first, of a guest that is fitted again on a host that has changed. Raises `StaleError`."""
        (found,) = newest.fits_on(self._index, entry, [(attempt, fit, attempt.booked)])
        best = Candidate(host=entry.id, name=entry.name, revision=entry.state.revision, fit=found)
        return self._followed(attempt, entry, best, attempt.booked)

    def _followed(self, attempt: Attempt, entry: Entry, best: Candidate, booked: Amounts) -> tuple[Fit, ...]:
        """The candidate's fit and those that follow it, as long as they take the same amounts."""
        found = following(self._index, attempt.demand, best, 2 + self._expected)
        for place, fit in enumerate(found):
            if amounts(fit, entry.state) != booked:
                return found[:place]
        return found


def note_row(
    attempt: Attempt, intent: IntendedClaim, later: tuple[Fit, ...], seen: Seen, candidates: tuple[Candidate, ...]
) -> tuple[Candidate, ...]:
    """The hosts to try after the claim row was written for the first of them, with `later` fits for guests like it that come before. The
    guest has the fit of the row, and if there was one for all that came, it arrives by these fits.
    """
    fits, best = (intent.fit, *later), candidates[0]
    attempt.intent = replace(intent, fit=fits[min(seen.newer, len(later))])
    if not later or seen.news is not None:
        return candidates
    attempt.foreseen = Foreseen(host=best.host, revision=best.revision, fits=fits)
    return (replace(best, fit=attempt.intent.fit), *candidates[1:])

"""What a host is by now, read inside a claimer's transaction: other processes claim there, too, and the index hears of them late.

An intention is decided beside those of others (`beside`), so that two processes seldom want the same pCPUs. A claim is held at whatever
revision the host has, if the engine finds a fit of the same amounts there (`fits`), or if it was decided beside all that has come since.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from msgspec import Struct
from msgspec.structs import replace

from pinfold.accounting.resources import Amounts, amounts
from pinfold.core.fit.answer import Fit
from pinfold.core.host import Claim
from pinfold.core.host_features import needed
from pinfold.core.identity import HostId
from pinfold.scheduler.decide import Conditions, closed
from pinfold.scheduler.index import Entry, Index
from pinfold.scheduler.index import beside as with_claims
from pinfold.scheduler.index import entry as entry_of
from pinfold.service.claims.amend import StaleError
from pinfold.service.claims.attempt import Attempt
from pinfold.store import host_news, hosts
from pinfold.store.host_news import HostNews
from pinfold.store.records import ClaimRecord


class Beside(Struct, frozen=True, kw_only=True, eq=False):
    """A host as if the claims were held that others intend there. `claims` are those; others that do not fit there are left out."""

    entry: Entry
    claims: tuple[ClaimRecord, ...]


def beside(connection: sa.Connection, index: Index, host: HostId, attempt: Attempt, news: HostNews | None) -> Beside | None:
    """The host with what others intend to claim there, by now; None if it has to be read again, or is gone. It is read unless there is
    `news` already.
    """
    known = index.get(host)
    if news is None and known is not None:
        news = host_news.since(connection, host, known.state.revision)
    found = None if news is None else index.catch_up(host, news)
    return None if news is None or found is None else with_intended(index, found, attempt, news)


def with_intended(index: Index, entry: Entry, attempt: Attempt, news: HostNews) -> Beside:
    """The host with what others than this attempt's claim intend there. A claim whose pCPUs are held by now gets those that the attempt's
    guest would get, if it takes the same amounts.
    """
    held = {one.id for one in entry.state.ledger.claims}
    others = [one for one in news.intended if one.id != attempt.claim and one.id not in held]
    found, kept = with_claims(entry, others)
    kind = index.kinds.of(attempt.demand)
    for one in others:
        if one not in kept:
            fit = kind.search(found.counts, found.strategy)
            if fit is not None and amounts(fit, found.state) == one.amounts:
                found, _ = with_claims(found, [replace(one, fit=fit)])
    return Beside(entry=found, claims=kept)


def fits(connection: sa.Connection, index: Index, host: HostId, revision: int, wanted: Sequence[tuple[Attempt, Fit, Amounts]]) -> list[Fit]:
    """The fits of these guests on a host that is at `revision` by now, as `fits_on`. The caller's transaction has locked the host's row.
    Raises as `fits_on`.
    """
    return fits_on(index, _entry(connection, index, host, revision), wanted)


def fits_on(index: Index, entry: Entry, wanted: Sequence[tuple[Attempt, Fit, Amounts]]) -> list[Fit]:
    """The fits of these guests on a host, one beside the other, in the cells and of the amounts of those that were decided earlier.

    Raises `StaleError` when the host takes one of them no more, or not for those amounts.
    """
    counts, found = entry.counts, []
    for attempt, fit, booked in wanted:
        search = attempt.wanted
        if closed(entry, Conditions(networks=search.networks, features=needed(search.request))) is not None:
            raise StaleError
        cell = counts.frame.position_of.get(fit.cells[0].host_cell, -1) if len(fit.cells) == 1 else -1
        newer = index.kinds.of(attempt.demand).search(counts, entry.strategy, cell)
        if newer is None or amounts(newer, entry.state) != booked:
            raise StaleError
        found.append(newer)
        counts = counts.claimed(Claim(guest=search.guest, fit=newer, id=attempt.claim))
    return found


def _entry(connection: sa.Connection, index: Index, host: HostId, revision: int) -> Entry:
    """The host at that revision, which the index has from now on, too."""
    known = index.get(host)
    if known is not None and known.state.revision == revision:
        return known
    news = None if known is None else host_news.since(connection, host, known.state.revision)
    found = None if news is None else index.catch_up(host, replace(news, revision=revision))
    if found is not None:
        return found
    read = hosts.ledgers(connection, (host,))
    if not read:
        raise StaleError
    made = entry_of(read[0])
    made = replace(made, counts=made.counts.at(revision))
    index.put([made])
    return made

"""Amend the claims of a host whose pools have changed, so that its running guests follow. `core.pool_change` decides where to.

The host's agent gets the amended claims with its orders, and moves the threads. Pins stay, so no pCPU changes its owner. If the process
dies between two guests, the healer goes on. A guest that its user stopped gets a place by the pools of its next start (`replace`).
"""

from __future__ import annotations

import logging

from pinfold.accounting.placement_responses import OverCapacity
from pinfold.core.errors import Conflict, InvalidRequest, Unavailable
from pinfold.core.fit.answer import NoFit
from pinfold.core.host import Claim
from pinfold.core.identity import HostId
from pinfold.core.pool_change import follow
from pinfold.service.claims.amend import TRIES, Amender, StaleError
from pinfold.service.providers import Providers
from pinfold.store import guests, hosts
from pinfold.store.database import Database
from pinfold.store.records import Desired

_log = logging.getLogger(__name__)


class Follower:
    """Lets the claims of a host follow its pools. Safe to share between threads and processes."""

    def __init__(self, database: Database, amender: Amender, providers: Providers) -> None:
        self._database = database
        self._amender = amender
        self._providers = providers

    def sync_and_follow_or_later(self, host: HostId) -> None:
        """The host's agent has reported a change that is stored: make Placement equal to it, then let the host's guests follow its pools.

        A failure is logged and left to the healer.
        """
        self._providers.sync_or_later(host)
        self.follow_or_later(host)

    def follow_or_later(self, host: HostId) -> None:
        """Let the host's guests follow its pools. A failure is logged and left to the healer. A guest that cannot follow keeps its claim;
        the log says why.
        """
        try:
            for sentence in self.follow(host):
                _log.warning("host %s: %s", host, sentence)
        except (Unavailable, Conflict, InvalidRequest) as error:
            self._providers.leave_to_healer()
            _log.warning("the guests of host %s follow its pools later: %s", host, error)

    def follow(self, host: HostId) -> tuple[str, ...]:
        """Amend every held claim of the host whose threads the pools of today move; then Placement offers what is still held and no more.

        Returns a sentence for each guest that cannot follow; its claim stays. Does nothing while the host is away. Raises `Conflict` if the
        host changes `TRIES` times in a row before any guest has followed, `Unavailable`.
        """
        followed: set[str] = set()
        tries = TRIES
        while tries:
            before = len(followed)
            try:
                left = self._pass(host, followed)
            except StaleError:
                tries = TRIES if len(followed) > before else tries - 1
                continue
            if followed:
                self._providers.sync_or_later(host)
            return tuple(f"guest {guest}: its threads stay where they are: {why}" for guest, why in sorted(left.items()))
        raise Conflict(f"host {host} changed {TRIES} times while its guests followed its pools; the healer goes on")

    def _pass(self, host: HostId, followed: set[str]) -> dict[str, str]:
        """Read the host once, and amend its guests' claims one after another, each decided on the host with those before it.

        Adds the guests that follow to `followed`, and returns why others cannot. Raises `StaleError` if somebody else changes the host.
        """
        left: dict[str, str] = {}
        with self._database.read() as connection:
            orders = tuple(order for order in guests.orders(connection, host) if order[0].desired is Desired.RUNNING)
            ledgers = hosts.ledgers(connection, (host,)) if orders else ()
        if not ledgers or not ledgers[0].record.up:
            return left
        state = ledgers[0].state
        for guest, claim in orders:
            found = follow(Claim(guest=claim.guest, fit=claim.fit, id=claim.id), guest.request, state)
            if isinstance(found, NoFit):
                left[claim.guest] = found.sentence()
            elif found.fit != claim.fit:
                try:
                    state = self._amender.amend(claim, state, found.fit, lambda *_: None, moved=False)
                    followed.add(claim.guest)
                except OverCapacity as error:
                    left[claim.guest] = str(error)
                except Conflict as error:  # of this guest alone: the others go on
                    self._providers.leave_to_healer()
                    left[claim.guest] = str(error)
        return left

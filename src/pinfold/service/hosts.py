"""What agents report about their hosts, and what operators do with hosts. `providers` writes hosts to Placement."""

from __future__ import annotations

from collections.abc import Iterable

from pinfold.accounting.client import Placement
from pinfold.core.adoption import Takeover
from pinfold.core.drift.written import FindingsReport
from pinfold.core.encoding import encode
from pinfold.core.errors import Conflict, InvalidRequest
from pinfold.core.history import HistoryAnswer
from pinfold.core.identity import HostId
from pinfold.core.pools import PoolOrder, build_pools
from pinfold.scheduler.index import Index
from pinfold.service.claims.follow import Follower
from pinfold.service.claims.release import Releaser
from pinfold.service.guests.lifecycle import Lifecycle
from pinfold.service.presence import Presence
from pinfold.store import claims, findings, guests, history, hosts
from pinfold.store.database import Database
from pinfold.store.guest_filter import GuestFilter
from pinfold.store.hosts import Heard
from pinfold.store.records import NOTHING, ClaimState, Desired, HostRecord, HostReport


class OtherHost(InvalidRequest):
    """An agent reports a host of another name than the one that its token is for."""


class Hosts:
    """The service's hosts. Safe to share between threads; any number of processes may use one on the same database."""

    def __init__(
        self,
        database: Database,
        placement: Placement,
        index: Index,
        *,
        follower: Follower,
        releaser: Releaser,
        lifecycle: Lifecycle,
        presence: Presence,
    ) -> None:
        self._database = database
        self._placement = placement
        self._index = index
        self._follower = follower
        self._releaser = releaser
        self._lifecycle = lifecycle
        self._presence = presence

    def add(self, host: HostId, name: str, token_hash: str) -> HostRecord:
        """Register a host whose agent has not reported yet. Raises `Conflict` when the name exists."""
        with self._database.write() as connection:
            return hosts.register(connection, host_id=host, name=name, report=NOTHING, token_hash=token_hash, lease_seconds=-1.0)

    def renew_token(self, host: HostId, token_hash: str) -> None:
        """Replace the token of a host's agent; the old one becomes invalid."""
        with self._database.write() as connection:
            hosts.replace_token(connection, host, token_hash)
        self._presence.forget(host)

    def remove(self, host: HostId) -> None:
        """Forget a host without claims, and its provider. Raises `Conflict` while either is in use; then both stay as they are."""
        with self._database.write() as connection:
            hosts.remove(connection, host)
            # Last, but before the commit: a provider that must be created again lacks what operators had set on it.
            self._placement.delete_provider(host)
        self._index.drop((host,))
        self._presence.forget(host)

    def report(self, host: HostId, name: str, report: HostReport, *, lease_seconds: float) -> Heard:
        """Store what a host's agent reports of it, which also counts as a heartbeat.

        A change that raises the revision reaches Placement before this returns, or as soon as Placement is back; the claims of
        guests whose threads it moves are amended. A host that is back and has not changed costs Placement nothing: if it differs there,
        the healer finds out, as for any other host.

        Raises `OtherHost`, and `InvalidRequest` for an impossible host.
        """
        with self._database.write() as connection:
            heard = hosts.report(connection, host, report, lease_seconds=lease_seconds)
            if heard.name != name:
                raise OtherHost(f"This token is of host {heard.name}, not of {name[:255]}.")
        if heard.changed:
            self._follower.sync_and_follow_or_later(host)
        elif not heard.was_up:  # its guests could not follow while it was away
            self._follower.follow_or_later(host)
        return heard

    def heartbeat(self, host: HostId, *, lease_seconds: float) -> Heard:
        """Extend the lease of a host that has not changed."""
        with self._database.write() as connection:
            return hosts.heartbeat(connection, host, lease_seconds)

    def end_lease(self, host: HostId) -> None:
        """Its agent ends: the host is down from now on. Its guests go on."""
        with self._database.write() as connection:
            hosts.expire(connection, host)

    def keep_findings(self, host: HostId, report: FindingsReport) -> None:
        """Store what the last audit of a host found, in place of what the one before it found."""
        with self._database.write() as connection:
            findings.keep(connection, host, report)

    def ask_history(self, host: HostId, seconds: int) -> int:
        """Ask a host's agent for its samples of the last so many seconds. Returns the number of the question."""
        with self._database.write() as connection:
            return history.ask(connection, host, seconds)

    def ask_histories(self, wanted: Iterable[HostId], seconds: int, *, every_seconds: float) -> None:
        """Ask the agents of these hosts for their samples, unless they were asked within `every_seconds`. Hosts may be gone."""
        with self._database.read() as connection:
            due = history.due(connection, wanted, seconds, every_seconds)
        if not due:
            return
        with self._database.write() as connection:
            for host in sorted(set(due) & {one.id for one in hosts.marks(connection)}):
                history.ask(connection, host, seconds)

    def keep_history(self, host: HostId, answer: HistoryAnswer) -> None:
        """Keep the samples with which a host's agent answers, for those who asked."""
        with self._database.write() as connection:
            history.answer(connection, host, answer.number, encode(answer.history))

    def enable(self, host: HostId) -> None:
        """Let a disabled host take new guests again."""
        with self._database.write() as connection:
            hosts.enable(connection, host)

    def disable(self, host: HostId, reason: str) -> None:
        """Let a host take no new guests; those that it has stay."""
        with self._database.write() as connection:
            hosts.disable(connection, host, reason)

    def order_pools(self, host_id: HostId, wanted: PoolOrder | None) -> None:
        """Have a host's agent use these pools, or with None those of its own files. Running guests follow when the agent reports them.

        Raises `InvalidRequest` for pools that the host cannot have, `Conflict` while its agent has not reported it.
        """
        with self._database.write() as connection:
            known = hosts.get(connection, host_id)
            if wanted is not None:
                if not known.report.topology.cells:
                    raise Conflict(f"host {known.name} is not known yet: its agent has not reported its pCPUs")
                build_pools(wanted.config, known.report.topology)
            hosts.order_pools(connection, host_id, wanted)

    def fence(self, host_id: HostId) -> tuple[str, ...]:
        """An operator says that the host is powered off: release everything on it but adopted guests, and remove its unwanted guests.

        Returns the ids of the guests that were on it and are still wanted. They are in error, have no host, and can be deleted. Raises
        `Conflict` while the host's lease runs.
        """
        with self._database.write() as connection:
            hosts.fence(connection, host_id)
            name = hosts.get(connection, host_id).name
        with self._database.read() as connection:
            there = guests.page(connection, GuestFilter(host=host_id))
            held = claims.of_host(connection, host_id, ClaimState.HELD, ClaimState.RELEASING)
        # An adopted guest can run nowhere else, and its agent could not make its domain anew.
        kept = {guest.id for guest in there if guest.adopted and guest.desired is not Desired.ABSENT}
        given_back = {guest.id for guest in there if guest.takeover is Takeover.RELEASE}
        for claim in held:
            if claim.guest in kept:
                continue
            self._releaser.release(claim.guest, claim=claim.id, bury=claim.guest not in given_back)
        lost = []
        for guest in there:
            if guest.desired is Desired.ABSENT:
                self._lifecycle.remove_if_unwanted(guest.id)
                continue
            if guest.id in kept:
                continue
            if self._lifecycle.displace(guest, host_id, task="") is None:
                continue
            self._lifecycle.fail(guest, 500, f"The host {name} was fenced while the guest was on it; what it held is released.")
            lost.append(guest.id)
        return tuple(lost)

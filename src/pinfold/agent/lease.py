"""The lease that keeps the host up at the service, and whether the agent may prolong it. Pure; the report's content is in `report`.

Polls prolong it as long as the service says so in their answers. A heartbeat is sent where they do not: at the beginning, after a silence,
and when a poll is not answered in time.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from pinfold.agent.wire import Renewal, Welcome
from pinfold.store.records import HostReport

SPEAKS: Final = 0.25
"""The agent sends after this share of its lease, so that one late or lost heartbeat does not end the lease."""
_OVERDUE: Final = 0.4
"""After this share of the lease, a heartbeat is sent although the agent's turn has not come to it."""
_POLL: Final = 1 / 3
"""A poll waits for this share of the lease. If it is a sign of life, its answer proves a lease that began when it was sent. If it is none,
because the host could not be looked at, the next one soon may be.
"""
_LONG_POLL: Final = 2 / 3
"""It waits for this share if the service has told the renewal of the poll before it early, while that one still waited."""
_POLL_LATE: Final = 0.75
"""While polls prolong the lease, a heartbeat is sent after this share of it: no poll since then is known to have renewed it."""
_LONGEST_POLL: Final = 25.0
_NEVER: Final = float("-inf")


class Sight(Struct, frozen=True, kw_only=True):
    """Whether the last look at the host succeeded, and when the present one began (None if there is none)."""

    began: float | None = None
    clear: bool = False

    def fresh(self, seconds: float, now: float) -> bool:
        """Whether the last look succeeded, and no look has been running for longer than that."""
        return self.clear and (self.began is None or now - self.began < seconds)

    def blind(self, seconds: float, now: float) -> bool:
        """Whether the last look failed, or the present one has been running for longer than that. The first look is neither blind nor
        fresh until it has ended or taken that long.
        """
        return not self.clear if self.began is None else now - self.began >= seconds


class Message(Struct, frozen=True, kw_only=True):
    """A message of the lease that is under way: the host's report, or a heartbeat (None). `in_turn` says that the turn waits for it."""

    at: float
    report: HostReport | None
    in_turn: bool


class Lease(Struct, frozen=True, kw_only=True):
    """What the service knows about the host, and until when the host counts as up. At most one message is under way.

    `reported` is the acknowledged report, None when that is not known; `digest` is the service's digest of it, as told in the answer at
    `told`. `polls`: the last poll has prolonged the lease. `early` is when the last poll was sent whose renewal was told while it waited.
    """

    reported: HostReport | None = None
    digest: str = ""
    spoke: float = _NEVER
    seconds: float = 6.0
    sent: Message | None = None
    told: float = _NEVER
    polls: bool = False
    early: float | None = None

    def silent(self, now: float) -> bool:
        """Whether the service has not heard from the agent for the length of a lease: the host counts as down, or may."""
        return now - self.spoke > self.seconds

    def due(self, now: float) -> bool:
        """Whether the turn must send a heartbeat."""
        return now - self.spoke >= self.seconds * (_POLL_LATE if self.polls else SPEAKS)

    def overdue(self, now: float) -> bool:
        """Whether a heartbeat must be sent although the turn has not sent it.

        After a silence only the turn ends it: the host may have been fenced meanwhile, so the agent must look at it first.
        """
        idle = self.sent is None and self.reported is not None
        return idle and self.seconds * (_POLL_LATE if self.polls else _OVERDUE) <= now - self.spoke <= self.seconds

    def may_poll(self, sight: Sight, now: float) -> bool:
        """Whether a poll may be a sign of life: under the same conditions as a heartbeat beside the turn."""
        return self.reported is not None and not self.silent(now) and sight.fresh(self.seconds, now)

    def reports_first(self, sight: Sight, now: float) -> bool:
        """Whether the next poll waits until the host counts as up: each turn reads the orders anew until then. If the host cannot be looked
        at, no turn may come to that, and what else is in the orders is polled all the same.
        """
        return self.silent(now) and not sight.blind(self.seconds, now)

    def poll_seconds(self, before: float, *, alive: bool) -> float:
        """For how long a poll waits for news; `before` is when the one before it was sent."""
        return min(_LONGEST_POLL, self.seconds * (_LONG_POLL if alive and self.early == before else _POLL))


def send(lease: Lease, message: Message) -> Lease:
    """The lease while a message is under way. Until a report is answered, the agent does not know which one the service keeps."""
    return replace(lease, sent=message, reported=lease.reported if message.report is None else None)


def unanswered(lease: Lease) -> Lease:
    """The lease after its message was not answered."""
    return replace(lease, sent=None)


def answered(lease: Lease, message: Message, welcome: Welcome, now: float) -> Lease:
    """The lease after its message was answered now. It runs from when the message was sent.

    When the answer to a heartbeat shows that the service keeps another report, an earlier one arrived after the last one: `reported` is
    then None, and the report must be sent again.
    """
    reported = lease.reported if message.report is None else message.report
    digest = lease.digest if message.report is None else welcome.report
    return Lease(
        reported=reported if digest == welcome.report else None,
        digest=digest,
        spoke=max(lease.spoke, message.at),
        seconds=welcome.lease_seconds,
        told=now,
        polls=lease.polls,
        early=lease.early,
    )


def unproven(lease: Lease) -> Lease:
    """The lease after a poll failed: it lasts as long as it is known to, and heartbeats prolong it from now on."""
    return replace(lease, polls=False, early=None)


def polled(lease: Lease, asked: float, renewal: Renewal | None) -> Lease:
    """The lease after a poll that was a sign of life at `asked` was answered. A renewal that was told early still counts."""
    if renewal is None:
        return replace(lease, polls=lease.early == asked)
    return _renewed(lease, asked, renewal)


def renewed_early(lease: Lease, asked: float, renewal: Renewal) -> Lease:
    """The lease after the service has told that a poll that was a sign of life at `asked`, and that goes on waiting, has renewed it."""
    return replace(_renewed(lease, asked, renewal), early=asked)


def _renewed(lease: Lease, asked: float, renewal: Renewal) -> Lease:
    """The lease, which runs from when the poll was sent.

    The service may have kept an older report when the poll renewed the lease, so its digest counts only for a poll that was sent after the
    last answer that named one.
    """
    other = asked >= lease.told and renewal.report != lease.digest
    return replace(
        lease,
        reported=None if other else lease.reported,
        spoke=max(lease.spoke, asked),
        seconds=renewal.lease_seconds,
        polls=True,
    )

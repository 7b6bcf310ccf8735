"""What the scheduler is asked and what it answers. How it decides does not belong here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pinfold.core.fit.model import Fit, NoFit, Strategy
from pinfold.core.request.model import GuestRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerSettings:
    """The scheduler's options.

    `claim_seconds` is how long a claim may stay intended before the healer takes it for dead: longer than Placement's slowest answer.
    The index looks for changed hosts at most every `refresh_seconds`, at traits and aggregates every `traits_seconds`.
    `tried` hosts are fitted exactly for one decision (more only if those refuse), and one of the `top` best is taken.
    """

    claim_seconds: float = 60.0
    refresh_seconds: float = 0.5
    traits_seconds: float = 3.0
    strategy: Strategy = Strategy.SPREAD
    """Whether guests go to full or to empty hosts, where overhead pool and fragmentation leave a choice."""
    tried: int = 8
    top: int = 3
    late_seconds: float = 120.0
    """How long an abandoned claim is remembered, and its consumer looked at again."""


DEFAULT_SETTINGS: Final = SchedulerSettings()


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A guest (its id, already stored) that wants a host.

    `hosts`, where given, are the only host ids allowed; `exclude` are never; `member_of` are uuids of Placement aggregates, of one of which
    the host must be a member.
    """

    guest: str
    request: GuestRequest
    hosts: frozenset[str] | None = None
    exclude: frozenset[str] = frozenset()
    member_of: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class HostRefusal:
    """Why one host, at one revision, does not take a guest."""

    host: str
    name: str
    revision: int
    no_fit: NoFit

    def sentence(self) -> str:
        """Such as `c07: overhead pool has 40 of 90 millicpu free`."""
        return f"{self.name}: {self.no_fit.sentence()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A host that takes a guest, at one revision, and how. Candidates are ordered best first."""

    host: str
    name: str
    revision: int
    fit: Fit


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What would happen: the hosts that would take the guest, best first, and why the others would not, by name. Nothing is claimed."""

    candidates: tuple[Candidate, ...]
    refusals: tuple[HostRefusal, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """A held claim: `revision` is the host's that it made. `refusals` are the hosts that were tried before, in that order."""

    claim: str
    guest: str
    host: str
    name: str
    revision: int
    fit: Fit
    refusals: tuple[HostRefusal, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A stopped guest's claim that was moved on its host (by name), at the revision that it made: its place before and after, in words,
    and why the one before was lost.
    """

    host: str
    revision: int
    before: str
    after: str
    because: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """No host takes the guest; every host's reasons, by name. Nothing is left of the attempt."""

    guest: str
    refusals: tuple[HostRefusal, ...]
    considered: int
    """How many hosts were asked; more than the refusals where the fleet is too large to tell each host's reasons."""
    registered: int = 0
    """How many hosts there are. Some are not asked: the request rules them out, or the guest's start failed there."""

    def sentence(self) -> str:
        """All of it in one line, as the guest's fault shows it."""
        if not self.considered:
            if not self.registered:
                return "No host is registered"
            every = "The one registered host" if self.registered == 1 else f"None of the {self.registered} registered hosts"
            return f"{every} may {'not ' if self.registered == 1 else ''}take the guest"
        told = "; ".join(refusal.sentence() for refusal in self.refusals)
        more = self.considered - len(self.refusals)
        return f"No host takes the guest: {told}" + (f"; and {more} more" if more else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Healed:
    """What one run of the healer did; every count is of claims, consumers or providers. `problems` are sentences that need a person."""

    abandoned: int = 0
    emptied: int = 0
    released: int = 0
    restored: int = 0
    synced: int = 0
    interrupted: tuple[str, ...] = ()
    """Guests whose scheduling stopped half-way (their process died): wanted, without a host, nothing left of a claim."""
    problems: tuple[str, ...] = ()

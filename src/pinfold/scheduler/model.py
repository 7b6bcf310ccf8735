"""The scheduler's settings, questions and answers."""

from __future__ import annotations

from enum import Enum
from typing import Final

from msgspec import Struct

from pinfold.core.fit.answer import Fit, NoFit
from pinfold.core.identity import GuestId, HostId
from pinfold.core.request.aggregate_specs import AggregateSpec
from pinfold.core.request.model import GuestRequest
from pinfold.store.records import ClaimRole


class HostStrategy(Enum):
    """`[scheduler] host_strategy`: which of the hosts that take a guest gets it."""

    LEAST_LOSS = "least-loss"
    """the one that loses least of the fleet's common shapes"""
    PACK = "pack"
    """the fullest"""
    SPREAD = "spread"
    """the emptiest"""


class SchedulerSettings(Struct, frozen=True, kw_only=True):
    """The scheduler's options.

    After `claim_seconds` the healer treats an intended claim as dead; it must be longer than Placement's slowest response. The index checks
    for changed hosts at most every `refresh_seconds`, for common shapes a tenth as often, for traits and aggregates every `traits_seconds`.
    One decision fits `tried` hosts exactly (more only if those refuse) and takes one of the `top` best.
    """

    claim_seconds: float = 60.0
    refresh_seconds: float = 0.5
    traits_seconds: float = 3.0
    strategy: HostStrategy = HostStrategy.LEAST_LOSS
    """Which hosts guests go to, where the overhead pool leaves a choice; for PACK and SPREAD fragmentation comes before it, too."""
    tried: int = 8
    top: int = 3
    count_seconds: float = 60.0
    """For `least-loss`, how often the guests are counted for the common shapes."""
    late_seconds: float = 120.0
    """How long an abandoned claim is remembered and its consumer checked again."""


DEFAULT_SETTINGS: Final = SchedulerSettings()


class HostSearch(Struct, frozen=True, kw_only=True):
    """A stored guest that needs a host.

    If given, only the host ids in `hosts` are allowed; those in `exclude` never are. With `member_of` (uuids of Placement aggregates), the
    host must be a member of one of them. It must offer all `networks`, and its aggregates must meet all `aggregates`. `role` is that of the
    claim to make.
    """

    guest: GuestId
    request: GuestRequest
    hosts: frozenset[HostId] | None = None
    exclude: frozenset[HostId] = frozenset()
    member_of: frozenset[str] = frozenset()
    networks: frozenset[str] = frozenset()
    aggregates: tuple[AggregateSpec, ...] = ()
    role: ClaimRole = ClaimRole.RUNS


class HostRefusal(Struct, frozen=True, kw_only=True):
    """Why one host, at one revision, does not take a guest."""

    host: HostId
    name: str
    revision: int
    no_fit: NoFit

    def sentence(self) -> str:
        """Such as `c07: overhead pool has 40 of 90 millicpu free`."""
        return f"{self.name}: {self.no_fit.sentence()}"


class Candidate(Struct, frozen=True, kw_only=True):
    """A host that takes a guest, at one revision, and the fit. Candidates are ordered best first."""

    host: HostId
    name: str
    revision: int
    fit: Fit
    shapes: int = 0
    """The version of the common shapes by which it was chosen; 0 for none."""


class Preview(Struct, frozen=True, kw_only=True):
    """The hosts that would take the guest, best first, and why the others would not, by name. Nothing is claimed."""

    candidates: tuple[Candidate, ...]
    refusals: tuple[HostRefusal, ...]

"""The table of the emulator-thread policies: for each policy and state of a host's overhead pool, one `Rule`.

A rule says where a guest's overhead threads (emulator threads, iothreads, vhost threads) run, what the guest books, and what the host must
have. Dedicated and mixed guests have any policy. A guest without pinned vCPUs has none: its own pCPUs are the shared pool, and its threads
float there. `pool` counts what is booked, and `threads` gives the pCPUs of each thread.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from msgspec import Struct

from pinfold.core.cpuset import CpuSet
from pinfold.core.fit.answer import EmulatorPlacement
from pinfold.core.reasons import ReasonCode
from pinfold.core.request.model import EmulatorPolicy


class PoolState(IntEnum):
    """The overhead pool of a host; the index of a rule in `rules`."""

    NONE = 0
    """none is configured"""
    ONLINE = 1
    """one is configured, and has an online pCPU"""
    OFFLINE = 2
    """one is configured, and all its pCPUs are offline"""


class Rule(Struct, frozen=True, kw_only=True):
    """What one policy means on a host whose overhead pool is in one state.

    `placement` is where the overhead threads run; `sentence` says it, as the predicate of "emulator threads". `books` means that the guest
    books millicpu of the overhead pool. `own_pcpus` counts the dedicated pCPUs that it takes besides those of its vCPUs. `refusal` is why
    such a host takes no guest with the policy, None if it takes some. `realtime_refusal` is the same for a guest whose vCPUs are all
    realtime: its threads have no pCPUs of their own to float over.
    """

    placement: EmulatorPlacement
    sentence: str
    books: bool = False
    own_pcpus: int = 0
    refusal: ReasonCode | None = None
    realtime_refusal: ReasonCode | None = None

    def booked(self) -> str:
        """What a guest with this rule books, for readers."""
        return "its millicpu of the overhead pool" if self.books else "one more dedicated pCPU" if self.own_pcpus else "nothing"

    def needed(self) -> str:
        """What the host must have for the overhead threads of such a guest, for readers."""
        if self.refusal is not None:
            return "the pool online: until then the guest is refused"
        if self.books:
            return "room in the overhead pool"
        if self.own_pcpus:
            return "one more free dedicated pCPU in a cell of the guest"
        return "nothing; a guest whose vCPUs are all realtime is refused"


_OVER_ITS_OWN: Final = "float over their guest's own pCPUs"
_FLOAT: Final = Rule(placement=EmulatorPlacement.FLOAT, sentence=_OVER_ITS_OWN)
_ISOLATED: Final = Rule(
    placement=EmulatorPlacement.ISOLATED, sentence="run on one more pCPU of the dedicated pool, for their guest alone", own_pcpus=1
)

TABLE: Final[dict[EmulatorPolicy, tuple[Rule, Rule, Rule]]] = {
    EmulatorPolicy.UNSET: (_FLOAT, _FLOAT, _FLOAT),
    EmulatorPolicy.SHARE: (
        Rule(placement=EmulatorPlacement.FLOAT, sentence=_OVER_ITS_OWN, realtime_refusal=ReasonCode.NO_OVERHEAD_POOL),
        Rule(
            placement=EmulatorPlacement.POOL,
            sentence="run on that pool, as those of every such guest, and none on the guest's dedicated pCPUs",
            books=True,
        ),
        Rule(
            placement=EmulatorPlacement.POOL,
            sentence="have no pCPU until the pool is online; they never float instead",
            books=True,
            refusal=ReasonCode.OVERHEAD_POOL_OFFLINE,
        ),
    ),
    EmulatorPolicy.ISOLATE: (_ISOLATED, _ISOLATED, _ISOLATED),
}
"""The rules of each policy, by `PoolState`."""

PLACES: Final = {
    EmulatorPlacement.FLOAT: "the guest's own pCPUs",
    EmulatorPlacement.POOL: "the overhead pool",
    EmulatorPlacement.ISOLATED: "a pCPU of their own",
}
"""The pCPUs of each placement, for readers."""


def rules(policy: EmulatorPolicy) -> tuple[Rule, Rule, Rule]:
    """The rules of a policy, by `PoolState`."""
    return TABLE[policy]


def rule(policy: EmulatorPolicy, overhead: CpuSet | None) -> Rule:
    """The rule of a policy on a host with this overhead pool (`Pools.overhead`).

    >>> rule(EmulatorPolicy.SHARE, CpuSet.of(0)).placement.value, rule(EmulatorPolicy.SHARE, None).placement.value
    ('pool', 'float')
    """
    return TABLE[policy][state_of(overhead)]


def state_of(overhead: CpuSet | None) -> PoolState:
    """The state of a host's overhead pool (`Pools.overhead`)."""
    if overhead is None:
        return PoolState.NONE
    return PoolState.ONLINE if overhead else PoolState.OFFLINE


def uses_pool(policy: EmulatorPolicy) -> bool:
    """Whether the overhead threads run on a host's overhead pool where it has one. Then the pool decides if the host takes the guest."""
    return any(one.placement is EmulatorPlacement.POOL for one in TABLE[policy])


def pcpus(placement: EmulatorPlacement, overhead: CpuSet | None, own: CpuSet, alone: CpuSet) -> CpuSet:
    """The pCPUs of the overhead threads with this placement.

    `overhead` is the host's overhead pool. `own` are the guest's own pCPUs: those of its vCPUs that are not realtime, and what its other
    vCPUs float over. `alone` is the pCPU of isolated emulator threads.
    """
    if placement is EmulatorPlacement.ISOLATED:
        return alone
    return overhead or CpuSet() if placement is EmulatorPlacement.POOL else own


def own_pcpus(policy: EmulatorPolicy | None) -> int:
    """The dedicated pCPUs that the overhead threads take on any host, besides those of the vCPUs."""
    return 0 if policy is None else TABLE[policy][PoolState.NONE].own_pcpus


def needs_pinned(policy: EmulatorPolicy) -> bool:
    """Whether a guest with this policy must have pinned vCPUs. Only then is there something to keep the threads away from."""
    return policy is not EmulatorPolicy.UNSET


def needs_ordinary(policy: EmulatorPolicy) -> bool:
    """Whether a guest with this policy must have a vCPU that is not realtime: its threads float over its own pCPUs on every host."""
    return all(one.placement is EmulatorPlacement.FLOAT for one in TABLE[policy])

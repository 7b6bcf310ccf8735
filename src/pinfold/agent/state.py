"""What an agent knows and is doing: the state that `step` turns into the next one. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final

from msgspec import Struct

from pinfold.agent.events import HostFacts, Outcome
from pinfold.agent.lease import Lease, Sight
from pinfold.agent.pace import Attempt
from pinfold.agent.reconcile import Act, Memory, Task
from pinfold.agent.responses import RefusedOrder
from pinfold.agent.shutdowns import Request
from pinfold.agent.story import Stories
from pinfold.agent.wire import GuestReport, InterfaceFailure, Orders
from pinfold.core.drift import Finding
from pinfold.core.fit.answer import Strategy
from pinfold.core.identity import ClaimId, GuestId
from pinfold.core.options import Option
from pinfold.core.pools import PoolConfig, PoolOrder
from pinfold.core.repairs import Book, Counts
from pinfold.core.settings import RepairScope
from pinfold.drivers.port import GuestState, HostGuest
from pinfold.host.survey import Survey

STARTS: Final = (Act.START, Act.RESTART, Act.FINISH, Act.REBOOT, Act.REBUILD)
STARTS_AT_ONCE: Final = 4
"""Only a few guests are started at a time, because starts take turns on a host anyway."""
ANNOUNCE_SECONDS: Final = 10.0
"""How long the first report of the host may take before the process is told that it is missing."""
_NEVER: Final = float("-inf")


class Rules(Struct, frozen=True, kw_only=True):
    """What the agent runs with. `options` are those of the configuration; a SIGHUP changes the pools and their options, nothing else."""

    owner: str
    strategy: Strategy = Strategy.PACK
    any_cell: bool = False
    sweep_seconds: float = 10.0
    shutdown_seconds: float = 60.0
    repair: RepairScope = RepairScope.OFF
    options: tuple[Option, ...] = ()
    pools: PoolConfig = PoolConfig()


class Work(Struct, frozen=True, kw_only=True):
    """The task that is under way for a guest. It waits for others to start first, is performed, and then written down and confirmed.

    `outcome` is set once it was performed, `confirming` while the service is told.
    """

    task: Task
    host_boot: str
    begun: bool = False
    outcome: Outcome | None = None
    confirming: bool = False

    @property
    def sentence(self) -> str:
        """What it is, for sentences in the log."""
        return f"{self.task.act.value} of guest {self.task.guest}"

    @property
    def starting(self) -> bool:
        """Whether it takes one of the few places for starts."""
        return self.begun and self.task.act in STARTS


class FailedStart(Struct, frozen=True, kw_only=True):
    """Why the start for that claim failed. Kept until the service has acknowledged it."""

    claim: ClaimId | None
    failure: str


class FailedMove(Struct, frozen=True, kw_only=True):
    """Why a guest could not follow its claim at that revision."""

    claim: ClaimId
    revision: int
    failure: str


class FailedInterfaces(Struct, frozen=True, kw_only=True):
    """The interfaces that could not be attached or detached as the claim's order at that revision says."""

    claim: ClaimId
    revision: int
    failures: tuple[InterfaceFailure, ...]


class GuestStatus(Struct, frozen=True, kw_only=True):
    """What the agent knows of one guest, and does with it.

    `answered` is the report that the service acknowledged last, None when that is not known. A report without an answer may still have been
    stored, or may be stored later, after a newer one. The service's knowledge is then unknown: the next report is sent, and, once it
    has been acknowledged, the newest is sent again at the next sweep (`unsure`).

    `not_paused` says why the guest could not be paused as its order says. It is not tried again until the order changes, and nor are
    `failed_interfaces`.
    """

    work: Work | None = None
    attempt: Attempt | None = None
    shutdown: Request | None = None
    failed_start: FailedStart | None = None
    failed_move: FailedMove | None = None
    answered: GuestReport | None = None
    unsure: bool = False
    not_paused: str = ""
    failed_interfaces: FailedInterfaces | None = None
    observed: GuestState | None = None


class Phase(Enum):
    """What a turn waits for."""

    ORDERS = "orders"
    LOOK = "look"
    LEASE = "lease"
    MEMORY = "memory"
    REPORTS = "reports"


class Turn(Struct, frozen=True, kw_only=True):
    """One turn: orders, look, report or heartbeat, tasks, reports of guests.

    It follows `orders`, read before it or, if `fresh`, in it. `missing` are the guests that an earlier look of the turn did not find, after
    which the orders were read anew. `moving` are the guests whose task was under way when the look began, or began in this turn: the look
    may show an old state of them. `due` are the reports that are still to be sent: guests on the host, then the reports of those that are
    gone. `sweep` is when a sweep began, None if this turn is no sweep.
    """

    phase: Phase
    fresh: bool = False
    missing: frozenset[GuestId] = frozenset()
    orders: Orders = Orders(count=-1)
    ordered: frozenset[GuestId] = frozenset()
    moving: frozenset[GuestId] = frozenset()
    seen: Survey | None = None
    facts: HostFacts = HostFacts(host_boot="")
    due: tuple[HostGuest | tuple[GuestId, GuestReport], ...] = ()
    sweep: float | None = None


class Audits(Struct, frozen=True, kw_only=True):
    """The audits of the host. `began` is when the one under way began, and the next begins not before `again`.

    `agreed` is when the last audit ended, if it found what the service had acknowledged before, else None. `repeated` is when the service
    last learned that from a report or a poll.

    `moving` are the guests whose task was under way when it began. `findings` are those of the last one. `answered` is the identity of the
    report that the service acknowledged last, at `answered_at`; None when that is not known.
    """

    began: float | None = None
    again: float = _NEVER
    moving: frozenset[GuestId] = frozenset()
    findings: tuple[Finding, ...] = ()
    sending: bool = False
    answered: frozenset[object] | None = None
    answered_at: float = _NEVER
    agreed: float | None = None
    repeated: float = _NEVER


class State(Struct, frozen=True, kw_only=True):
    """Everything that `step` decides on.

    `saved` is the memory that is known to be in its file. `announce_at` is when the process is told at the latest whether the service has
    the host's first report, None once it was told. `alive`: the poll that began last, at `polled`, is a sign of life; it asks for orders of
    another count than `poll_after`. `read` is when a turn asked for the orders last. The orders that are known came as the answer to what
    was asked at `orders_asked`, a poll or a turn's reading. `poll_pause` is for how long the agent does not poll after it if it failed, 0
    if it did not. `stale` says that something happened after the last look began. Until `busy_until`, the service has asked not to be
    asked: no turn begins. `waiting` are the guests whose start waits for its place, in order. `repairs` is what was done about guests that
    had drifted, `repair_counts` how often since the agent began, `repairing` the guests whose repair is under way, `repairs_on_demand` the
    number of the last repair of each guest that somebody asked for. `reading`: the configuration is being read; `read_again`: another
    SIGHUP came meanwhile. `kept_pools` are the pools of the service that are in the configuration's file, None for none; `keeping_pools`:
    they are being written. `question` is the number of the last question about the host's samples, `answering`: its answer is being sent.
    `guest_questions` are the questions about guests that were begun, as far as the orders still have them. `troubles` are the problems that
    the log names as not over, by what they are about.
    """

    rules: Rules
    memory: Memory = Memory()
    saved: Memory = Memory()
    saving: bool = False
    orders: Orders | None = None
    orders_asked: float = _NEVER
    read: float = _NEVER
    refused: tuple[RefusedOrder, ...] = ()
    polling: bool = False
    polled: float = _NEVER
    poll_after: int = -1
    alive: bool = False
    poll_again: float = _NEVER
    poll_pause: float = 0.0
    lease: Lease = Lease()
    announce_at: float | None
    sight: Sight = Sight()
    turn: Turn | None = None
    stale: bool = False
    turn_again: float = _NEVER
    busy_until: float = _NEVER
    swept: float = _NEVER
    audits: Audits = Audits()
    repairs: Book = {}
    repair_counts: Counts = {}
    repairing: frozenset[GuestId] = frozenset()
    repairs_on_demand: Mapping[GuestId, int] = {}
    guests: Mapping[GuestId, GuestStatus] = {}
    waiting: tuple[GuestId, ...] = ()
    reading: bool = False
    read_again: bool = False
    kept_pools: PoolOrder | None = None
    keeping_pools: bool = False
    question: int | None = None
    answering: bool = False
    guest_questions: frozenset[int] = frozenset()
    troubles: Mapping[str, str] = {}
    stories: Stories = {}
    stories_saved: Stories = {}
    stories_again: float = _NEVER
    saving_stories: bool = False
    ending: bool = False

    @property
    def idle(self) -> bool:
        """Whether nothing is under way that an agent that ends should wait for."""
        at_work = any(status.work is not None for status in self.guests.values())
        written = not self.saving and not self.saving_stories and self.stories is self.stories_saved
        return written and not at_work and not self.repairing and self.turn is None and self.lease.sent is None


def starting(
    memory: Memory,
    rules: Rules,
    at: float,
    stories: Stories = {},  # noqa: B006 - nobody changes a Mapping
    kept_pools: PoolOrder | None = None,
) -> State:
    """The state of an agent that begins at that moment, with this memory, these stories and these pools of the service in their files."""
    return State(
        rules=rules,
        memory=memory,
        saved=memory,
        stories=stories,
        stories_saved=stories,
        kept_pools=kept_pools,
        announce_at=at + ANNOUNCE_SECONDS,
    )

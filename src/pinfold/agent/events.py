"""What the loop tells `step`: time that passed, what others did, and the answers to actions. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from msgspec import Struct

from pinfold.agent import actions
from pinfold.agent.reconcile import Memory
from pinfold.agent.responses import ParsedOrders
from pinfold.agent.story import Stories
from pinfold.agent.wire import GuestReport, InterfaceFailure, Renewal, ThreadReport, Welcome
from pinfold.core.drift import Finding
from pinfold.core.drift.written import FindingsReport
from pinfold.core.identity import GuestId
from pinfold.core.networks import HostNetwork
from pinfold.core.options import Option
from pinfold.core.pools import PoolConfig, PoolOrder
from pinfold.core.repair_question import RepairAnswer
from pinfold.core.repairs import Drifted
from pinfold.drivers.port import Event as HostEvent
from pinfold.host.loop_events import HungUp, Moment, Repaired, Stop, Tick
from pinfold.host.survey import Survey
from pinfold.store.records import Pairs


class HostFacts(Struct, frozen=True, kw_only=True):
    """What the process knows about its host beyond the survey: the boot id, the size of the disk, the networks, the features, and
    facts for people.
    """

    host_boot: str
    disk_gib: int | None = None
    networks: tuple[HostNetwork, ...] = ()
    features: tuple[str, ...] = ()
    facts: Pairs = ()


class Outcome(Struct, frozen=True, kw_only=True):
    """The outcome of a task: `gone` when nothing of the guest remains, `booted` when its boot was performed. Each carries a `failure` if
    the guest does not run after all. Without both, `failure` says why the guest could not follow its claim, and `not_paused` why it could
    not be paused. `interfaces` are those that could not be attached or detached.
    """

    gone: bool = False
    booted: bool = False
    failure: str = ""
    not_paused: str = ""
    interfaces: tuple[InterfaceFailure, ...] = ()


class HostChanged(Struct, frozen=True, kw_only=True):
    """The hypervisor reports an event."""

    when: Moment
    event: HostEvent


class OrdersRead(Struct, frozen=True, kw_only=True):
    """All orders; `polled` answers `PollOrders`, else `ReadOrders`."""

    when: Moment
    parsed: ParsedOrders
    polled: bool


class RenewedEarly(Struct, frozen=True, kw_only=True):
    """The poll that is under way has renewed the lease, and goes on waiting."""

    when: Moment
    renewal: Renewal


class Looked(Struct, frozen=True, kw_only=True):
    """The host as it is now."""

    when: Moment
    seen: Survey
    facts: HostFacts


class Welcomed(Struct, frozen=True, kw_only=True):
    """The service has answered the host's report or heartbeat."""

    when: Moment
    welcome: Welcome


class Verified(Struct, frozen=True, kw_only=True):
    """Every thread of a guest (None if it ended meanwhile), and its drift in one sentence, '' for none."""

    when: Moment
    threads: ThreadReport | None
    drift: str


class Reported(Struct, frozen=True, kw_only=True):
    """The service has acknowledged the report of a guest."""

    when: Moment
    guest: GuestId
    report: GuestReport


class Audited(Struct, frozen=True, kw_only=True):
    """What the audit found, and why guests (by id) could not be read.

    `drifted` are the service's guests whose threads a repair would move. `running` are the ids of all guests with a process.
    """

    when: Moment
    findings: tuple[Finding, ...]
    unread: Mapping[str, str] = {}
    drifted: tuple[Drifted, ...] = ()
    running: frozenset[GuestId] = frozenset()


class FindingsSent(Struct, frozen=True, kw_only=True):
    """The service has acknowledged what the audit found."""

    when: Moment
    report: FindingsReport


class HistorySent(Struct, frozen=True, kw_only=True):
    """The service has the answer to its question."""

    when: Moment


class QuestionAnswered(Struct, frozen=True, kw_only=True):
    """The service has the answer to its question about a guest."""

    when: Moment


class RepairedOnDemand(Struct, frozen=True, kw_only=True):
    """A repair that somebody asked for has ended. `classes` are those of the threads that were moved."""

    when: Moment
    guest: GuestId
    answer: RepairAnswer
    classes: tuple[str, ...] = ()


class RepairSent(Struct, frozen=True, kw_only=True):
    """The service knows what became of a repair that somebody asked for."""

    when: Moment
    guest: GuestId


class Performed(Struct, frozen=True, kw_only=True):
    """The task of a guest has ended."""

    when: Moment
    guest: GuestId
    outcome: Outcome


class Confirmed(Struct, frozen=True, kw_only=True):
    """The service has acknowledged that nothing of a guest remains."""

    when: Moment
    guest: GuestId


class Saved(Struct, frozen=True, kw_only=True):
    """This memory is in its file."""

    when: Moment
    memory: Memory


class StoriesSaved(Struct, frozen=True, kw_only=True):
    """These stories are in their file."""

    when: Moment
    stories: Stories


class OptionsRead(Struct, frozen=True, kw_only=True):
    """Every option, as the files of the configuration have it now, and the pools, which fit the host."""

    when: Moment
    options: tuple[Option, ...]
    pools: PoolConfig
    cause: str = "SIGHUP"


class PoolsWritten(Struct, frozen=True, kw_only=True):
    """The file of the configuration has the pools that the service orders, or is gone."""

    when: Moment
    pools: PoolOrder | None


class Failed(Struct, frozen=True, kw_only=True):
    """An action did not succeed. `away` says that the service did not answer; it may have received the message all the same. `again` is for
    how many seconds the service asked not to be asked, 0 if it did not.
    """

    when: Moment
    action: actions.Action
    why: str
    away: bool = False
    again: float = 0.0


Answer: TypeAlias = (
    Looked
    | Verified
    | Reported
    | Audited
    | FindingsSent
    | Repaired
    | Performed
    | Confirmed
    | Saved
    | StoriesSaved
    | HistorySent
    | QuestionAnswered
    | RepairedOnDemand
    | RepairSent
)
"""The answers that do not concern orders or the lease."""

Event: TypeAlias = (
    Tick
    | HostChanged
    | Stop
    | HungUp
    | OptionsRead
    | PoolsWritten
    | OrdersRead
    | RenewedEarly
    | Welcomed
    | Failed
    | RepairedOnDemand
    | RepairSent
    | Answer
)

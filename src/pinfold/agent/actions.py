"""What `step` asks the loop to do. `loop` performs each action; the event that answers it is named here. Values only.

| action | answered by |
|---|---|
| `ReadOrders`, `PollOrders` | `OrdersRead`; of a poll `RenewedEarly` before it |
| `Look` | `Looked` |
| `SendReport`, `SendHeartbeat` | `Welcomed` |
| `Verify` | `Verified` |
| `SendGuest` | `Reported` |
| `Audit` | `Audited` |
| `SendFindings` | `FindingsSent` |
| `Repair` | `Repaired` |
| `RepairOnDemand`, `SendRepair` | `RepairedOnDemand`, `RepairSent` |
| `Perform` | `Performed` |
| `Confirm` | `Confirmed` |
| `SaveMemory`, `SaveStories` | `Saved`, `StoriesSaved` |
| `ReadOptions` | `OptionsRead` |
| `WritePools` | `PoolsWritten` |
| `SendHistory` | `HistorySent` |
| `AnswerQuestion` | `QuestionAnswered` |
| `Log`, `Announce`, `UsePools` | nothing |

Every action that is answered may also be answered by `Failed`. `step` never has two of one kind under way, except `Repair`,
`RepairOnDemand`, `SendRepair`, `Perform` and `Confirm`, of which each guest has at most one, and `AnswerQuestion`, of which each
question has one.
"""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct

from pinfold.agent.reconcile import Memory, Task
from pinfold.agent.story import Stories
from pinfold.agent.wire import Absence, GuestReport
from pinfold.core.cpuset import CpuSet
from pinfold.core.drift.written import FindingsReport
from pinfold.core.guest_questions import GuestQuestion
from pinfold.core.history import HistoryQuestion
from pinfold.core.identity import GuestId
from pinfold.core.pools import PoolConfig, PoolOrder
from pinfold.core.repair_question import RepairAnswer, RepairQuestion
from pinfold.core.repairs import Drifted
from pinfold.drivers.port import HostGuest
from pinfold.host.loop_events import Log
from pinfold.host.survey import Survey
from pinfold.store.records import HostReport


class ReadOrders(Struct, frozen=True, kw_only=True):
    """Read all orders now."""


class PollOrders(Struct, frozen=True, kw_only=True):
    """Wait until the count of the orders differs from `after`, at most `wait` seconds, then read them. `alive`: it is a sign of life, and
    `RenewedEarly` says, if possible, that it has renewed the lease while it still waits. `audited` is for how many seconds the service has
    had the findings of the last audit, None if it does not have them for certain.
    """

    after: int
    wait: float
    alive: bool = False
    audited: float | None = None


class Look(Struct, frozen=True, kw_only=True):
    """Survey the host."""


class SendReport(Struct, frozen=True, kw_only=True):
    """Send the report of the host."""

    report: HostReport


class SendHeartbeat(Struct, frozen=True, kw_only=True):
    """Send a heartbeat: the host has not changed."""


class Verify(Struct, frozen=True, kw_only=True):
    """Compare every thread of a running guest with its record. `online` are the host's pCPUs."""

    guest: HostGuest
    online: CpuSet


class SendGuest(Struct, frozen=True, kw_only=True):
    """Send the report of one guest."""

    guest: GuestId
    report: GuestReport


class Audit(Struct, frozen=True, kw_only=True):
    """Audit the host as it was seen: every guest, ours or not, and the host as a whole."""

    seen: Survey


class SendFindings(Struct, frozen=True, kw_only=True):
    """Send what the audit found."""

    report: FindingsReport


class Repair(Struct, frozen=True, kw_only=True):
    """Move the threads of a drifted guest back."""

    guest: Drifted


class RepairOnDemand(Struct, frozen=True, kw_only=True):
    """Move the threads of a guest back, because somebody asked for it."""

    question: RepairQuestion


class SendRepair(Struct, frozen=True, kw_only=True):
    """Say what became of a repair that somebody asked for."""

    guest: GuestId
    answer: RepairAnswer


class Perform(Struct, frozen=True, kw_only=True):
    """Perform a task about one guest. `ran` says that the agent remembers a boot of it; the order may be older than that boot. `known` is
    why the same task failed the last time, '' if it did not; the log has it.
    """

    task: Task
    ran: bool
    known: str = ""


class Confirm(Struct, frozen=True, kw_only=True):
    """Confirm to the service that nothing of a guest remains."""

    guest: GuestId
    absence: Absence


class SaveMemory(Struct, frozen=True, kw_only=True):
    """Write the memory to its file, and flush it to the disk."""

    memory: Memory


class SaveStories(Struct, frozen=True, kw_only=True):
    """Write the stories to their file."""

    stories: Stories


class ReadOptions(Struct, frozen=True, kw_only=True):
    """Read the configuration again. `cause` is why, for the log."""

    cause: str = "SIGHUP"


class WritePools(Struct, frozen=True, kw_only=True):
    """Keep the pools that the service orders in a file of the configuration; for None, remove that file."""

    pools: PoolOrder | None


class SendHistory(Struct, frozen=True, kw_only=True):
    """Answer the service's question about the last hour of the host."""

    question: HistoryQuestion


class AnswerQuestion(Struct, frozen=True, kw_only=True):
    """Answer the service's question about a guest."""

    question: GuestQuestion


class UsePools(Struct, frozen=True, kw_only=True):
    """Survey the host and start guests by these pools from now on."""

    pools: PoolConfig


class Announce(Struct, frozen=True, kw_only=True):
    """Tell the process, once, whether the service has the first report of the host: True as soon as it has, False if that takes long."""

    reported: bool


Action: TypeAlias = (
    ReadOrders
    | PollOrders
    | Look
    | SendReport
    | SendHeartbeat
    | Verify
    | SendGuest
    | Audit
    | SendFindings
    | Repair
    | RepairOnDemand
    | SendRepair
    | Perform
    | Confirm
    | SaveMemory
    | SaveStories
    | ReadOptions
    | WritePools
    | SendHistory
    | AnswerQuestion
    | Log
    | Announce
    | UsePools
)

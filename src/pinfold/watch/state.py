"""`State`: everything that the watch knows, between two events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from pinfold.core.fit.capacity import HostCapacity
from pinfold.core.repairs import Book, Counts
from pinfold.core.settings import HostSettings, RepairScope
from pinfold.core.usage import Usage
from pinfold.watch.messages import Stamp
from pinfold.watch.pools import PoolsMode
from pinfold.watch.snapshot import Snapshot

NEVER: Final = float("inf")


class State(Struct, frozen=True, kw_only=True):
    """The state of the watch.

    `snapshot` and `usage` are those of the last sweep that succeeded, at `swept_time` (seconds since the epoch). `due` is when the next
    sweep begins, `rest_until` the earliest moment for one that an event asks for. `sweeping`: that action is under way. `reading`
    is why the configuration is being read, '' if it is not; `read_again`: a SIGHUP came meanwhile.
    `scope` says whose guests are repaired, `book` what was done about those that had drifted. `repairs` counts repairs by thread class
    and result. `read_stamp` is that of the files that were read, `stamp` that of the last sweep. `pools_mode` is None where guests have no
    places that pools could change. `planned` are the pools that guests were compared with last, `plan_again` when they are compared again,
    `planning`: that is under way. `capacity` is None if no flavors are counted. `troubles` are present problems by what they are about.
    """

    settings: HostSettings
    interval: float
    scope: RepairScope = RepairScope.OFF
    due: float = 0.0
    rest_until: float = 0.0
    sweeping: bool = False
    changed: bool = False
    reading: str = ""
    read_again: bool = False
    read_stamp: Stamp = ()
    stamp: Stamp = ()
    pools_mode: PoolsMode | None = PoolsMode.REPORT
    planned: tuple[tuple[str, str], ...] | None = None
    plan_again: float = NEVER
    planning: bool = False
    ending: bool = False
    snapshot: Snapshot | None = None
    usage: Usage | None = None
    swept_time: float = 0.0
    sweep_seconds: float = 0.0
    sweeps: int = 0
    failed_sweeps: int = 0
    unread: int = 0
    capacity: HostCapacity | None = None
    book: Book = {}
    repairs: Counts = {}
    troubles: Mapping[str, str] = {}

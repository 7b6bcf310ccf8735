"""What `step` hears (events) and what it asks the loop for (actions). Values only.

The loop performs actions one after another, in a thread beside its own: a sweep that hangs holds up neither metrics nor signals.

| action | answered by |
|---|---|
| `Sweep` | `Swept` or `SweepFailed` |
| `ReadSettings` | `SettingsRead` or `SettingsRefused` |
| `Publish` | `Published`, with the failures |
| `Repair` | `Repaired` |
| `FollowPools` | `PoolsFollowed` |
| `Note` | `Published`, with the failure |
| `Log` | nothing |
"""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct

from pinfold.core.fit.capacity import HostCapacity
from pinfold.core.repairs import Drifted
from pinfold.core.settings import HostSettings, RepairScope
from pinfold.core.usage import Sample
from pinfold.host.loop_events import HungUp, Log, Moment, Repaired, Stop, Tick
from pinfold.watch.changes import Change
from pinfold.watch.pools import Follower, PoolsMode
from pinfold.watch.snapshot import Snapshot

Stamp: TypeAlias = tuple[tuple[int, int, int] | None, ...]
"""For each configuration file when it was changed, its size and its inode; None for one that is gone."""


class HostChanged(Struct, frozen=True, kw_only=True):
    """The hypervisor has told of a change."""

    when: Moment


class Swept(Struct, frozen=True, kw_only=True):
    """A sweep has ended: what it saw, what was measured, and how long it took.

    `unread` holds each guest that could not be read, by name, with the reason. `warnings` are about the pools. `drifted` are the guests
    that may be repaired, `running` the ids of all guests with a process, also of those that could not be read. `capacity` is None if no
    flavors are counted. `stamp` tells one content of the configuration files from another.
    """

    when: Moment
    snapshot: Snapshot
    sample: Sample
    seconds: float
    unread: tuple[tuple[str, str], ...] = ()
    warnings: tuple[str, ...] = ()
    drifted: tuple[Drifted, ...] = ()
    running: frozenset[str] = frozenset()
    capacity: HostCapacity | None = None
    stamp: Stamp = ()


class SweepFailed(Struct, frozen=True, kw_only=True):
    """The host could not be swept."""

    when: Moment
    why: str


class SettingsRead(Struct, frozen=True, kw_only=True):
    """The configuration was read again."""

    when: Moment
    settings: HostSettings
    stamp: Stamp = ()


class SettingsRefused(Struct, frozen=True, kw_only=True):
    """The configuration cannot be used."""

    when: Moment
    why: str
    stamp: Stamp = ()


class Published(Struct, frozen=True, kw_only=True):
    """The sweep is published. `failures` holds what failed, by its name, with the reason or ''."""

    when: Moment
    failures: tuple[tuple[str, str], ...] = ()


class PoolsFollowed(Struct, frozen=True, kw_only=True):
    """The guests that the pools of today concern; those without a `why` were moved, if that was asked for. `failure` is '' for success."""

    when: Moment
    guests: tuple[Follower, ...] = ()
    failure: str = ""


Event: TypeAlias = (
    Tick | HostChanged | HungUp | Stop | Swept | SweepFailed | SettingsRead | SettingsRefused | Published | Repaired | PoolsFollowed
)


class Sweep(Struct, frozen=True, kw_only=True):
    """Survey, audit and measure the host. `scope` says which drifted guests are told apart for repair."""

    settings: HostSettings
    scope: RepairScope = RepairScope.OFF


class Repair(Struct, frozen=True, kw_only=True):
    """Move the threads of a drifted guest back."""

    guest: Drifted
    settings: HostSettings
    scope: RepairScope


class FollowPools(Struct, frozen=True, kw_only=True):
    """Compare the guests with the pools of today, and move them there if `mode` says so."""

    settings: HostSettings
    mode: PoolsMode


class Note(Struct, frozen=True, kw_only=True):
    """Write one change into the journal."""

    change: Change


class ReadSettings(Struct, frozen=True, kw_only=True):
    """Read the configuration again."""


class Publish(Struct, frozen=True, kw_only=True):
    """Publish what the last sweep saw: in the textfile and in the journal."""


Action: TypeAlias = Sweep | Repair | FollowPools | Note | ReadSettings | Publish | Log

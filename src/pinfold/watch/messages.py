"""What `step` hears (events) and what it asks the loop for (actions). Values only.

The loop performs actions one after another in one thread, so a sweep that hangs holds up neither metrics nor signals.

| action | answered by |
|---|---|
| `Sweep` | `Swept` or `SweepFailed` |
| `ReadSettings` | `SettingsRead` or `SettingsRefused` |
| `Publish` | `Published`, with the failures |
| `Repair` | `Repaired` |
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
from pinfold.watch.changes import Change
from pinfold.watch.snapshot import Snapshot


class Moment(Struct, frozen=True, kw_only=True):
    """When something happened: `at` in seconds since boot, which never go back, and `time` in seconds since the epoch."""

    at: float
    time: float


class Tick(Struct, frozen=True, kw_only=True):
    """Time has passed."""

    when: Moment


class HostChanged(Struct, frozen=True, kw_only=True):
    """The hypervisor has told of a change."""

    when: Moment


class HungUp(Struct, frozen=True, kw_only=True):
    """SIGHUP: the configuration is to be read again."""

    when: Moment


class Stop(Struct, frozen=True, kw_only=True):
    """The watch is to end."""

    when: Moment


class Swept(Struct, frozen=True, kw_only=True):
    """A sweep has ended: what it saw, what was measured, and how long it took.

    `unread` holds each guest that could not be read, by name, with the reason. `warnings` are about the pools. `drifted` are the guests
    that may be repaired. `capacity` is None if no flavors are counted.
    """

    when: Moment
    snapshot: Snapshot
    sample: Sample
    seconds: float
    unread: tuple[tuple[str, str], ...] = ()
    warnings: tuple[str, ...] = ()
    drifted: tuple[Drifted, ...] = ()
    capacity: HostCapacity | None = None


class SweepFailed(Struct, frozen=True, kw_only=True):
    """The host could not be swept."""

    when: Moment
    why: str


class SettingsRead(Struct, frozen=True, kw_only=True):
    """The configuration was read again."""

    when: Moment
    settings: HostSettings


class SettingsRefused(Struct, frozen=True, kw_only=True):
    """The configuration cannot be used."""

    when: Moment
    why: str


class Published(Struct, frozen=True, kw_only=True):
    """The sweep is published. `failures` holds what failed, by its name, with the reason or ''."""

    when: Moment
    failures: tuple[tuple[str, str], ...] = ()


class Repaired(Struct, frozen=True, kw_only=True):
    """A repair has ended. `failure` says why it did not succeed, '' if it did."""

    when: Moment
    guest: Drifted
    failure: str = ""


Event: TypeAlias = Tick | HostChanged | HungUp | Stop | Swept | SweepFailed | SettingsRead | SettingsRefused | Published | Repaired


class Sweep(Struct, frozen=True, kw_only=True):
    """Survey, audit and measure the host. `scope` says which drifted guests are told apart for repair."""

    settings: HostSettings
    scope: RepairScope = RepairScope.OFF


class Repair(Struct, frozen=True, kw_only=True):
    """Move the threads of a drifted guest back."""

    guest: Drifted
    settings: HostSettings
    scope: RepairScope


class Note(Struct, frozen=True, kw_only=True):
    """Write one change into the journal."""

    change: Change


class ReadSettings(Struct, frozen=True, kw_only=True):
    """Read the configuration again."""


class Publish(Struct, frozen=True, kw_only=True):
    """Write what the last sweep saw into the textfile."""


class Log(Struct, frozen=True, kw_only=True):
    """Write one sentence to the log. `level` is one of `logging`."""

    level: int
    sentence: str


Action: TypeAlias = Sweep | Repair | Note | ReadSettings | Publish | Log

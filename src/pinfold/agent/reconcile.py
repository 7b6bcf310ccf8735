"""From what should run on one host and what does, to the next actions: pure. Performing them, and the service, do not belong here.

Level-triggered: `reconcile` looks at states, never at messages, so a lost message costs time and nothing else. For each order:

1. ABSENT: a guest that is there is removed; one that is gone is confirmed gone, which alone lets the service release its pCPUs.
2. An order that is not newer than the guest's tombstone is stale: it was overtaken by a removal, and is refused.
3. RUNNING: a guest that is not there is started; one left paused by a crash of ours is finished or, when its record is of another
   claim, removed first; one that stopped is started again only when the order asks for a later boot than the last one, or the host itself
   rebooted since. A guest that powered itself off stays off, and is reported.
4. STOPPED: a guest that runs is stopped, its definition and claim kept.

A guest of the service that no order names is foreign to this agent: counted, reported, never touched.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from pinfold.drivers.port import GuestState
from pinfold.store.model import Desired, Tombstone

MOST_TOMBSTONES: Final = 1000


class Act(Enum):
    """What the agent does next about one guest."""

    START = "start"
    RESTART = "restart"
    FINISH = "finish"
    REBOOT = "reboot"
    STOP = "stop"
    REMOVE = "remove"
    CONFIRM_ABSENT = "confirm absent"
    REFUSE_STALE = "refuse stale"
    REPORT_FOREIGN = "report foreign"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What the service recorded for one guest: the claim it holds here, the revision the claim was made on, and the boot that is wanted.

    `boot` counts the starts that a user asked for: 1 for the create, one more for each start and reboot after.
    """

    guest: str
    claim: str
    revision: int
    desired: Desired
    boot: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Present:
    """One guest of the service that this host shows: its state and the revision in its record."""

    guest: str
    state: GuestState
    revision: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Booted:
    """The last boot that this agent performed for a guest, and the host's boot id at that time."""

    guest: str
    boot: int
    host_boot: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What the agent remembers across its own restarts, each ordered by guest, each guest once.

    A tombstone is a guest that was confirmed gone; no order up to its revision starts the guest again.
    """

    booted: tuple[Booted, ...] = ()
    tombstones: tuple[Tombstone, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One thing to do, with the order that asks for it (None for REPORT_FOREIGN)."""

    act: Act
    guest: str
    order: Order | None = None


def reconcile(orders: tuple[Order, ...], present: tuple[Present, ...], memory: Memory, host_boot: str) -> tuple[Action, ...]:
    """The actions that lead from `present` towards `orders`, ordered: removals and stops first (they free what starts need), then by guest.

    >>> order = Order(guest="g", claim="c", revision=3, desired=Desired.RUNNING)
    >>> [action.act.value for action in reconcile((order,), (), Memory(), "boot-1")]
    ['start']
    """
    seen = {guest.guest: guest for guest in present}
    booted = {entry.guest: entry for entry in memory.booted}
    tombstones = {stone.guest: stone.revision for stone in memory.tombstones}
    actions = []
    for order in orders:
        act = _act(order, seen.get(order.guest), booted.get(order.guest), tombstones.get(order.guest), host_boot)
        if act is not None:
            actions.append(Action(act=act, guest=order.guest, order=order))
    named = {order.guest for order in orders}
    actions.extend(Action(act=Act.REPORT_FOREIGN, guest=guest) for guest in seen if guest not in named)
    return tuple(sorted(actions, key=lambda action: (_FIRST.index(action.act) if action.act in _FIRST else len(_FIRST), action.guest)))


_FIRST = (Act.REMOVE, Act.STOP, Act.CONFIRM_ABSENT)


def _act(order: Order, guest: Present | None, booted: Booted | None, buried: int | None, host_boot: str) -> Act | None:
    if order.desired is Desired.ABSENT:
        return Act.REMOVE if guest is not None else Act.CONFIRM_ABSENT
    if buried is not None and order.revision <= buried:
        return Act.REFUSE_STALE
    if order.desired is Desired.STOPPED:
        return Act.STOP if guest is not None and guest.state in _ALIVE else None
    return _towards_running(order, guest, booted, host_boot)


_ALIVE = (GuestState.RUNNING, GuestState.PAUSED)


def _towards_running(order: Order, guest: Present | None, booted: Booted | None, host_boot: str) -> Act | None:
    if guest is None:
        return Act.START
    if guest.revision != order.revision:
        return Act.REMOVE
    wanted = booted is None or order.boot > booted.boot
    if guest.state is GuestState.PAUSED:
        return Act.FINISH
    if guest.state is GuestState.RUNNING:
        return Act.REBOOT if booted is not None and wanted else None
    return Act.RESTART if wanted or (booted is not None and booted.host_boot != host_boot) else None


def remember_boot(memory: Memory, booted: Booted) -> Memory:
    """The memory after a boot was performed; it replaces what was remembered of that guest."""
    kept = [entry for entry in memory.booted if entry.guest != booted.guest]
    return Memory(booted=tuple(sorted([*kept, booted], key=lambda entry: entry.guest)), tombstones=memory.tombstones)


def remember_absence(memory: Memory, stone: Tombstone) -> Memory:
    """The memory after a guest was confirmed gone. A tombstone's revision never goes down; the guest's boots are forgotten.

    Of many tombstones those of the newest claims are kept: a stale order is seconds old, not thousands of removals.
    """
    older = max((entry.revision for entry in memory.tombstones if entry.guest == stone.guest), default=stone.revision)
    newest = Tombstone(guest=stone.guest, revision=max(older, stone.revision))
    others = sorted((entry for entry in memory.tombstones if entry.guest != stone.guest), key=lambda entry: (entry.revision, entry.guest))
    kept = others[-(MOST_TOMBSTONES - 1) :]
    return Memory(
        booted=tuple(entry for entry in memory.booted if entry.guest != stone.guest),
        tombstones=tuple(sorted([*kept, newest], key=lambda entry: entry.guest)),
    )

"""From what should run on one host and what does, to the next actions: pure. Performing them, and the service, do not belong here.

Level-triggered: `reconcile` looks at states, never at messages, so a lost message costs time and nothing else. For each order:

1. ABSENT: a guest that is there is removed; one that is gone is confirmed gone, which alone lets the service release its pCPUs.
2. An order that is not newer than the guest's tombstone is stale: it was overtaken by a removal, and is refused.
3. RUNNING: a guest that is not there is started; one left paused by a crash of ours is finished; one whose record is of another claim is
   undefined first, its disk kept; one that stopped is started again only when the order asks for a later boot than the last one, or the
   host itself rebooted since. A guest that powered itself off stays off, and so does one whose last boot failed.
4. STOPPED: a guest that runs is stopped, its definition and claim kept.
5. A stop, and a reboot that is not hard, ask the guest to shut down first; it is ended when its time is over.

Only 1 ever deletes the disk of a guest that ran. A guest of the service that no order names is foreign to this agent: counted, reported,
never touched.
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
    SHUT_DOWN = "shut down"
    STOP = "stop"
    UNDEFINE = "undefine"
    REMOVE = "remove"
    CONFIRM_ABSENT = "confirm absent"
    REFUSE_STALE = "refuse stale"
    REPORT_FOREIGN = "report foreign"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What the service recorded for one guest: the claim it holds here, the revision the claim was made on, and the boot that is wanted.

    `boot` counts the starts that a user asked for: 1 for the create, one more for each start and reboot after. A `hard` one asks no guest.
    """

    guest: str
    claim: str
    revision: int
    desired: Desired
    boot: int = 1
    hard: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Present:
    """One guest of the service that this host shows: its state and the revision in its record."""

    guest: str
    state: GuestState
    revision: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Booted:
    """The last boot that this agent performed for a guest, the host's boot id at that time, and why the guest does not run after all."""

    guest: str
    boot: int
    host_boot: str
    failure: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What the agent remembers across its own restarts, each ordered by guest, each guest once.

    A tombstone is a guest that was confirmed gone; no order up to its revision starts the guest again.
    """

    booted: tuple[Booted, ...] = ()
    tombstones: tuple[Tombstone, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """The guests that were asked to shut down: those that still have time, and those whose time is over. Without `asks` none is asked."""

    asks: bool = True
    waiting: frozenset[str] = frozenset()
    over: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One thing to do, with the order that asks for it (None for REPORT_FOREIGN)."""

    act: Act
    guest: str
    order: Order | None = None


def reconcile(
    orders: tuple[Order, ...], present: tuple[Present, ...], memory: Memory, host_boot: str, patience: Patience = Patience()
) -> tuple[Action, ...]:
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
        guest = seen.get(order.guest)
        act = _act(order, guest, booted.get(order.guest), tombstones.get(order.guest), host_boot)
        if act in _ENDS and guest is not None and guest.state is GuestState.RUNNING and not order.hard:
            act = _asking(act, order.guest, patience)
        if act is not None:
            actions.append(Action(act=act, guest=order.guest, order=order))
    named = {order.guest for order in orders}
    actions.extend(Action(act=Act.REPORT_FOREIGN, guest=guest) for guest in seen if guest not in named)
    return tuple(sorted(actions, key=lambda action: (_FIRST.index(action.act) if action.act in _FIRST else len(_FIRST), action.guest)))


_FIRST = (Act.REMOVE, Act.UNDEFINE, Act.STOP, Act.SHUT_DOWN, Act.CONFIRM_ABSENT)
_ENDS = (Act.STOP, Act.REBOOT)
_ALIVE = (GuestState.RUNNING, GuestState.PAUSED)


def _act(order: Order, guest: Present | None, booted: Booted | None, buried: int | None, host_boot: str) -> Act | None:
    if order.desired is Desired.ABSENT:
        return Act.REMOVE if guest is not None else Act.CONFIRM_ABSENT
    if buried is not None and order.revision <= buried:
        return Act.REFUSE_STALE
    if order.desired is Desired.STOPPED:
        return Act.STOP if guest is not None and guest.state in _ALIVE else None
    return _towards_running(order, guest, booted, host_boot)


def _towards_running(order: Order, guest: Present | None, booted: Booted | None, host_boot: str) -> Act | None:
    later = booted is not None and order.boot > booted.boot
    again = booted is None or later or booted.host_boot != host_boot
    if guest is None:
        return Act.START if booted is None or again or not booted.failure else None
    if guest.revision != order.revision:
        return Act.UNDEFINE
    if guest.state is GuestState.PAUSED:
        return Act.REBOOT if later else Act.FINISH
    if guest.state is GuestState.RUNNING:
        return Act.REBOOT if later else None
    return Act.RESTART if again else None


def _asking(act: Act, guest: str, patience: Patience) -> Act | None:
    """A guest that can hear is asked to shut down, given its time, and only then ended by `act`."""
    if not patience.asks or guest in patience.over:
        return act
    return None if guest in patience.waiting else Act.SHUT_DOWN


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

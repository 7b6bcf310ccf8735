"""Compare the guests that should run on one host with those that do, and return the next tasks. Pure.

`reconcile` looks at states, not at messages, so a lost message only costs time. For each order:

1. ABSENT: remove a guest that is there; confirm that it is gone once it is. Only that lets the service release its pCPUs. A guest that is
   to be released keeps its domain, and loses its record.
2. An order for a claim that has a tombstone is stale: a removal overtook it. Refuse it.
3. A domain that this agent did not make is taken over as it runs, and never started anew: without its record there is nothing to start.
4. STOPPED: stop a guest that runs; keep its definition and claim.
5. Amend the record of a guest whose claim has changed since, or whose record does not name its claim yet. The guest goes on. If it is to
   be rebooted hard, stop it first: a guest that hangs cannot be amended while it runs. If its new place has pCPUs of another guest that
   has to leave them too, wait for that one.
6. RUNNING: start a guest that is not there; one that ran here only after the turn has read the orders once more. Resume a paused one, which
   an agent's crash left, or which was to be paused; again and again if it cannot be. Undefine one whose record is of another claim, and
   keep its disk. Start a stopped one again only when the order asks for a later boot than the last one, or when the host rebooted since. A
   guest that powered itself off stays off, and so does one whose last boot failed.
7. Pause a guest that has booted as its order says, in memory or on disk. While it is to be paused, start it only for a later boot.
8. A guest whose disk is to be made anew gets that before anything else, whether it is to run or to be stopped. It is not asked to shut
   down here: it runs on until the new disk is there.
9. Attach the interfaces of the order that a guest lacks, and detach those that it is to lose, once nothing else is to be done.
10. Before a stop or a reboot that is not hard, ask the guest to shut down. End it when its time is over.

Only step 1 deletes the disk of a guest that ran. A guest of the service without an order is foreign to this agent: it is counted and
reported, but never touched.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Final

from msgspec import Struct

from pinfold.agent.wire import GuestOrder, Orders
from pinfold.core.adoption import Takeover
from pinfold.core.cpuset import CpuSet
from pinfold.core.identity import ClaimId, GuestId
from pinfold.core.networks import Port
from pinfold.drivers.port import GuestState
from pinfold.store.records import Desired, Pause, Tombstone

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
    AMEND = "amend"
    REBUILD = "rebuild"
    CHANGE_INTERFACES = "interface change"
    PAUSE = "pause"
    SUSPEND = "suspend"
    ADOPT = "adopt"
    RELEASE = "release"
    REMOVE = "remove"
    CONFIRM_ABSENT = "confirm absent"
    REFUSE_STALE = "refuse stale"


class PresentGuest(Struct, frozen=True, kw_only=True):
    """One guest of the service that is on this host: its state, and the claim, the revision and the pCPUs of its own in its record.

    The record of an earlier pinfold names no claim. `macs_everywhere` are the MAC addresses of the interfaces that each of its definitions
    has, `macs_anywhere` of those that any has.
    """

    guest: GuestId
    state: GuestState
    revision: int
    claim: ClaimId | None = None
    taken: CpuSet = CpuSet()
    macs_everywhere: frozenset[str] = frozenset()
    macs_anywhere: frozenset[str] = frozenset()


class LastBoot(Struct, frozen=True, kw_only=True):
    """The last boot that this agent performed for a guest, the host's boot id at that time, and why the guest does not run if it failed."""

    guest: GuestId
    boot: int
    host_boot: str
    failure: str = ""


class Memory(Struct, frozen=True, kw_only=True):
    """What the agent remembers across restarts: boots by guest, each guest once, and tombstones by guest and claim, each claim once.

    A tombstone stands for a claim whose guest was confirmed gone. No order for that claim starts the guest again.
    """

    booted: tuple[LastBoot, ...] = ()
    tombstones: tuple[Tombstone, ...] = ()


class Patience(Struct, frozen=True, kw_only=True):
    """The guests that were asked to shut down: those with time left, and those whose time is over. Without `asks`, no guest is asked."""

    asks: bool = True
    waiting: frozenset[GuestId] = frozenset()
    over: frozenset[GuestId] = frozenset()


NO_REQUESTS: Final = Patience()
"""No guest was asked to shut down yet."""


class Task(Struct, frozen=True, kw_only=True):
    """One task, with the order that asks for it. The tombstone of its claim removes a guest that has no order; the service does not wait to
    hear that it is gone.
    """

    act: Act
    order: GuestOrder | Tombstone

    @property
    def guest(self) -> GuestId:
        """The guest that it is about."""
        return self.order.guest

    @property
    def tombstone(self) -> Tombstone:
        """What is remembered of the claim once nothing of its guest remains."""
        order = self.order
        return order if isinstance(order, Tombstone) else Tombstone(guest=order.guest, revision=order.claim.revision, claim=order.claim.id)


def reconcile(
    orders: Orders, present: tuple[PresentGuest, ...], memory: Memory, host_boot: str, patience: Patience = NO_REQUESTS
) -> tuple[Task, ...]:
    """The tasks that lead from `present` to `orders`: removals and stops first, because they free what starts need, then by guest."""
    seen = {guest.guest: guest for guest in present}
    booted = {entry.guest: entry for entry in memory.booted}
    tasks = list(_removals(orders, seen))
    for order in orders.orders:
        guest = seen.get(order.guest)
        over = any(is_over(stone, order.guest, order.claim.id, order.claim.held) for stone in memory.tombstones)
        act = _act(order, guest, booted.get(order.guest), over, host_boot)
        if act is Act.AMEND and _waits(order, orders.orders, seen):
            act = None
        if act in _ENDS and guest is not None and guest.state is GuestState.RUNNING and not order.hard:
            act = _asking(act, order.guest, patience)
        if act is not None:
            tasks.append(Task(act=act, order=order))
    return tuple(sorted(tasks, key=lambda task: (_FIRST.index(task.act) if task.act in _FIRST else len(_FIRST), task.guest)))


def _removals(orders: Orders, seen: Mapping[GuestId, PresentGuest]) -> Iterator[Task]:
    """A removal for each guest that is still here, of a claim that has a tombstone at the service, and that has no order."""
    ordered = {order.guest for order in orders.orders}
    for key, guest in seen.items():
        stones = (stone for stone in orders.tombstones if is_over(stone, key, guest.claim, guest.revision))
        if key not in ordered and (stone := next(stones, None)) is not None:
            yield Task(act=Act.REMOVE, order=stone)


_FIRST = (Act.REMOVE, Act.RELEASE, Act.UNDEFINE, Act.STOP, Act.SHUT_DOWN, Act.AMEND, Act.CONFIRM_ABSENT)
_ENDS = (Act.STOP, Act.REBOOT)
PAUSES: Final = (Act.PAUSE, Act.SUSPEND)
_ALIVE = (GuestState.RUNNING, GuestState.PAUSED)


def is_of(order: GuestOrder, claim: ClaimId | None, revision: int) -> bool:
    """Whether a record with that claim and revision is of the order's claim. A record that names no claim is known by the revision at which
    the claim was held.
    """
    return revision == order.claim.held if claim is None else claim == order.claim.id


def is_over(stone: Tombstone, guest: GuestId, claim: ClaimId | None, revision: int) -> bool:
    """Whether the tombstone is that of the guest's claim. If one of the two names no claim, the earlier revision is over."""
    if stone.guest != guest:
        return False
    return revision <= stone.revision if claim is None or stone.claim is None else claim == stone.claim


def _act(order: GuestOrder, guest: PresentGuest | None, booted: LastBoot | None, over: bool, host_boot: str) -> Act | None:
    if order.desired is Desired.ABSENT:
        if guest is None:
            return Act.CONFIRM_ABSENT
        return Act.RELEASE if order.takeover is Takeover.RELEASE else Act.REMOVE
    if over:
        return Act.REFUSE_STALE
    if guest is None and order.takeover is not Takeover.NONE:
        return Act.ADOPT if order.takeover is Takeover.ADOPT else None
    if _asks_new_disk(order, booted) and (guest is None or is_of(order, guest.claim, guest.revision)):
        return Act.REBUILD
    alive = guest is not None and guest.state in _ALIVE
    if order.desired is Desired.STOPPED and alive:
        return Act.STOP
    if guest is not None and is_of(order, guest.claim, guest.revision) and (guest.claim is None or guest.revision < order.claim.revision):
        return Act.STOP if alive and order.hard and _asks_later_boot(order, booted) else Act.AMEND
    act = None if order.desired is Desired.STOPPED else _towards_running(order, guest, booted, host_boot)
    if act is None and guest is not None and is_of(order, guest.claim, guest.revision) and _interfaces_differ(order, guest):
        return Act.CHANGE_INTERFACES
    return act


def _interfaces_differ(order: GuestOrder, guest: PresentGuest) -> bool:
    """Whether interfaces are to be attached or detached. A guest that is saved to disk comes back with those that it had."""
    return order.pause is not Pause.ON_DISK and bool(lacking(order, guest.macs_everywhere) or leaving(order, guest.macs_anywhere))


def lacking(order: GuestOrder, macs_everywhere: frozenset[str]) -> tuple[Port, ...]:
    """The ports of the order whose interfaces are to be attached."""
    return tuple(port for port in order.ports if port.mac not in macs_everywhere)


def leaving(order: GuestOrder, macs_anywhere: frozenset[str]) -> tuple[str, ...]:
    """The MAC addresses of the interfaces that are to be detached."""
    return tuple(mac for mac in order.detach if mac in macs_anywhere)


def _waits(order: GuestOrder, orders: tuple[GuestOrder, ...], seen: Mapping[GuestId, PresentGuest]) -> bool:
    """Whether another guest is to leave pCPUs of the order's place that it still has in its record."""
    place = order.claim.fit.taken
    leaving = (one for one in orders if one.guest != order.guest and one.guest in seen and one.claim.fit.taken.isdisjoint(place))
    return any(not seen[one.guest].taken.isdisjoint(place) for one in leaving)


def _asks_new_disk(order: GuestOrder, booted: LastBoot | None) -> bool:
    """Whether the boot that is to bring the new disk was not performed yet, as far as this agent and the service know."""
    return order.takeover is Takeover.NONE and order.rebuild > (order.booted if booted is None else booted.boot)


def _asks_later_boot(order: GuestOrder, booted: LastBoot | None) -> bool:
    return booted is not None and order.boot > booted.boot


def _towards_running(order: GuestOrder, guest: PresentGuest | None, booted: LastBoot | None, host_boot: str) -> Act | None:
    later = _asks_later_boot(order, booted)
    ours = guest is None or is_of(order, guest.claim, guest.revision)
    if order.pause is not Pause.NONE and ours and not later and (booted is not None or order.booted >= order.boot):
        return _towards_pause(order.pause, guest)
    again = booted is None or later or booted.host_boot != host_boot
    if guest is None:
        return Act.START if booted is None or again or not booted.failure else None
    if not is_of(order, guest.claim, guest.revision):
        return Act.UNDEFINE if order.takeover is Takeover.NONE else Act.RELEASE
    if guest.state is GuestState.PAUSED:
        return Act.REBOOT if later else Act.FINISH
    if guest.state is GuestState.RUNNING:
        return Act.REBOOT if later else None
    return Act.RESTART if again else None


def _towards_pause(pause: Pause, guest: PresentGuest | None) -> Act | None:
    if guest is None:
        return None
    if pause is Pause.ON_DISK:
        return Act.SUSPEND if guest.state in _ALIVE else None
    return Act.PAUSE if guest.state is GuestState.RUNNING else None


def _asking(act: Act, guest: GuestId, patience: Patience) -> Act | None:
    """Ask the guest to shut down if it can hear, wait for its time to pass, and only then end it with `act`."""
    if not patience.asks or guest in patience.over:
        return act
    return None if guest in patience.waiting else Act.SHUT_DOWN


def remember_boot(memory: Memory, booted: LastBoot) -> Memory:
    """The memory after a boot was performed. It replaces what was remembered of that guest."""
    kept = [entry for entry in memory.booted if entry.guest != booted.guest]
    return Memory(booted=tuple(sorted([*kept, booted], key=lambda entry: entry.guest)), tombstones=memory.tombstones)


def remember_absence(memory: Memory, stone: Tombstone) -> Memory:
    """The memory after a claim's guest was confirmed gone. A tombstone's revision never goes down; the guest's boots are forgotten.

    When there are too many tombstones, keep those of the newest claims: a stale order is seconds old, not thousands of removals.
    """
    same = [entry for entry in memory.tombstones if (entry.guest, entry.claim) == (stone.guest, stone.claim)]
    others = [entry for entry in memory.tombstones if entry not in same]
    newest = max([*same, stone], key=lambda entry: entry.revision)
    kept = sorted(others, key=lambda entry: (entry.revision, entry.guest))[-(MOST_TOMBSTONES - 1) :]
    return Memory(
        booted=tuple(entry for entry in memory.booted if entry.guest != stone.guest),
        tombstones=tuple(sorted([*kept, newest], key=lambda entry: (entry.guest, entry.claim or ""))),
    )

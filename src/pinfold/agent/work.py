"""The task of each guest on its way: waiting for its place, performed, written down, confirmed. Part of `step`.

What was done is written down before the service is told: a lost tombstone would let a stale order start the guest again. After any failure
a later turn tries again.
"""

from __future__ import annotations

from msgspec.structs import replace

from pinfold.agent import pace, shutdowns
from pinfold.agent.actions import Confirm, Perform, SaveMemory
from pinfold.agent.draft import Draft
from pinfold.agent.events import Outcome
from pinfold.agent.reconcile import Act, LastBoot, Memory, Task, remember_absence, remember_boot
from pinfold.agent.state import STARTS, STARTS_AT_ONCE, FailedInterfaces, FailedMove, FailedStart, Work
from pinfold.agent.wire import Absence, GuestOrder, Orders
from pinfold.core.adoption import Takeover
from pinfold.core.identity import GuestId
from pinfold.store.records import Pause, Tombstone


def note_orders(draft: Draft, before: Orders | None) -> None:
    """Tell in the stories which orders are new or have changed."""
    orders = draft.state.orders
    assert orders is not None
    known = {} if before is None else {order.guest: order for order in before.orders}
    for order in orders.orders:
        old = known.get(order.guest)
        if old is not None and _told(old) == _told(order):
            continue
        draft.change_guest(order.guest, not_paused="")
        begins = "an agent begins; " if before is None else ""
        draft.note(order.guest, f"{begins}the service orders: {_told(order)}", name=order.name)


def _told(order: GuestOrder) -> str:
    """What an order says, in a story."""
    paused = {Pause.NONE: "", Pause.IN_MEMORY: ", paused in memory", Pause.ON_DISK: ", paused on disk"}[order.pause]
    taken = f", {order.takeover.value}" if order.takeover is not Takeover.NONE else ""
    anew = f", with a new disk from boot {order.rebuild}" if order.rebuild else ""
    detached = f", without {', '.join(order.detach)}" if order.detach else ""
    asked = f"{order.desired.value}{paused}{taken}{anew}{detached}"
    return f"{asked}, boot {order.boot}, claim {order.claim.id} of revision {order.claim.revision}"


def begin(draft: Draft, task: Task, host_boot: str) -> None:
    """Begin a guest's task, or let it wait if it is a start and as many as may are under way."""
    if task.act is Act.SHUT_DOWN and isinstance(task.order, GuestOrder):
        draft.change_guest(task.guest, shutdown=shutdowns.ask(draft.guest(task.guest).shutdown, task.order, draft.now))
    draft.change_guest(task.guest, work=Work(task=task, host_boot=host_boot))
    if task.act in STARTS:
        draft.change(waiting=(*draft.state.waiting, task.guest))
        _begin_starts(draft)
    else:
        _perform(draft, task.guest)


def performed(draft: Draft, guest: GuestId, outcome: Outcome) -> None:
    """Remember what was done, and write it down; a task that changed nothing to remember has ended. A guest that cannot go on is tried for
    ever: the same failure again is neither told nor written down.
    """
    work = _work(draft, guest)
    order, stone = work.task.order, work.task.tombstone
    if outcome.gone:
        if outcome.failure and work.task.act is not Act.REFUSE_STALE:
            draft.change_guest(guest, failed_start=FailedStart(claim=stone.claim, failure=outcome.failure))
        draft.note(guest, f"{work.task.act.value}: nothing of it remains; {outcome.failure}".removesuffix("; "))
        draft.change(memory=remember_absence(draft.state.memory, stone))
    elif outcome.booted and isinstance(order, GuestOrder):
        booted = LastBoot(guest=guest, boot=order.boot, host_boot=work.host_boot, failure=outcome.failure)
        known = booted.failure != "" and booted in draft.state.memory.booted
        if known and draft.state.saved == draft.state.memory and not draft.state.saving:
            finish(draft, guest, "")
            return
        if not known:
            draft.note(guest, f"{work.task.act.value}: {outcome.failure or 'done'}")
        draft.change(memory=remember_boot(draft.state.memory, booted))
    else:
        draft.note(guest, f"{work.task.act.value}: {_said(outcome)}")
        if work.task.act is Act.AMEND and isinstance(order, GuestOrder):
            failed = FailedMove(claim=order.claim.id, revision=order.claim.revision, failure=outcome.failure)
            draft.change_guest(guest, failed_move=failed if outcome.failure else None)
        if work.task.act is Act.CHANGE_INTERFACES and isinstance(order, GuestOrder):
            draft.change_guest(guest, failed_interfaces=_failed_interfaces(order, outcome))
        draft.change_guest(guest, not_paused=outcome.not_paused)
        finish(draft, guest, outcome.failure)
        return
    draft.change_guest(guest, work=replace(work, outcome=outcome))
    save(draft)


def _said(outcome: Outcome) -> str:
    """What became of a task that changed nothing to remember, in a story."""
    return outcome.failure or outcome.not_paused or "; ".join(failed.why for failed in outcome.interfaces) or "done"


def _failed_interfaces(order: GuestOrder, outcome: Outcome) -> FailedInterfaces | None:
    if not outcome.interfaces:
        return None
    return FailedInterfaces(claim=order.claim.id, revision=order.claim.revision, failures=outcome.interfaces)


def save(draft: Draft) -> None:
    """Write the memory down. If that is under way already, `saved` sees to what has changed since."""
    if not draft.state.saving:
        draft.change(saving=True)
        draft.do(SaveMemory(memory=draft.state.memory))


def saved(draft: Draft, memory: Memory) -> None:
    """Confirm the guests that are gone, and end the tasks of those that were started, as they are written down now."""
    draft.change(saved=memory, saving=False)
    if memory != draft.state.memory:
        save(draft)
        return
    for guest, work in _written(draft):
        if work.outcome is None or not work.outcome.gone:
            finish(draft, guest, "")
        elif isinstance(work.task.order, Tombstone):
            confirmed(draft, guest)
        else:
            draft.change_guest(guest, work=replace(work, confirming=True))
            draft.do(Confirm(guest=guest, absence=_absence(draft, work.task.tombstone, work.outcome)))


def not_saved(draft: Draft, why: str) -> None:
    """Let the tasks fail that were to be written down."""
    draft.change(saving=False)
    for guest, _ in _written(draft):
        finish(draft, guest, why)


def confirmed(draft: Draft, guest: GuestId) -> None:
    """Forget a guest that is gone, as far as reports go."""
    draft.note(guest, "the service is told that it is gone")
    draft.change_guest(guest, failed_start=None, answered=None, observed=None)
    finish(draft, guest, "")


def _absence(draft: Draft, stone: Tombstone, outcome: Outcome) -> Absence:
    """The confirmation. After one that was not answered, the order meets its tombstone; the reason is then still the failed start's."""
    first, failure = draft.guest(stone.guest).failed_start, outcome.failure
    if failure and first is not None and first.claim == stone.claim:
        failure = first.failure
    return Absence(revision=stone.revision, failure=failure, claim=stone.claim)


def _written(draft: Draft) -> list[tuple[GuestId, Work]]:
    """The guests whose task was performed and is being written down."""
    works = [(guest, status.work) for guest, status in draft.state.guests.items()]
    return [(guest, work) for guest, work in works if work is not None and work.outcome is not None and not work.confirming]


def finish(draft: Draft, guest: GuestId, why: str) -> None:
    """End the guest's task. `why` says why it is tried again, '' for success."""
    work = _work(draft, guest)
    draft.complain(work.sentence, f"{work.sentence} is tried again: {why}" if why else "", guest=guest)
    attempt = pace.performed(draft.guest(guest).attempt, work.task, draft.now)
    draft.change_guest(guest, work=None, attempt=attempt)
    draft.change(stale=True)
    _begin_starts(draft)


def _begin_starts(draft: Draft) -> None:
    """Begin the starts that wait, as long as there is a place."""
    while draft.state.waiting and not draft.state.ending:
        if sum(status.work is not None and status.work.starting for status in draft.state.guests.values()) >= STARTS_AT_ONCE:
            return
        guest, *others = draft.state.waiting
        draft.change(waiting=tuple(others))
        _perform(draft, guest)


def _perform(draft: Draft, guest: GuestId) -> None:
    work = replace(_work(draft, guest), begun=True)
    draft.change_guest(guest, work=work)
    booted = next((entry for entry in draft.state.memory.booted if entry.guest == guest), None)
    attempt = draft.guest(guest).attempt
    known = booted.failure if booted is not None and attempt is not None and attempt.task == work.task else ""
    if not known:
        draft.note(guest, f"{work.task.act.value} begins")
    draft.do(Perform(task=work.task, ran=booted is not None, known=known))


def _work(draft: Draft, guest: GuestId) -> Work:
    work = draft.guest(guest).work
    assert work is not None, f"guest {guest} has no task"
    return work

"""The agent's turn: one function for each thing that a turn waits for. Part of `step`.

`begin` > `look` > `looked` > `speak` > `decide` > `report`, one guest after another > the end. `decide` goes back to the orders when a
guest that ran here is missing. An error ends the turn, and the next one begins after a pause. An error with one guest delays only the
report of that guest.
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from pinfold.agent import audits, pace, shutdowns, work
from pinfold.agent.actions import Look, ReadOrders, SendGuest, SendHeartbeat, SendReport, Verify
from pinfold.agent.draft import Draft
from pinfold.agent.events import HostFacts
from pinfold.agent.lease import SPEAKS, Message, Sight, send
from pinfold.agent.options import ORDERED
from pinfold.agent.reconcile import PAUSES, Act, LastBoot, PresentGuest, Task, is_of, reconcile, remember_boot
from pinfold.agent.report import guest_report, host_report, interfaces_report, lost_guests, present_guests
from pinfold.agent.state import FailedInterfaces, GuestStatus, Phase, State, Turn
from pinfold.agent.wire import GuestOrder, GuestReport, ThreadReport
from pinfold.core.identity import GuestId
from pinfold.core.repairs import counts_text
from pinfold.drivers.port import GuestState, HostGuest
from pinfold.host.survey import Survey
from pinfold.store.records import POOLS_REFUSED, REPAIRS, Desired, Pairs, Pause, Tombstone

SHORTEST_PAUSE: Final = 0.05


def begin(draft: Draft) -> None:
    """Read the orders anew at the start, and after a silence as long as the lease; else look at the host.

    Before the first orders, the agent does not know which guests belong to the service, and its report would call them all foreign. During
    a silence the host may have been fenced; the guests that it lost must then be reported as foreign before the host counts as up again.
    """
    draft.change(turn=Turn(phase=Phase.ORDERS), stale=False)
    if draft.state.orders is None or draft.state.lease.silent(draft.now):
        _read_orders(draft)
    else:
        look(draft, fresh=False)


def _read_orders(draft: Draft) -> None:
    draft.change(read=draft.now)
    draft.do(ReadOrders())


def look(draft: Draft, *, fresh: bool) -> None:
    """Look at the host. The whole turn follows the orders that are known now; `fresh` says that it has read them itself."""
    if _ended(draft):
        return
    orders = draft.state.orders
    assert orders is not None
    ordered = frozenset(order.guest for order in orders.orders) | frozenset(refused.guest for refused in draft.state.refused)
    moving = draft.state.repairing | {guest for guest, status in draft.state.guests.items() if status.work is not None}
    draft.change(sight=Sight(began=draft.now, clear=draft.state.sight.clear))
    draft.change_turn(phase=Phase.LOOK, fresh=fresh, orders=orders, ordered=ordered, moving=moving)
    draft.do(Look())


def looked(draft: Draft, seen: Survey, facts: HostFacts) -> None:
    """Keep what was seen for the rest of the turn, name the guests that hang, and send the host's report."""
    draft.change(sight=Sight(clear=True))
    draft.change_turn(seen=seen, facts=facts)
    hanging = {f"hang of guest {guest.id}": guest for guest in seen.guests if guest.hangs}
    for about in [about for about in draft.state.troubles if about.startswith("hang of ") and about not in hanging]:
        draft.complain(about, "", guest=GuestId(about.rpartition(" ")[2]))
    for about, guest in hanging.items():
        draft.complain(about, f"guest {guest.name} hangs: {guest.hangs}", guest=guest.id)
    speak(draft)


def speak(draft: Draft) -> None:
    """Send the host's report if it changed, else a heartbeat if one is due.

    A guest whose order was refused still counts as the service's.
    """
    if _ended(draft):
        return
    draft.change_turn(phase=Phase.LEASE)
    turn, lease, rules = draft.turn, draft.state.lease, draft.state.rules
    if lease.sent is not None:
        return  # go on when the heartbeat that is under way has been answered
    if lease.silent(draft.now) and not turn.fresh:
        begin(draft)  # the lease has run out during the look
        return
    facts = replace(turn.facts, facts=(*turn.facts.facts, *_own_facts(draft.state)))
    report = host_report(draft.seen, turn.ordered, strategy=rules.strategy, any_cell=rules.any_cell, facts=facts)
    if report != lease.reported:
        draft.change(lease=send(lease, Message(at=draft.now, report=report, in_turn=True)))
        draft.do(SendReport(report=report))
    elif lease.due(draft.now):
        draft.change(lease=send(lease, Message(at=draft.now, report=None, in_turn=True)))
        draft.do(SendHeartbeat())
    else:
        decide(draft)


def _own_facts(state: State) -> Pairs:
    """What the agent tells of itself in the host's report: why ordered pools are refused, and how many repairs there were."""
    refused = state.troubles.get(ORDERED)
    return (
        *(() if refused is None else ((POOLS_REFUSED, refused),)),
        *(((REPAIRS, counts_text(state.repair_counts)),) if state.repair_counts else ()),
    )


def decide(draft: Draft) -> None:
    """Begin the tasks that are due, once the memory is in its file; then report the guests."""
    if _ended(draft):
        return
    turn = draft.turn
    present = present_guests(draft.seen.guests, draft.state.rules.owner)
    _note_states(draft, present)
    _adopt(draft, present)
    if draft.state.memory != draft.state.saved:
        draft.change_turn(phase=Phase.MEMORY)
        work.save(draft)
        return
    tasks = _due_tasks(draft, turn, present)
    missing = _missing(draft, tasks)
    if not missing <= turn.missing:
        draft.change_turn(phase=Phase.ORDERS, missing=turn.missing | missing)
        _read_orders(draft)
        return
    for task in tasks:
        work.begin(draft, task, turn.facts.host_boot)
    draft.change_turn(moving=turn.moving | {task.guest for task in tasks})
    _plan_reports(draft, present)
    report(draft)


def _note_states(draft: Draft, present: tuple[PresentGuest, ...]) -> None:
    """Tell in the stories what each guest of the service is doing, when that has changed."""
    for guest in present:
        if draft.guest(guest.guest).observed is not guest.state:
            draft.change_guest(guest.guest, observed=guest.state)
            draft.note(guest.guest, f"it is {guest.state.value}")
    here = {guest.guest for guest in present}
    for gone in [guest for guest, status in draft.state.guests.items() if status.observed is not None and guest not in here]:
        draft.change_guest(gone, observed=None)
        draft.note(gone, "it is not defined here")


def _adopt(draft: Draft, present: tuple[PresentGuest, ...]) -> None:
    """Remember the boot of a running guest whose start was not written down, because the agent died between the two."""
    turn = draft.turn
    orders = {order.guest: order for order in turn.orders.orders}
    known = {entry.guest for entry in draft.state.memory.booted}
    for guest in present:
        order = orders.get(guest.guest)
        if order is None or guest.guest in known or guest.guest in turn.moving:
            continue
        if guest.state is GuestState.RUNNING and is_of(order, guest.claim, guest.revision):
            # A new disk that the service has not heard of may be missing still.
            boot = order.booted if order.rebuild > order.booted else order.boot
            booted = LastBoot(guest=guest.guest, boot=boot, host_boot=turn.facts.host_boot)
            draft.change(memory=remember_boot(draft.state.memory, booted))
            draft.note(guest.guest, f"it runs by an earlier agent's start, remembered as boot {boot}")


def _due_tasks(draft: Draft, turn: Turn, present: tuple[PresentGuest, ...]) -> list[Task]:
    """The tasks that are due now. The time to shut down starts here for guests that are asked to."""
    running = {guest.guest for guest in present if guest.state is GuestState.RUNNING}
    by_guest = {order.guest: order for order in turn.orders.orders}
    for guest, status in draft.state.guests.items():
        asked = status.shutdown
        if asked is not None and not shutdowns.still_wanted(asked, by_guest.get(guest), running=guest in running):
            draft.change_guest(guest, shutdown=None)
    requests = {guest: status.shutdown for guest, status in draft.state.guests.items() if status.shutdown is not None}
    patience = shutdowns.patience(requests, draft.state.rules.shutdown_seconds, draft.now)
    tasks = reconcile(turn.orders, present, draft.state.memory, turn.facts.host_boot, patience)
    return [task for task in tasks if task.guest not in turn.moving and _is_due(draft, task)]


def _missing(draft: Draft, tasks: list[Task]) -> frozenset[GuestId]:
    """The guests to start that ran here before, and are gone. Somebody may have removed them because the service no longer knows them, so
    they are started only by orders that were read after they were found missing.
    """
    ran = {entry.guest for entry in draft.state.memory.booted}
    return frozenset(task.guest for task in tasks if task.act is Act.START and task.guest in ran)


def _is_due(draft: Draft, task: Task) -> bool:
    status = draft.guest(task.guest)
    refused = (task.act in PAUSES and status.not_paused) or (task.act is Act.CHANGE_INTERFACES and _stands(status, task.order))
    return not refused and pace.due(status.attempt, task, draft.now)


def _stands(status: GuestStatus, order: GuestOrder | Tombstone | None) -> FailedInterfaces | None:
    """What could not be attached or detached, if the order is still the one that asked for it."""
    failed = status.failed_interfaces
    if failed is None or not isinstance(order, GuestOrder) or (failed.claim, failed.revision) != (order.claim.id, order.claim.revision):
        return None
    return failed


def _plan_reports(draft: Draft, present: tuple[PresentGuest, ...]) -> None:
    """Set which guests are to be reported: those of the service here with the record of their order, and those that are gone."""
    turn, state = draft.turn, draft.state
    sweep = draft.now - state.swept >= state.rules.sweep_seconds
    if sweep:
        for guest, status in state.guests.items():
            if status.unsure and status.answered is not None:
                draft.change_guest(guest, unsure=False, answered=None)
    ordered = {order.guest: order for order in turn.orders.orders if order.desired is not Desired.ABSENT}
    named = {guest.guest for guest in present if guest.guest in ordered and is_of(ordered[guest.guest], guest.claim, guest.revision)}
    here = tuple(guest for guest in draft.seen.ours if guest.id in named)
    lost = lost_guests(turn.orders, present, state.memory)
    due = (*(guest for guest in here if guest.id not in turn.moving), *(each for each in lost if each[0] not in turn.moving))
    draft.change_turn(phase=Phase.REPORTS, due=due, sweep=draft.now if sweep else None)


def report(draft: Draft) -> None:
    """Report the next guest whose state changed, and all threads when a sweep is due; end the turn after the last one."""
    while not _ended(draft):
        turn = draft.turn
        if not turn.due:
            _end(draft, turn)
            return
        following, *_ = turn.due
        if isinstance(following, tuple):
            if _send(draft, *following):
                return
        else:
            answered = draft.guest(following.id).answered
            known = None if answered is None or answered.threads is None else replace(answered.threads, hangs=following.hangs)
            told = _guest_report(draft, following, known)
            if following.active and (turn.sweep is not None or told != answered):
                draft.do(Verify(guest=following, online=draft.seen.state.topology.online))
                return
            if _send(draft, following.id, told):
                return
        _next(draft)


def verified(draft: Draft, threads: ThreadReport | None, drift: str) -> None:
    """Log a guest's drift, and send its report with its threads."""
    guest = draft.turn.due[0]
    assert isinstance(guest, HostGuest)
    draft.complain(f"drift of guest {guest.id}", f"guest {guest.name} has drifted: {drift}" if drift else "", guest=guest.id)
    if not _send(draft, guest.id, _guest_report(draft, guest, threads)):
        _next(draft)
        report(draft)


def reported(draft: Draft, guest: GuestId, acknowledged: GuestReport) -> None:
    """Keep the report that the service acknowledged, and go on with the next guest."""
    before = draft.guest(guest).answered
    draft.change_guest(guest, answered=acknowledged)
    if before is None or (before.observed, before.boot, before.failure) != (
        acknowledged.observed,
        acknowledged.boot,
        acknowledged.failure,
    ):
        draft.note(guest, f"the service is told: {acknowledged.observed.value} {acknowledged.failure}".rstrip())
    draft.complain(f"report of guest {guest}", "", guest=guest)
    _next(draft)
    report(draft)


def not_reported(draft: Draft, guest: GuestId, why: str, *, away: bool) -> None:
    """Go on with the next guest, unless the service is away, which ends the turn."""
    draft.complain(f"report of guest {guest}", f"report of guest {guest}: {why}", guest=guest)
    if away:
        draft.change_guest(guest, unsure=True)
        fail(draft, why)
    else:
        _next(draft)
        report(draft)


def fail(draft: Draft, why: str) -> None:
    """End the turn with an error; the next one tries again."""
    draft.complain("turn", why)
    _rest(draft)


def _end(draft: Draft, turn: Turn) -> None:
    draft.complain("turn", "")
    if turn.sweep is not None:
        audits.begin(draft)  # after the reports, whose readings of threads it uses
        draft.change(swept=turn.sweep)
    guests = draft.state.guests.items()
    known = {key: status for key, status in guests if key in turn.ordered or status.observed is not None or status.work is not None}
    draft.change(guests=known)
    _rest(draft)


def _rest(draft: Draft) -> None:
    """Set when the next turn begins at the latest."""
    state, now = draft.state, draft.now
    requests = [status.shutdown for status in state.guests.values() if status.shutdown is not None]
    soonest = min(
        state.lease.seconds * SPEAKS,
        state.rules.sweep_seconds,
        *(pace.wait(status.attempt, now) for status in state.guests.values()),
        shutdowns.wait(requests, state.rules.shutdown_seconds, now),
    )
    draft.change(turn=None, turn_again=now + max(SHORTEST_PAUSE, soonest))


def _ended(draft: Draft) -> bool:
    """Whether the agent is to end; its turn then ends here."""
    if draft.state.ending:
        draft.change(turn=None)
    return draft.state.ending


def _next(draft: Draft) -> None:
    draft.change_turn(due=draft.turn.due[1:])


def _guest_report(draft: Draft, guest: HostGuest, threads: ThreadReport | None) -> GuestReport:
    booted = next((entry for entry in draft.state.memory.booted if entry.guest == guest.id), None)
    order = next((one for one in draft.turn.orders.orders if one.guest == guest.id), None)
    failed = draft.guest(guest.id).failed_move
    stands = failed is not None and order is not None and (failed.claim, failed.revision) == (order.claim.id, order.claim.revision)
    unmoved = failed.failure if failed is not None and stands else ""
    rebuild = 0 if order is None else order.rebuild
    not_changed = _stands(draft.guest(guest.id), order)
    interfaces = None if order is None else interfaces_report(guest, order, () if not_changed is None else not_changed.failures)
    to_run = order is not None and order.desired is Desired.RUNNING and order.pause is Pause.NONE
    return guest_report(
        guest,
        booted,
        threads,
        unmoved=unmoved,
        not_paused=draft.guest(guest.id).not_paused,
        rebuild=rebuild,
        stays_paused=to_run and guest.state is GuestState.PAUSED,
        interfaces=interfaces,
    )


def _send(draft: Draft, guest: GuestId, told: GuestReport) -> bool:
    """Send the report unless the service has acknowledged the same. Returns whether it is sent."""
    if told == draft.guest(guest).answered:
        draft.complain(f"report of guest {guest}", "", guest=guest)
        return False
    draft.change_guest(guest, answered=None)
    draft.do(SendGuest(guest=guest, report=told))
    return True

"""`step`: the agent as a function of its state and one event. Pure: it decides, and the loop performs what it returns.

The agent takes turns (`turn`): read the orders if need be, look at the host, send its report or a heartbeat, begin the tasks that
`reconcile` names, report the guests. A turn begins when orders or events arrive, when a task has ended or is due again, and at the latest
with the next heartbeat. Beside the turns, and held up by none: orders are polled, which prolongs the lease; a heartbeat that is overdue is
sent; each guest's task goes its way (`work`), the host is audited (`audits`), and guests that drifted are repaired (`repairing`). While the
service is silent, the agent keeps asking it and begins nothing, because its orders may be old.

>>> from pinfold.host.loop_events import Moment, Tick
>>> from pinfold.agent.reconcile import Memory
>>> from pinfold.agent.state import Rules, starting
>>> state, actions = step(starting(Memory(), Rules(owner="the agent of c1"), 0.0), Tick(when=Moment(at=0.0)))
>>> [type(action).__name__ for action in actions]
['ReadOrders']
"""

from __future__ import annotations

import logging
from typing import Final

from pinfold.agent import actions, audits, drift_repairs, events, guest_questions, history, options, pace, repairs_on_demand, turn, work
from pinfold.agent.actions import Action
from pinfold.agent.draft import Draft
from pinfold.agent.events import Event
from pinfold.agent.lease import SPEAKS, Lease, Message, Sight, answered, polled, renewed_early, send, unanswered, unproven
from pinfold.agent.reconcile import Task
from pinfold.agent.responses import ParsedOrders
from pinfold.agent.state import Phase, State
from pinfold.agent.wire import Orders
from pinfold.host.loop_events import HungUp, Repaired, Stop, Tick

BACKOFF_SECONDS: Final = 1.0
"""The pause before a service is asked for orders again that answered at once with nothing new, or that takes other messages again."""
STORIES_SECONDS: Final = 1.0
"""The shortest time between two writings of the stories."""


def step(state: State, event: Event) -> tuple[State, tuple[Action, ...]]:
    """The next state, and the actions to perform, in order. Each answer comes back as an event, in any order and at any time."""
    draft = Draft(state, event.when)
    _hear(draft, event)
    _go_on(draft)
    return draft.state, tuple(draft.actions)


def due_at(state: State) -> float:
    """When a `Tick` is due at the latest, by the clock of `Moment.at`."""
    times = [] if state.turn is not None else [max(state.turn_again, state.busy_until)]
    times += [] if state.polling or state.orders is None else [state.poll_again]
    return min(times, default=float("inf"))


def _hear(draft: Draft, event: Event) -> None:
    match event:
        case Tick():
            pass
        case events.HostChanged(event=change):
            draft.note(change.guest, f"the hypervisor says: {change.kind.value} {change.detail}".rstrip())
            draft.change(stale=True)
        case Stop():
            _end(draft)
        case HungUp():
            options.read(draft)
        case events.OptionsRead():
            options.have_read(draft, event)
        case events.PoolsWritten(pools=pools):
            options.have_kept(draft, pools)
        case events.OrdersRead() | events.RenewedEarly() | events.Welcomed():
            _hear_service(draft, event)
        case events.Failed(action=actions.SendHistory(), why=why):
            history.failed(draft, why)
        case events.Failed(action=actions.AnswerQuestion(), why=why):
            guest_questions.failed(draft, why)
        case events.Failed(action=actions.RepairOnDemand() | actions.SendRepair() as action, why=why):
            repairs_on_demand.failed(draft, action, why)
        case events.RepairedOnDemand() | events.RepairSent():
            repairs_on_demand.answered(draft, event)
        case events.Failed():
            _failed(draft, event)
        case _:
            _answered(draft, event)


def _hear_service(draft: Draft, event: events.OrdersRead | events.RenewedEarly | events.Welcomed) -> None:
    match event:
        case events.OrdersRead(parsed=parsed, polled=waited):
            _take_orders(draft, parsed, waited=waited)
        case events.RenewedEarly(renewal=renewal):
            if draft.state.polling and draft.state.alive:
                _prolong(draft, renewed_early(draft.state.lease, draft.state.polled, renewal))
                if renewal.audited:
                    audits.repeated(draft)
        case events.Welcomed():
            _welcomed(draft, event)


def _answered(draft: Draft, event: events.Answer) -> None:
    match event:
        case events.Looked(seen=seen, facts=facts):
            turn.looked(draft, seen, facts)
        case events.Verified(threads=threads, drift=drift):
            turn.verified(draft, threads, drift)
        case events.Reported(guest=guest, report=report):
            turn.reported(draft, guest, report)
        case events.Audited():
            audits.audited(draft, event)
        case events.FindingsSent(report=report):
            audits.sent(draft, report)
        case Repaired(guest=drifted, failure=failure, needless=needless):
            drift_repairs.repaired(draft, drifted, failure, needless=needless)
        case events.Performed(guest=guest, outcome=outcome):
            work.performed(draft, guest, outcome)
        case events.Confirmed(guest=guest):
            work.confirmed(draft, guest)
        case events.Saved(memory=memory):
            work.saved(draft, memory)
            if draft.waits_for(Phase.MEMORY) and not draft.state.saving:
                turn.decide(draft)
        case events.HistorySent():
            history.sent(draft)
        case events.QuestionAnswered():
            guest_questions.answered(draft)
        case events.StoriesSaved(stories=stories):
            draft.change(stories_saved=stories, saving_stories=False, stories_again=draft.now + STORIES_SECONDS)
            draft.complain("stories", "")


def _failed(draft: Draft, event: events.Failed) -> None:
    _note_busy(draft, event)
    match event.action:
        case actions.PollOrders():
            pause = pace.next_pause(draft.state.poll_pause)
            poll_again = draft.now + max(pace.spread(pause, draft.state.rules.owner), event.again)
            draft.change(polling=False, poll_pause=pause, poll_again=poll_again, lease=unproven(draft.state.lease))
            draft.complain("orders", f"no orders: {event.why}")
        case actions.SendReport() | actions.SendHeartbeat():
            _unwelcome(draft, event.why)
        case actions.Repair(guest=drifted):
            drift_repairs.repaired(draft, drifted, event.why)
        case actions.Perform(task=Task(guest=guest)) | actions.Confirm(guest=guest):
            work.finish(draft, guest, event.why)
        case actions.SaveMemory():
            work.not_saved(draft, event.why)
            if draft.waits_for(Phase.MEMORY):
                turn.fail(draft, event.why)
        case actions.Audit() | actions.SendFindings():
            audits.failed(draft, event.action, event.why, event.again)
        case actions.SaveStories(stories=stories):
            draft.change(stories_saved=stories, saving_stories=False)  # the next entry writes them again
            draft.complain("stories", f"the stories of guests cannot be written: {event.why}")
        case actions.ReadOptions() | actions.WritePools():
            options.failed(draft, event.action, event.why)
        case actions.Look():
            draft.change(sight=Sight())
            turn.fail(draft, event.why)
        case actions.ReadOrders():
            turn.fail(draft, event.why)
        case actions.Verify(guest=seen):
            turn.not_reported(draft, seen.id, event.why, away=event.away)
        case actions.SendGuest(guest=guest):
            turn.not_reported(draft, guest, event.why, away=event.away)


def _note_busy(draft: Draft, event: events.Failed) -> None:
    """Begin no turn before the service wants to be asked, if what it refused belongs to a turn."""
    if event.again and isinstance(event.action, actions.ReadOrders | actions.SendReport | actions.SendGuest):
        draft.change(busy_until=max(draft.state.busy_until, draft.now + event.again))


def _end(draft: Draft) -> None:
    """Begin nothing more. What is under way goes on; a start that waits for its place is left to the next agent."""
    for guest in draft.state.waiting:
        draft.change_guest(guest, work=None)
    draft.change(ending=True, waiting=())


def _take_orders(draft: Draft, parsed: ParsedOrders, *, waited: bool) -> None:
    """Follow what a poll or a turn's reading has answered, unless it was asked for before the orders that are known, and may be older. The
    next poll then tells what is missing. Counts do not say which orders are older: those of a database that was restored begin lower.
    """
    before = draft.state.orders
    asked = draft.state.polled if waited else draft.state.read
    overtaken = asked < draft.state.orders_asked
    if waited:
        hasty = draft.now - draft.state.polled < BACKOFF_SECONDS
        # The answer after which nothing has changed has no orders, and may come after a turn has read newer ones.
        same = parsed.orders.count == draft.state.poll_after
        news = not same and (before is None or parsed.orders.count != before.count)
        if draft.state.alive:
            _prolong(draft, polled(draft.state.lease, draft.state.polled, parsed.orders.lease))
        draft.change(polling=False, poll_pause=0.0, poll_again=draft.now if news or not hasty else draft.now + BACKOFF_SECONDS)
        draft.complain("orders", "")
        if not news or overtaken:
            options.follow_order(draft)  # once more, if it failed
            return
        draft.change(stale=True)
    if not overtaken:
        draft.change(orders_asked=asked)
        _follow(draft, parsed, before)
    if not waited:
        turn.look(draft, fresh=True)


def _follow(draft: Draft, parsed: ParsedOrders, before: Orders | None) -> None:
    """Keep new orders, and do at once what is not done in turns."""
    known = {refused.sentence() for refused in draft.state.refused}
    for sentence in (refused.sentence() for refused in parsed.refused):
        if sentence not in known:
            draft.log(logging.ERROR, sentence)
    draft.change(orders=parsed.orders, refused=parsed.refused)
    work.note_orders(draft, before)
    options.follow_order(draft)
    history.asked(draft)
    guest_questions.asked(draft)
    repairs_on_demand.take(draft)


def _prolong(draft: Draft, lease: Lease) -> None:
    """Keep the lease as a poll has left it. If the service has another report of the host, the next turn sends it again."""
    lost = lease.reported is None and draft.state.lease.reported is not None
    draft.change(lease=lease, stale=draft.state.stale or lost)


def _welcomed(draft: Draft, event: events.Welcomed) -> None:
    sent = draft.state.lease.sent
    assert sent is not None
    lease = answered(draft.state.lease, sent, event.welcome, draft.now)
    draft.change(lease=lease, stale=draft.state.stale or lease.reported is None)
    draft.complain("heartbeat", "")
    pause = BACKOFF_SECONDS if draft.state.poll_pause else 0.0
    draft.change(poll_pause=0.0, poll_again=min(draft.state.poll_again, draft.now + pause))  # it is there again
    if sent.report is not None:  # it takes reports again
        draft.change(busy_until=min(draft.state.busy_until, draft.now))
        _announce(draft, reported=True)
    _after_message(draft, sent, "")


def _announce(draft: Draft, *, reported: bool) -> None:
    if draft.state.announce_at is not None:
        draft.change(announce_at=None)
        draft.do(actions.Announce(reported=reported))


def _unwelcome(draft: Draft, why: str) -> None:
    sent = draft.state.lease.sent
    assert sent is not None
    draft.change(lease=unanswered(draft.state.lease))
    if not sent.in_turn:
        draft.complain("heartbeat", f"no heartbeat: {why}")
    _after_message(draft, sent, why)


def _after_message(draft: Draft, sent: Message, why: str) -> None:
    """Let the turn go on that waited for its own message, or for a heartbeat that was overdue."""
    if not draft.waits_for(Phase.LEASE):
        return
    if not sent.in_turn:
        turn.speak(draft)
    elif why:
        turn.fail(draft, why)
    else:
        turn.decide(draft)


def _go_on(draft: Draft) -> None:
    """Begin what is due, whatever the event was."""
    state = draft.state
    if state.stories is not state.stories_saved and not state.saving_stories and (draft.now >= state.stories_again or state.ending):
        draft.change(saving_stories=True)
        draft.do(actions.SaveStories(stories=state.stories))
    if state.ending:
        return
    if state.announce_at is not None and draft.now >= state.announce_at:
        _announce(draft, reported=False)
    if state.orders is not None and not state.polling and draft.now >= state.poll_again:
        _poll(draft)
    if state.lease.overdue(draft.now) and state.sight.fresh(state.lease.seconds, draft.now):
        draft.change(lease=send(state.lease, Message(at=draft.now, report=None, in_turn=False)))
        draft.do(actions.SendHeartbeat())
    if state.turn is None and (state.stale or draft.now >= state.turn_again) and draft.now >= state.busy_until:
        turn.begin(draft)


def _poll(draft: Draft) -> None:
    """Ask for orders that are not known yet, or see later whether to."""
    state = draft.state
    assert state.orders is not None
    if state.lease.reports_first(state.sight, draft.now):
        draft.change(poll_again=draft.now + state.lease.seconds * SPEAKS)
        return
    alive = state.lease.may_poll(state.sight, draft.now)
    wait = state.lease.poll_seconds(state.polled, alive=alive)
    draft.change(polling=True, polled=draft.now, poll_after=state.orders.count, alive=alive)
    audited = audits.age(state.audits, draft.now) if alive else None
    draft.do(actions.PollOrders(after=state.orders.count, wait=wait, alive=alive, audited=audited))

"""The watch as a function of its state and one event: the next state, and what the loop is to do. Pure.

A sweep begins every `interval` seconds, and at once when the hypervisor tells of a change. After each sweep the watch rests for a second,
or for ten times as long as the sweep took, before it follows an event. So a host on which guests come and go all the time is not swept
all the time.
"""

from __future__ import annotations

import logging
from typing import Final, assert_never

from msgspec.structs import replace

from pinfold.core import repairs
from pinfold.core.drift.written import write
from pinfold.core.repairs import Drifted, Result
from pinfold.core.settings import HostSettings
from pinfold.core.usage import accumulated
from pinfold.host.loop_events import HungUp, Repaired, Stop, Tick
from pinfold.watch import pool_comparison
from pinfold.watch.changes import Change, ChangeKind
from pinfold.watch.draft import Draft
from pinfold.watch.messages import (
    Action,
    Event,
    HostChanged,
    Note,
    PoolsFollowed,
    Publish,
    Published,
    ReadSettings,
    Repair,
    SettingsRead,
    SettingsRefused,
    Stamp,
    Sweep,
    SweepFailed,
    Swept,
)
from pinfold.watch.state import State

REST_SECONDS: Final = 1.0
REST_TIMES: Final = 10.0
_REPAIR_OF: Final = "repair of "


def step(state: State, event: Event) -> tuple[State, tuple[Action, ...]]:
    """The state after the event, and what the loop is to do, in this order."""
    draft = Draft(state, event.when)
    match event:
        case Tick():
            pass
        case HostChanged():
            draft.change(changed=True)
        case Stop():
            draft.change(ending=True)
        case HungUp():
            _hung_up(draft)
        case Swept():
            _swept(draft, event)
        case SweepFailed(why=why):
            draft.change(sweeping=False, failed_sweeps=state.failed_sweeps + 1)
            draft.complain("sweep", f"the host cannot be swept: {why}")
            _rest(draft, 0.0)
        case SettingsRead(settings=settings):
            _settings_read(draft, settings, event.stamp)
        case SettingsRefused(why=why):
            draft.log(logging.ERROR, f"{state.reading}: the configuration of before still counts: {why}")
            _reading_ended(draft, event.stamp)
        case Repaired():
            _repaired(draft, event)
        case PoolsFollowed():
            pool_comparison.followed(draft, event)
        case Published(failures=failures):
            for about, failure in failures:
                draft.complain(about, failure)
        case _:
            assert_never(event)
    _begin(draft)
    return draft.state, tuple(draft.actions)


def due_at(state: State) -> float:
    """When the next sweep begins, unless an event comes first."""
    return min(state.due, state.rest_until) if state.changed else state.due


def _begin(draft: Draft) -> None:
    """Begin a sweep if one is due."""
    state = draft.state
    if not (state.sweeping or state.ending) and draft.now >= due_at(state):
        draft.change(sweeping=True, changed=False)
        draft.do(Sweep(settings=state.settings, scope=state.scope))


def _rest(draft: Draft, seconds: float) -> None:
    at = draft.now
    again = repairs.next_due(draft.state.book)
    soonest = at + draft.state.interval
    draft.change(due=min(soonest, again) if again > at else soonest, rest_until=at + max(REST_SECONDS, REST_TIMES * seconds))


def _swept(draft: Draft, event: Swept) -> None:
    state = draft.state
    book, undone = repairs.after_sweep(state.book, event.drifted, event.running, event.when.at)
    for one in undone:
        draft.change(repairs=repairs.counted(draft.state.repairs, one, Result.UNDONE))
        _say(draft, one, Result.UNDONE, f"guest {one.name}: somebody undid its repair")
    given_up = tuple(map(write, repairs.findings(book, repairs.BY_THE_WATCH)))
    draft.change(
        sweeping=False,
        book=book,
        snapshot=replace(event.snapshot, findings=(*event.snapshot.findings, *given_up)) if given_up else event.snapshot,
        usage=accumulated(state.usage, event.sample),
        swept_time=event.when.time,
        sweep_seconds=event.seconds,
        sweeps=state.sweeps + 1,
        unread=len(event.unread),
        capacity=event.capacity,
    )
    draft.complain("sweep", "")
    _repairs_over(draft, event)
    draft.complain("guests", "; ".join(f"guest {name} cannot be read: {why}" for name, why in event.unread))
    draft.complain("pools", "; ".join(event.warnings))
    draft.complain("repair", "; ".join(f"{finding.sentence}; {finding.advice}" for finding in given_up))
    draft.do(Publish())
    pool_comparison.after_sweep(draft, state.snapshot, event.snapshot)
    _files_seen(draft, event.stamp)
    for one in repairs.due(book, event.when.at):
        draft.do(Repair(guest=one, settings=draft.state.settings, scope=draft.state.scope))
    _rest(draft, event.seconds)


def _repairs_over(draft: Draft, event: Swept) -> None:
    """A failed repair is no problem any more once its guest has no drift, or has ended. A guest that was not read may still drift."""
    read = {guest.id for guest in event.snapshot.guests}
    there = {one.guest_id for one in event.drifted} | (event.running - read)
    for about in [about for about in draft.state.troubles if about.startswith(_REPAIR_OF)]:
        if about.removeprefix(_REPAIR_OF) not in there:
            draft.complain(about, "")


def _repaired(draft: Draft, event: Repaired) -> None:
    one = event.guest
    if event.needless:
        draft.change(book=repairs.needless(draft.state.book, one.guest_id, event.when.at))
        draft.complain(_REPAIR_OF + one.guest_id, "")
        return
    draft.change(book=repairs.repaired(draft.state.book, one.guest_id, event.when.at, failed=bool(event.failure)))
    result = Result.FAILED if event.failure else Result.DONE
    draft.change(repairs=repairs.counted(draft.state.repairs, one, result))
    if event.failure:
        draft.complain(_REPAIR_OF + one.guest_id, f"guest {one.name} cannot be repaired: {event.failure}")
        return
    draft.complain(_REPAIR_OF + one.guest_id, "")
    sentence = f"guest {one.name} was repaired, its threads are in their places; what would undo it: {one.undoer}"
    _say(draft, one, result, sentence)
    draft.change(changed=True)


def _say(draft: Draft, one: Drifted, result: Result, sentence: str) -> None:
    """Log the result of a repair, and write it into the journal."""
    draft.log(logging.WARNING, sentence)
    draft.do(Note(change=Change(kind=ChangeKind.REPAIR, guest=one.name, guest_id=one.guest_id, subject=result.value, after=sentence)))


def _read(draft: Draft, why: str) -> None:
    draft.change(reading=why)
    draft.do(ReadSettings())


def _hung_up(draft: Draft) -> None:
    """Read the configuration; once more after a reading that is under way, because the files may have changed after it read them."""
    if draft.state.reading:
        draft.change(read_again=True)
    else:
        _read(draft, "SIGHUP")


def _reading_ended(draft: Draft, stamp: Stamp) -> None:
    again = draft.state.read_again
    draft.change(reading="", read_again=False, read_stamp=stamp)
    if again:
        _hung_up(draft)


def _files_seen(draft: Draft, stamp: Stamp) -> None:
    """Read files that have changed, once two sweeps have seen them alike, because somebody may still be writing them."""
    changed = stamp != draft.state.read_stamp and None not in stamp
    if changed and stamp == draft.state.stamp and not draft.state.reading:
        _read(draft, "the configuration files changed")
    draft.change(stamp=stamp)


def _settings_read(draft: Draft, settings: HostSettings, stamp: Stamp) -> None:
    """Use the new settings from the next sweep on, which begins now. The connection and the folder of the journal stay.

    Other pools put guests into other places, so what was done about drift by the old ones no longer counts.
    """
    old, why = draft.state.settings, draft.state.reading or "SIGHUP"
    if settings.uri != old.uri or settings.state_dir != old.state_dir:
        draft.log(logging.WARNING, f"{why}: connection_uri and state_dir stay as they are until the watch is started again")
    new = replace(settings, uri=old.uri, state_dir=old.state_dir)
    draft.log(logging.WARNING, f"{why}: the configuration {'has not changed' if new == old else 'was read again'}")
    book = draft.state.book if new.pools == old.pools else {}
    draft.change(settings=new, due=draft.now, book=book)
    _reading_ended(draft, stamp)

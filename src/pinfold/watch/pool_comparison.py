"""The part of `step` about pools: it says what changed, and lets guests be compared with the pools of today (`pools` has the rule)."""

from __future__ import annotations

import logging

from pinfold.watch.changes import Change, ChangeKind, pool_changes, pool_sentence
from pinfold.watch.draft import Draft
from pinfold.watch.messages import FollowPools, Note, PoolsFollowed
from pinfold.watch.pools import AGAIN_SECONDS, SETTLE_SECONDS, PoolsMode, left_behind
from pinfold.watch.snapshot import Snapshot
from pinfold.watch.state import NEVER


def after_sweep(draft: Draft, before: Snapshot | None, now: Snapshot) -> None:
    """Say which pools are others than at the sweep before, and let the guests be compared with the pools if that is due."""
    state, at = draft.state, draft.now
    if before is not None:
        for change in pool_changes(before, now):
            draft.log(logging.WARNING, pool_sentence(change))
        if state.pools_mode is PoolsMode.APPLY and _running(now) - _running(before):
            draft.change(plan_again=min(state.plan_again, at + SETTLE_SECONDS))
    pools = tuple((pool.name, str(pool.cpus)) for pool in now.pools)
    mode = state.pools_mode
    if mode is not None and not (state.planning or state.ending) and (pools != state.planned or at >= draft.state.plan_again):
        draft.change(planned=pools, planning=True, plan_again=NEVER)
        draft.do(FollowPools(settings=state.settings, mode=mode))


def followed(draft: Draft, event: PoolsFollowed) -> None:
    """Say who has followed, and who has not; compare again later as long as somebody has not."""
    mode = draft.state.pools_mode
    assert mode is not None
    behind = event.failure or left_behind(event.guests, mode)
    draft.change(planning=False)
    if behind:
        draft.change(plan_again=min(draft.state.plan_again, event.when.at + AGAIN_SECONDS))
    draft.complain("guests and pools", f"guests are not compared with the pools of today: {behind}" if event.failure else behind)
    if mode is PoolsMode.REPORT:
        return
    for one in event.guests:
        if one.pending and not one.why:
            draft.log(logging.WARNING, one.moved)
            draft.do(Note(change=Change(kind=ChangeKind.FOLLOWED, guest=one.name, guest_id=one.guest_id, after=one.moved)))
            draft.change(changed=True)


def _running(snapshot: Snapshot) -> frozenset[str]:
    return frozenset(guest.id for guest in snapshot.guests if guest.runs)

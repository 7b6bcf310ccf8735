"""The part of `step` about the configuration: read it again, use its pools, and keep in it the pools that the service orders."""

from __future__ import annotations

import logging
from typing import Final

from msgspec.structs import replace

from pinfold.agent.actions import ReadOptions, UsePools, WritePools
from pinfold.agent.draft import Draft
from pinfold.agent.events import OptionsRead
from pinfold.core.options import difference, refusal, taken_over
from pinfold.core.pools import DEDICATED, OVERHEAD, SHARED, PoolOrder

POOL_KEYS: Final = frozenset(f"[compute] {name}" for name in (SHARED, DEDICATED, OVERHEAD))
"""The options that change in a running agent."""
ORDERED: Final = "pools of the service"
"""What a problem with the pools that the service orders is about, and why the configuration is read after they were written."""


def read(draft: Draft, cause: str = "SIGHUP") -> None:
    """Read the configuration; once more after a reading that is under way, because the files may have changed after it read them."""
    if draft.state.reading:
        draft.change(read_again=True)
        return
    draft.change(reading=True)
    draft.do(ReadOptions(cause=cause))


def have_read(draft: Draft, event: OptionsRead) -> None:
    """Log what has changed. Use other pools from now on: look at the host by them, and report them, so that its guests follow."""
    rules, kept = draft.state.rules, draft.state.kept_pools
    draft.log(logging.WARNING, f"{event.cause}: {difference(rules.options, event.options, POOL_KEYS)}")
    draft.change(rules=replace(rules, options=taken_over(rules.options, event.options, POOL_KEYS), pools=event.pools))
    if event.pools != rules.pools:
        draft.change(stale=True, repairs={})
        draft.do(UsePools(pools=event.pools))
    if not draft.state.keeping_pools:
        overruled = kept is not None and kept.config != event.pools
        _complain(draft, "another file of the configuration, which is read later, has other pools" if overruled else "")
    _ended(draft)


def failed(draft: Draft, action: ReadOptions | WritePools, why: str) -> None:
    """Go on as before, and say so in the log. Of the pools that the service orders, the report of the host says so too."""
    if isinstance(action, WritePools):
        draft.change(keeping_pools=False)  # the next answer with orders is the next try
        _complain(draft, why)
        return
    draft.log(logging.ERROR, f"{action.cause}: {refusal(why)}")
    if action.cause == ORDERED:
        _complain(draft, why)
    _ended(draft)


def follow_order(draft: Draft) -> None:
    """Write the pools that the service orders into the configuration, unless they are there."""
    orders = draft.state.orders
    if orders is not None and orders.pools != draft.state.kept_pools and not draft.state.keeping_pools:
        draft.change(keeping_pools=True)
        draft.do(WritePools(pools=orders.pools))


def have_kept(draft: Draft, pools: PoolOrder | None) -> None:
    """They are in the configuration: read it."""
    draft.change(kept_pools=pools, keeping_pools=False)
    read(draft, ORDERED)
    follow_order(draft)  # the order may have changed meanwhile


def _complain(draft: Draft, why: str) -> None:
    before = draft.state.troubles.get(ORDERED)
    draft.complain(ORDERED, why and f"the pools that the service orders are not used: {why}")
    if draft.state.troubles.get(ORDERED) != before:
        draft.change(stale=True)  # so that the host's report says so


def _ended(draft: Draft) -> None:
    again = draft.state.read_again
    draft.change(reading=False, read_again=False)
    if again:
        read(draft)

"""The screen of `host pools`: which threads move from where to where, and what stays."""

from __future__ import annotations

from rich.console import RenderableType
from rich.text import Text

from pinfold.cli.views.columns import Columns
from pinfold.cli.views.phrases import guest_cell
from pinfold.core.drift import Subject
from pinfold.core.drift.remedy import replaced
from pinfold.core.plural import count, pcpus
from pinfold.core.pools import Pools
from pinfold.host.pool_change import AppliedPlan, GuestChange, PoolPlan, ThreadMove
from pinfold.host.verify import GuestOrigin


def pools_view(plan: PoolPlan, done: AppliedPlan | None, applying: str) -> list[RenderableType]:
    """The pools, every move in a table, then one sentence for each thing to know about a guest, then the total with
    `applying`, the command that moves them. Pure.
    """
    lines: list[RenderableType] = [_pools(plan.seen.state.pools), Text()]
    pending = [change for change in plan.changes if change.pending]
    if pending:
        lines += [_moves(pending), Text()]
    for change in plan.changes:
        lines += _sentences(change, "" if done is None else done.failures.get(change.guest.id, ""))
    return [*lines, _total(plan, pending, done, applying)]


def _pools(pools: Pools) -> Text:
    overhead = "none" if pools.overhead is None else pools.overhead or "none online"
    return Text(f"pools of today: shared {pools.shared or 'none'}, dedicated {pools.dedicated or 'none'}, overhead {overhead}")


def _moves(pending: list[GuestChange]) -> Columns:
    table = Columns("guest", "threads", "", "from", "to", whole=("from", "to"), right=("",))
    for change in pending:
        first = guest_cell(change.guest)
        for move in change.moves:
            table.add_row(first, move_words(move), str(move.count), str(move.before), str(move.after))
            first = Text()
        if not change.moves:
            what = "its record" if change.guest.active else "its definition"
            table.add_row(first, what, "", str(change.before.overhead), str(change.after.overhead))
    return table


def move_words(move: ThreadMove) -> str:
    """Which threads a move is about."""
    return move.thread_class.value if move.vcpu is None else f"vCPU {move.vcpu}"


def _sentences(change: GuestChange, failure: str) -> list[Text]:
    name, found = change.guest.name, []
    if change.why or failure:
        found.append(Text(f"✗ guest {name} does not follow: {failure or change.why}", style="bold red"))
    if change.retiring:
        record = change.guest.record
        frees = ""
        if record is not None and change.origin is GuestOrigin.OURS:
            subject = Subject(name=name, id=change.guest.id, active=change.guest.active, owner=record.owner)
            it = "it" if len(change.retiring) == 1 else "them"
            moves = f"; `pinfold host repin` shows whether a move inside its host cell frees {it}" if change.guest.active else ""
            frees = f"{moves}; a new place would free {it}: {replaced(subject)}"
        found.append(
            Text(f"• guest {name} keeps {pcpus(str(change.retiring))}, which retire{'s' if len(change.retiring) == 1 else ''}{frees}")
        )
    if change.later:
        found.append(Text(f"• guest {name} is Nova's: {change.later}"))
    return found


def _total(plan: PoolPlan, pending: list[GuestChange], done: AppliedPlan | None, applying: str) -> Text:
    left = sum(bool(change.why) for change in plan.changes)
    if done is not None:
        failed = len(done.failures)
        sign = ("✓ ", "bold green") if done.complete else ("✗ ", "bold red")
        words = f"{count(len(pending) - failed, 'guest')} moved" if pending else "no guest had to move"
        return Text.assemble(sign, words + (f", {left + failed} not" if left + failed else ""))
    if not pending and not left:
        return Text.assemble(("✓ ", "bold green"), "every guest is where these pools put it")
    words = f"{count(len(pending), 'guest')} to move" + (f", {left} cannot" if left else "")
    return Text(words + (f"; `{applying}` moves them, without a restart" if pending else ""), style="yellow", no_wrap=True)

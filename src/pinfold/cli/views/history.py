"""What the journal of the watch looks like on a screen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import groupby

from rich.console import RenderableType

from pinfold.cli.views.columns import Columns
from pinfold.core.cpuset import CpuSet
from pinfold.core.plural import count, pcpus
from pinfold.watch.changes import Change, ChangeKind, owners_of, pool_sentence
from pinfold.watch.journal import Entry, Excerpt
from pinfold.watch.tenures import Tenure


def utc(seconds: float) -> datetime:
    """A moment for people."""
    return datetime.fromtimestamp(seconds, UTC)


def history_view(part: Excerpt) -> Iterator[RenderableType]:
    """Every entry on a line. pCPUs that changed their owners alike are on one."""
    if not part.entries:
        yield f"Nothing changed. {_span(part)}"
        return
    table = Columns("time", "what", whole=("time",))
    for at, what in _lines(part.entries):
        table.add_row(_time(at), what)
    yield f"{_span(part)}"
    yield table


def tenures_view(pcpu: int, part: Excerpt, found: tuple[Tenure, ...]) -> Iterator[RenderableType]:
    """Who had a pCPU, a line for each."""
    yield f"pCPU {pcpu}{_pool(pcpu, part)}. {_span(part)}"
    dedicated = part.snapshot is None or any(pcpu in pool.cpus for pool in part.snapshot.pools if pool.name == "dedicated")
    nobody = "free" if dedicated else "nobody alone"
    table = Columns("from", "until", "who", whole=("from", "until"))
    for one in found:
        table.add_row(
            "before" if one.begins is None else _time(one.begins), "now" if one.ends is None else _time(one.ends), _who(one.owners, nobody)
        )
    yield table


def sentence(change: Change, cpus: CpuSet | None = None) -> str:
    """One change as a sentence. `cpus` are all pCPUs that changed alike."""
    named = pcpus(str(cpus or CpuSet.of(change.pcpu or 0)))
    match change.kind:
        case ChangeKind.CAME:
            return f"guest {change.guest} runs ({change.after})"
        case ChangeKind.WENT:
            return f"guest {change.guest} does not run any more ({change.after})"
        case ChangeKind.OWNER:
            return f"{named}: {_who(owners_of(change.after))}; before: {_who(owners_of(change.before))}"
        case ChangeKind.SECOND_OWNER:
            return f"{named}: more than one owner: {_who(owners_of(change.after))}"
        case ChangeKind.POOL:
            return pool_sentence(change)
        case ChangeKind.DRIFTED:
            return f"drift: {change.after}"
        case ChangeKind.PUT_BACK:
            return f"no more drift: {change.after}"
        case ChangeKind.REPAIR | ChangeKind.FOLLOWED:
            return change.after
        case ChangeKind.UNWATCHED:
            return f"nobody watched since {_time(float(change.before))}; changes in between are told now"


def _lines(entries: Iterable[Entry]) -> Iterator[tuple[float, str]]:
    for _, alike in groupby(
        entries, key=lambda entry: (entry.at, entry.change.kind, entry.change.before, entry.change.after, entry.change.guest)
    ):
        group = list(alike)
        first = group[0].change
        if first.pcpu is None:
            yield from ((entry.at, sentence(entry.change)) for entry in group)
        else:
            yield group[0].at, sentence(first, CpuSet(entry.change.pcpu for entry in group if entry.change.pcpu is not None))


def _who(owners: tuple[tuple[str, str, str], ...], nobody: str = "free") -> str:
    return ", ".join(f"guest {name} ({role})" for role, _, name in owners) or nobody


def _pool(pcpu: int, part: Excerpt) -> str:
    """The pools of a pCPU at the last sweep, and how many guests are confined to them, because nobody has a shared pCPU alone."""
    if part.snapshot is None:
        return ""
    pools = [pool for pool in part.snapshot.pools if pcpu in pool.cpus]
    if not pools:
        return " is in no pool"
    named = " and the ".join(f"{pool.name} pool" for pool in pools)
    shared = [pool for pool in pools if pool.name != "dedicated"]
    guests = f", which {count(max(pool.guests for pool in shared), 'guest')} share" if shared else ""
    return f" is in the {named}{guests}"


def _span(part: Excerpt) -> str:
    if not part.seen:
        return "The journal is empty: no watch has written it yet."
    return f"The journal begins at {_time(part.begins)} and was last written at {_time(part.seen)}; times are in UTC."


def _time(seconds: float) -> str:
    return f"{utc(seconds):%Y-%m-%d %H:%M:%S}"

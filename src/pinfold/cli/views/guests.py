"""The screen of a list of guests. `proof` shows the threads of one guest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import RenderableType
from rich.text import Text

from pinfold.cli.views.columns import Columns
from pinfold.cli.views.phrases import foreign_words, guest_cell, policy_words, recorded_words, short_emulator_words, vcpu_words
from pinfold.core.drift import Subject
from pinfold.core.fit.answer import Fit
from pinfold.core.plural import mib
from pinfold.core.printable import shell_word
from pinfold.drivers.port import GuestState, HostGuest
from pinfold.host.claims import reading_of
from pinfold.host.orphans import Orphan
from pinfold.host.replace import ReplaceResult
from pinfold.host.survey import Survey
from pinfold.host.verify import Verdict

_STYLES = {GuestState.RUNNING: "green", GuestState.PAUSED: "yellow", GuestState.CRASHED: "bold red", GuestState.STOPPED: "dim"}


def guests_view(guests: Sequence[HostGuest], seen: Survey | None, verdicts: Iterable[Verdict] = ()) -> list[RenderableType]:
    """One line for each guest, ours first, by name. `seen` is None if the configured pools do not fit the host. Pure.

    `verdicts` are those on guests of ours whose threads were read.
    """
    known = {verdict.guest.id: verdict for verdict in verdicts}
    if not guests:
        return [Text("no guests", style="dim")]
    mixed = any(guest.record is None for guest in guests)  # only then is it said whose each guest is
    titles = ("guest", "state", "memory", "vCPUs on", "emulator threads on", *(("whose",) if mixed else ()), "policy", "flavor")
    table = Columns(*titles, whole=("state", "memory"))
    for guest in sorted(guests, key=lambda guest: (guest.record is None, guest.name)):
        state = Text(guest.state.value, style=_STYLES[guest.state])
        record = guest.record
        if record is not None:
            where, whose = recorded_words(record.fit, known.get(guest.id)), "ours"
            policy, flavor = policy_words(record.policy), record.flavor
        else:
            where, whose = foreign_words(seen, guest), "not ours" if guest.nova is None else "Nova's"
            policy, flavor = _novas_policy(seen, guest), "" if guest.nova is None else guest.nova.flavor
        owner = (whose,) if mixed else ()
        table.add_row(guest_cell(guest), state, mib(guest.memory_mib), *where, *owner, policy, flavor)
    return [table]


def _novas_policy(seen: Survey | None, guest: HostGuest) -> str:
    """The policy of a guest of Nova's as an audit shows it; '' for any other guest, and where it is not known."""
    if seen is None or guest.nova is None:
        return ""
    reading = reading_of(seen, Subject(name=guest.name), guest)
    return policy_words(reading.policy, inferred=not reading.stated)


def replaced_view(done: ReplaceResult) -> list[RenderableType]:
    """A guest's place before and after, and why it changed. Pure."""
    name = done.guest.name
    if done.before == done.after:
        return [Text(f"guest {name} keeps its place, which lies within the pools of today; its definition is written again")]
    lines: list[RenderableType] = [Text(finding.sentence(), style="dim") for finding in done.because]
    before = "unknown" if done.before is None else place_words(done.before)
    return [
        *lines,
        Text.assemble((name, "bold"), f": {before} -> {place_words(done.after)}"),
        Text(f"it is stopped, and its disk is as it was; `pinfold guest restart {shell_word(name)}` starts it there"),
    ]


def orphans_view(found: Sequence[Orphan], *, removed: bool, files_deleted: bool) -> list[RenderableType]:
    """The guests that no service knows, and what happened to them, or would. Pure."""
    if not found:
        return [Text("no orphans: the service knows every guest that it has on this host", style="dim")]
    table = Columns("guest", "state", "pCPUs", "owner", "disk", whole=("state",))
    for orphan in found:
        guest = orphan.guest
        state = Text(guest.state.value, style=_STYLES[guest.state])
        by = "" if guest.record is None else guest.record.owner
        table.add_row(guest_cell(guest), state, str(orphan.holds) or "-", by, orphan.disk or "-")
    if removed:
        kept = "their disks and serial logs are deleted" if files_deleted else "their disks are where they were"
        return [table, Text(f"they are stopped and forgotten, and their pCPUs are free; {kept}")]
    ask = "nothing was changed; --remove stops and forgets them and keeps their disks, with --delete-files their files go too"
    return [table, Text(ask)]


def place_words(fit: Fit) -> str:
    """Where a fit puts a guest's threads."""
    return f"vCPUs on {vcpu_words(fit)}, emulator threads on {short_emulator_words(fit)}"

"""`pinfold history`: read the journal of `pinfold watch`. The watch and the hypervisor need not run."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pinfold.cli import options as opt
from pinfold.cli.output import respond
from pinfold.cli.session import read_configuration
from pinfold.core.errors import InvalidRequest

if TYPE_CHECKING:
    from pinfold.watch.journal import Entry, Excerpt
    from pinfold.watch.tenures import Tenure

_WHEN = "a date, a date and time in UTC such as '2026-11-24 22:00', or how long ago: 90m, 12h, 3d"


def history(
    guest: Annotated[str | None, typer.Option("--guest", metavar="GUEST", help="Only what is about this guest: its name or id.")] = None,
    pcpu: Annotated[int | None, typer.Option("--pcpu", metavar="N", min=0, help="Who had this pCPU, from when until when.")] = None,
    since: Annotated[str | None, typer.Option(metavar="WHEN", help=f"The beginning: {_WHEN}.")] = None,
    until: Annotated[str | None, typer.Option(metavar="WHEN", help="The end, in the same forms.")] = None,
    config: opt.Config = None,
    connect: opt.Connect = None,
    as_json: opt.Json = False,
) -> None:
    """Print what `pinfold watch` saw change on this host: guests, drift, pools, and owners of pCPUs. Oldest first.

    Who was on pCPU 7 on Tuesday night? pinfold history --pcpu 7 --since '2026-11-24 20:00' --until '2026-11-25 06:00'
    """
    from pinfold.cli.views.history import history_view, tenures_view
    from pinfold.watch import journal
    from pinfold.watch.tenures import moment

    if guest is not None and pcpu is not None:
        raise InvalidRequest("--guest and --pcpu ask two questions; give one of them", key="--pcpu")
    now = time.time()
    begin = 0.0 if since is None else moment(since, now)
    end = float("inf") if until is None else moment(until, now)
    settings = read_configuration(config, connect, only_looks=True, quiet=as_json, audits=True).settings
    path = journal.journal_path(settings)
    if pcpu is None:
        part = journal.read(path, since=begin, until=end, guest=guest or "")
        respond(entries_document(part), history_view(part), as_json=as_json)
        return
    part = journal.read(path, pcpu=pcpu)
    found = _tenures(part, pcpu, begin, end)
    respond(tenures_document(pcpu, part, found), tenures_view(pcpu, part, found), as_json=as_json)


def _tenures(part: Excerpt, pcpu: int, since: float, until: float) -> tuple[Tenure, ...]:
    from pinfold.watch.changes import owners_text
    from pinfold.watch.tenures import tenures

    seen = () if part.snapshot is None else part.snapshot.pcpus
    known = next((one for one in seen if one.pcpu == pcpu), None)
    if known is None and not part.entries:
        raise InvalidRequest(f"the journal knows no pCPU {pcpu}", key="--pcpu")
    now = "" if known is None else owners_text(known)
    return tenures(part.entries, now, begins=part.begins, since=since, until=until)


def entries_document(part: Excerpt) -> dict[str, Any]:
    """The JSON document of a part of the journal. Times are in UTC."""
    return {"begins": _iso(part.begins), "last_sweep": _iso(part.seen), "entries": [_entry_document(entry) for entry in part.entries]}


def _entry_document(entry: Entry) -> dict[str, Any]:
    from pinfold.cli.views.history import sentence
    from pinfold.watch.changes import ChangeKind, owners_of

    change = entry.change
    owners = change.kind in (ChangeKind.OWNER, ChangeKind.SECOND_OWNER)
    return {
        "time": _iso(entry.at),
        "kind": change.kind.value,
        "guest": change.guest or None,
        "guest_id": change.guest_id or None,
        "pcpu": change.pcpu,
        "subject": change.subject or None,
        "before": _owners_document(owners_of(change.before)) if owners else change.before or None,
        "after": _owners_document(owners_of(change.after)) if owners else change.after or None,
        "sentence": sentence(change),
    }


def tenures_document(pcpu: int, part: Excerpt, found: tuple[Tenure, ...]) -> dict[str, Any]:
    """The JSON document of who had a pCPU. Times are in UTC."""
    return {
        "pcpu": pcpu,
        "begins": _iso(part.begins),
        "last_sweep": _iso(part.seen),
        "tenures": [
            {
                "from": None if one.begins is None else _iso(one.begins),
                "until": None if one.ends is None else _iso(one.ends),
                "owners": _owners_document(one.owners),
            }
            for one in found
        ],
    }


def _owners_document(owners: tuple[tuple[str, str, str], ...]) -> list[dict[str, Any]]:
    return [{"guest": name, "guest_id": identity or None, "class": role} for role, identity, name in owners]


def _iso(seconds: float) -> str:
    from pinfold.cli.views.history import utc

    return f"{utc(seconds):%Y-%m-%dT%H:%M:%SZ}"

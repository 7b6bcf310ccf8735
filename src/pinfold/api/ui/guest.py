"""The guest page: on which cells the guest lies, its findings with their repairs, its load, its threads and its events."""

from __future__ import annotations

from collections.abc import Mapping

from markupsafe import Markup

from pinfold.agent.wire import ThreadReport
from pinfold.api.caller import Caller
from pinfold.api.dependencies import ApiServices
from pinfold.api.ui.render import moment, render
from pinfold.api.ui.repair import repair_sentence
from pinfold.api.v1.thread_report import thread_report
from pinfold.core.cpuset import CpuSet
from pinfold.core.drift import Severity
from pinfold.core.drift.written import WrittenFinding
from pinfold.core.errors import not_found
from pinfold.core.history import HostHistory, selected
from pinfold.core.identity import GuestId
from pinfold.core.load import Load, Starving, lately, starving
from pinfold.drawing.guest_strip import guest_svg, local_share, rows_of, strip_words
from pinfold.drawing.heat import by_guest, heat_svg
from pinfold.drawing.strip import in_words
from pinfold.service.guests.faults import refused_by
from pinfold.store import claims, findings, guests, hosts, repairs
from pinfold.store.records import ClaimRecord, GuestRecord, HostLedger
from pinfold.store.repairs import RepairRecord

_Aged = tuple[WrittenFinding, float | None]
_Known = tuple[GuestRecord, ClaimRecord | None, HostLedger | None, tuple[_Aged, ...], RepairRecord | None]


def guest_page(services: ApiServices, caller: Caller, guest_id: GuestId) -> str:
    """One guest. Raises `NotFound`."""
    mark = guest_mark(services, guest_id)
    guest, claim, ledger, found, repair = _read(services, guest_id)
    report = thread_report(guest.id, guest.report)
    history = None
    if ledger is not None and ledger.record.up:
        history = services.samples.hour(services.database, services.fleet.hosts, ledger.record.id)[1]
    mine = None if history is None else selected(history, guest=guest.id)
    load = None if mine is None else lately(mine)
    nothing = (Load(), Load())
    vcpus, overhead = nothing if load is None else load.guests.get(guest.id, nothing)
    return render(
        "guest.html",
        account=caller.name,
        live=f"/ui/guests/{guest.id}/live?seen={mark}",
        guest=guest,
        host=None if ledger is None else ledger.record,
        claim=claim,
        policy=guest.request.emulator_policy.value,
        findings=[(one, "" if since is None else moment(since)) for one, since in found],
        repair="" if repair is None else repair_sentence(repair),
        admin=caller.admin,
        repairable=caller.admin and any(one.severity is Severity.DRIFT for one, _ in found),
        hungry=_hungry(history, ledger, guest.id),
        vcpus=in_words(vcpus),
        overhead=in_words(overhead),
        measured="" if load is None else moment(load.ended),
        threads=() if report is None else report.threads,
        report=report,
        reported=moment(report.reported) if report is not None and report.reported else "",
        events=_events(guest),
        refusals=refused_by(guest),
        **_strip(guest, claim, ledger, report, mine),
        **_hour(mine),
    )


def guest_mark(services: ApiServices, guest_id: GuestId) -> str:
    """A text that changes when a guest, its findings or the samples of its host change."""
    guest, claim, ledger, found, repair = _read(services, guest_id)
    sampled = 0
    if ledger is not None and ledger.record.up:
        sampled = services.samples.hour_mark(services.database, services.fleet.hosts, ledger.record.id)
    up = ledger is not None and ledger.record.up
    return str(hash((guest.revision, guest.updated, up, claim and claim.updated, tuple(one.sentence for one, _ in found), repair, sampled)))


def _read(services: ApiServices, guest_id: GuestId) -> _Known:
    """A guest with its claim, its host, and what the audit found of it."""
    with services.database.read() as connection:
        guest = guests.find(connection, guest_id)
        if guest is None:
            raise not_found("Guest", guest_id)
        ledger = next(iter(hosts.ledgers(connection, [guest.host])), None) if guest.host else None
        found = findings.aged(connection, guest.host) if guest.host else ()
        claim = claims.live(connection, guest_id)
        repair = repairs.of_guest(connection, guest_id)
    return guest, claim, ledger, tuple((one, since) for one, since in found if one.guest_id == guest_id), repair


def _hungry(history: HostHistory | None, ledger: HostLedger | None, guest: GuestId) -> tuple[Starving, ...]:
    """Which of its threads starve, and who runs instead."""
    load = None if history is None else lately(history)
    if load is None or ledger is None:
        return ()
    return tuple(one for one in starving(load, ledger.state.ledger.claims) if one.guest == guest)


def _strip(
    guest: GuestRecord, claim: ClaimRecord | None, ledger: HostLedger | None, report: ThreadReport | None, history: HostHistory | None
) -> dict[str, object]:
    """The guest across the cells: the picture, and the same as a table."""
    if claim is None or ledger is None:
        return {"picture": "", "cells": (), "strip": (), "local": None}
    cells: Mapping[int, CpuSet] = {cell.id: cell.cpus for cell in ledger.state.topology.cells}
    memory = None if history is None or not history.memory else dict(history.memory[0].mib)
    rows = rows_of(claim.fit, () if report is None else report.threads, memory)
    return {
        "picture": Markup(guest_svg(guest.name, rows, cells)),  # noqa: S704
        "cells": tuple(cells),
        "strip": tuple((row.label, row.wrong, strip_words(row, cells)) for row in rows),
        "local": next((local_share(row) for row in rows if row.memory), None),
    }


def _hour(history: HostHistory | None) -> dict[str, object]:
    """The last hour of its threads: the picture, and the same in a few words for each class."""
    if history is None or not history.guests or not history.ends:
        return {"heat": "", "classes": ()}
    heat = by_guest(history)
    end = max(heat.ends)
    times = tuple(moment(end - 3600 + part * 1800)[11:16] for part in range(3))
    rows = tuple((row.label, row.mean_work, row.mean_wait, row.peak) for row in heat.rows)
    return {"heat": Markup(heat_svg(heat, "The last hour of its threads", times)), "classes": rows}  # noqa: S704


def _events(guest: GuestRecord) -> list[tuple[str, str]]:
    """`(time, what)` of what is known of the guest's life, in order; without a time where none is kept."""
    found = [(guest.created, "created")]
    if guest.launched is not None:
        found.append((guest.launched, "first ran"))
    if guest.fault is not None and guest.fault.created:
        found.append((guest.fault.created, f"failed: {guest.fault.message}"))
    if guest.deleted is not None:
        found.append((guest.deleted, "deleted"))
    told = [(moment(when), what) for when, what in sorted(found)]
    if guest.moved is not None:
        told.append(("-", f"moved on {guest.moved.host} from {guest.moved.before} to {guest.moved.after}"))
    told += [("-", f"its start failed on {one.name}: {one.sentence}") for one in guest.failed_on]
    return told

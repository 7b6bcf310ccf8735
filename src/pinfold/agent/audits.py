"""Decide when the agent audits its host, and when it reports the findings to the service. Audits run beside the turns. Part of `step`.

A sweep begins an audit. The agent sends a report when the findings have changed. While they are the same, its polls say so, so that the
service's numbers stay fresh. It sends them again where a poll did not reach the service, and each hour whatever happened: a late copy of an
earlier report may have come between. An audit also reads on which cells each guest's memory lies. The longer that takes, the later the
next reading is.
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from pinfold.agent import drift_repairs
from pinfold.agent.actions import Audit, SendFindings
from pinfold.agent.draft import Draft
from pinfold.agent.events import Audited
from pinfold.agent.state import Audits
from pinfold.core.drift import Severity
from pinfold.core.drift.written import FindingsReport, findings_report, identity

REFRESH_SECONDS: Final = 300.0
"""After this time a report is sent again, even if it holds nothing new, unless polls have said so."""
WHOLE_SECONDS: Final = 3600.0
"""After this time it is sent again in any case."""
_REST: Final = 10.0
"""An audit is followed by a pause of so many times its length, or the next sweep, whichever is later."""


def begin(draft: Draft) -> None:
    """Begin an audit of what the present turn has seen, unless one is under way or has ended just now."""
    audits = draft.state.audits
    if audits.began is None and draft.now >= audits.again:
        _change(draft, began=draft.now, moving=draft.turn.moving)
        draft.do(Audit(seen=draft.seen))


def audited(draft: Draft, event: Audited) -> None:
    """Log the drift of the host as a whole, begin the repairs that are due, and report all findings.

    Left out are guests with a task that was under way, because they were changing. Of guests that could not be read (id and reason) the
    last findings stay.
    """
    findings, unread = event.findings, event.unread
    before = draft.state.audits
    assert before.began is not None
    busy = before.moving | draft.state.repairing | {guest for guest, status in draft.state.guests.items() if status.work is not None}
    known = tuple(finding for finding in findings if finding.guest_id not in busy)
    known += tuple(finding for finding in before.findings if finding.guest_id in unread)
    given_up = drift_repairs.after_audit(draft, event.drifted, event.running, busy)
    _change(draft, began=None, again=draft.now + _REST * (draft.now - before.began), moving=frozenset(), findings=known)
    draft.complain("audit", "; ".join(f"guest {guest} cannot be audited: {why}" for guest, why in sorted(unread.items())))
    of_host = "; ".join(one.sentence() for one in known if not one.guest and one.severity is Severity.DRIFT)
    draft.complain("drift of the host", f"the host has drifted: {of_host}" if of_host else "")
    _send(draft, findings_report((*known, *given_up)))


def sent(draft: Draft, report: FindingsReport) -> None:
    """Keep what the service has acknowledged."""
    _change(draft, sending=False, answered=identity(report), answered_at=draft.now, repeated=draft.now)
    draft.complain("findings", "")


def failed(draft: Draft, action: Audit | SendFindings, why: str, again: float) -> None:
    """Audit again at a later sweep. After a report, send the next one, whatever it holds: the service may have stored this one, or not.

    A service that is busy has asked not to be asked for `again` seconds; the next audit waits for that.
    """
    if isinstance(action, Audit):
        _change(draft, began=None, moving=frozenset())
        draft.complain("audit", f"the host cannot be audited: {why}")
    else:
        _change(draft, sending=False, answered=None, agreed=None, again=max(draft.state.audits.again, draft.now + again))
        draft.complain("findings", f"the findings of the audit are not reported: {why}")


def age(audits: Audits, now: float) -> float | None:
    """How long ago an audit found what the service has, in seconds; None if it may have something else, or if that is long ago."""
    if audits.agreed is None or audits.sending or now - audits.agreed > REFRESH_SECONDS:
        return None
    return now - audits.agreed


def repeated(draft: Draft) -> None:
    """The service knows that it has the findings of the last audit before the present poll."""
    _change(draft, repeated=max(draft.state.audits.repeated, draft.state.polled))


def _send(draft: Draft, report: FindingsReport) -> None:
    audits = draft.state.audits
    old = draft.now - audits.repeated >= REFRESH_SECONDS or draft.now - audits.answered_at >= WHOLE_SECONDS
    new = audits.answered is None or identity(report) != audits.answered
    _change(draft, agreed=None if new or audits.sending else draft.now)
    if not audits.sending and not draft.state.ending and (old or new):
        _change(draft, sending=True)
        draft.do(SendFindings(report=report))


def _change(draft: Draft, **fields: object) -> None:
    audits: Audits = replace(draft.state.audits, **fields)
    draft.change(audits=audits)

"""The screen of an audit: what was checked, and every finding with its repair."""

from __future__ import annotations

from msgspec.structs import replace
from rich.console import RenderableType
from rich.text import Text

from pinfold.cli.views.columns import Columns
from pinfold.cli.views.phrases import guest_cell, policy_words
from pinfold.cli.views.proof import finding_lines, findings_lines
from pinfold.core.drift import Severity
from pinfold.core.plural import count
from pinfold.host.audit import Audit
from pinfold.host.repair import Repair
from pinfold.host.verify import GuestOrigin, Verdict

_WHOSE = {GuestOrigin.OURS: "ours", GuestOrigin.NOVA: "Nova's", GuestOrigin.OTHER: "not ours"}


def audit_view(found: Audit) -> list[RenderableType]:
    """Every guest in a table, then every finding with its repair, then the totals. Pure."""
    lines: list[RenderableType] = [_guests(found), Text()] if found.guests else []
    lines += findings_lines((*(one for guest in _ordered(found) for one in guest.findings), *found.host_findings))
    return [*lines, *([Text()] if found.findings else []), *_sum(found)]


def repair_view(done: Repair) -> list[RenderableType]:
    """One line for each guest that had drifted with what remains of it, and one for each whose repair failed; then what remains of the
    host's drift and why. Pure.
    """
    lines: list[RenderableType] = []
    for one in done.done:
        left = one.after.drift
        sign = ("✗ ", "bold red") if left else ("✓ ", "bold green")
        words = f": {count(len(one.before.drift), 'difference')} found, {len(left)} left"
        lines.append(Text.assemble(sign, (one.before.guest.name, "bold"), words))
        lines += [line for finding in left for line in finding_lines(finding, 2)]
    for failed in done.failed:
        lines.append(Text.assemble(("✗ ", "bold red"), (failed.name, "bold"), f": the repair failed: {failed.why}"))
    if not done.done and not done.failed and not (done.left and done.named):
        words = f"guest {done.named} has not drifted" if done.named else "no running guest of ours has drifted"
        lines.append(Text.assemble(("✓ ", "bold green"), words))
    for what in done.left:
        lines += finding_lines(replace(what.finding, repair="", advice=f"left as it is: {what.why}"))
    if done.left:
        lines.append(Text(f"{count(len(done.left), 'finding')} left; pinfold audit shows what undoes each", style="yellow"))
    return lines


def _guests(found: Audit) -> Columns:
    table = Columns("", "guest", "whose", "state", "policy", "threads", "", whole=("state", ""), right=("threads",))
    for audit in _ordered(found):
        drift = sum(finding.severity is Severity.DRIFT for finding in audit.findings)
        notes = len(audit.findings) - drift
        words = ", ".join([*([count(drift, "finding")] if drift else []), *([count(notes, "note")] if notes else [])])
        table.add_row(
            Text("✗", style="bold red") if drift else Text("✓", style="bold green"),
            guest_cell(audit.guest),
            _WHOSE[audit.origin],
            audit.guest.state.value,
            policy_words(audit.policy, inferred=audit.inferred),
            "" if audit.observation is None else str(len(audit.observation.threads)),
            words or ("as recorded" if audit.masks is not None else ""),
        )
    return table


def _ordered(found: Audit) -> list[Verdict]:
    return sorted(found.guests, key=lambda one: (list(GuestOrigin).index(one.origin), one.guest.name))


def _sum(found: Audit) -> list[RenderableType]:
    drift = len(found.drift)
    notes = len(found.findings) - drift
    words = f"{count(len(found.guests), 'guest')} looked at: {count(drift, 'finding')}" + (f", {count(notes, 'note')}" if notes else "")
    lines: list[RenderableType] = [Text.assemble(("✗ ", "bold red") if drift else ("✓ ", "bold green"), words)]
    witnesses = sorted({guest.observation.witness for guest in found.guests if guest.observation is not None})
    if witnesses:
        lines.append(Text(f"  witness: {', '.join(witnesses)}", style="dim"))
    if not found.verified:
        lines.append(Text("  from afar, so on the hypervisor's word alone", style="yellow"))
    return lines

"""An audit on a screen: what was looked at, and every finding with its repair. Judging does not belong here."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import RenderableType
from rich.text import Text

from pinfold.cli.views.proof import finding_lines
from pinfold.cli.views.words import count
from pinfold.core.drift import Severity
from pinfold.host.audit import Audit, GuestAudit, Whose
from pinfold.host.repair import Repaired

_WHOSE = {Whose.OURS: "ours", Whose.NOVA: "Nova's", Whose.OTHER: "not ours"}


def audit_view(found: Audit) -> list[RenderableType]:
    """One line for each guest, the findings below it, the host's own, and the sum. Pure."""
    lines: list[RenderableType] = []
    for guest in sorted(found.guests, key=lambda one: (one.whose is Whose.OTHER, one.guest.name)):
        lines.append(_guest_line(guest))
        lines += [line for finding in guest.findings for line in finding_lines(finding, 2)]
    if found.host_findings:
        lines.append(Text("the host", style="bold"))
        lines += [line for finding in found.host_findings for line in finding_lines(finding, 2)]
    return [*lines, *([Text()] if lines else []), _sum(found)]


def repair_view(done: Sequence[Repaired]) -> list[RenderableType]:
    """One line for each guest that had drifted, and below it what is left. Pure."""
    if not done:
        return [Text.assemble(("✓ ", "bold green"), "nothing has drifted")]
    lines: list[RenderableType] = []
    for one in done:
        left = one.after.drift
        sign = ("✗ ", "bold red") if left else ("✓ ", "bold green")
        words = f": {count(len(one.before.drift), 'difference')} found, {len(left)} left"
        lines.append(Text.assemble(sign, (one.before.guest.name, "bold"), words))
        lines += [line for finding in left for line in finding_lines(finding, 2)]
    return lines


def _guest_line(audit: GuestAudit) -> Text:
    guest = audit.guest
    words = [guest.state.value, _WHOSE[audit.whose]]
    if audit.policy is not None:
        words.append(f"policy {audit.policy.value}" + (" (told from its pins)" if audit.inferred else ""))
    if audit.sight is not None:
        words.append(f"{count(len(audit.sight.threads), 'thread')} seen, witness {audit.sight.witness}")
    drift = any(finding.severity is Severity.DRIFT for finding in audit.findings)
    note = "" if audit.findings else ": as recorded" if audit.masks is not None else ""
    style = "bold red" if drift else "bold"
    return Text.assemble((guest.name, style), f" ({', '.join(words)}){note}")


def _sum(found: Audit) -> Text:
    drift = len(found.drift)
    notes = len(found.findings) - drift
    guests = count(len(found.guests), "guest")
    line = Text.assemble(
        ("✗ ", "bold red") if drift else ("✓ ", "bold green"),
        f"{guests} looked at: {count(drift, 'finding')}" + (f", {count(notes, 'note')}" if notes else ""),
    )
    return line if found.verified else line.append("; from afar, so on the hypervisor's word alone", style="yellow")

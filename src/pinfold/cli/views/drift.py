"""The screen of what the audit of a host's agent found, from the document of `/v1`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from pinfold.cli.views.phrases import moment
from pinfold.cli.views.proof import findings_lines
from pinfold.core.drift import Severity
from pinfold.core.drift.written import from_document
from pinfold.core.plural import count


def drift_view(document: Mapping[str, Any]) -> list[RenderableType]:
    """Every finding with its repair and since when it is reported, then the totals, and when the agent reported them. Pure."""
    if document["reported"] is None:
        return [Text(f"the agent of {document['host']} has reported no audit", style="yellow")]
    found = [from_document(plain) for plain in document["findings"]]
    lines = findings_lines(found, document.get("since", ()))
    if found:
        lines.append(Text())
    left = Counter({each["code"]: each["count"] for each in document["counts"]}) - Counter(finding.code.value for finding in found)
    if left:
        listed = ", ".join(f"{number} {code}" for code, number in sorted(left.items()))
        lines.append(Text(f"the report leaves out more of the same: {listed}; pinfold audit on the host shows all", style="yellow"))
    total: Counter[str] = Counter()
    for each in document["counts"]:
        total[each["severity"]] += each["count"]
    drift, notes = total[Severity.DRIFT.value], total[Severity.NOTE.value]
    words = f"{document['host']}: {count(drift, 'finding')}" + (f", {count(notes, 'note')}" if notes else "")
    lines.append(Text.assemble(("✗ ", "bold red") if drift else ("✓ ", "bold green"), words))
    when = f"  as its agent reported at {moment(document['reported'])}"
    silent = "; it reports a change after its next sweep, and all anew every 5 minutes" if document["up"] else "; the agent is silent now"
    lines.append(Text(when + silent, style="dim" if document["up"] else "yellow"))
    if witnesses := document.get("witnesses"):
        lines.append(Text(f"  witness: {', '.join(witnesses)}", style="dim"))
    return lines

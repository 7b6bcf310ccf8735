"""Every named place at which the suites kill a process, by what passes it. What is expected then stands in the suites."""

from __future__ import annotations

from typing import Final

CREATE: Final = ("claim.intended", "claim.allocated", "claim.pinned", "claim.held")
DELETE: Final = ("release.begin", "release.unpinned", "release.emptied")
REPLACE: Final = ("replace.allocated", "replace.pinned", "replace.held")
HEAL: Final = ("heal.abandoned", "heal.emptied")
REPORT: Final = ("provider.inventoried",)
START: Final = ("agent.start", "start.paused", "start.verified", "agent.started")
REBUILD: Final = ("agent.rebuild", "rebuild.made", "rebuild.stopped", "rebuild.taken", *START[1:])
INTERFACES: Final = ("agent.attach", "agent.attached", "agent.detach", "agent.detached")
REMOVE: Final = ("agent.remove", "agent.removed", "agent.buried", "agent.confirmed")

ALL: Final = (*CREATE, *DELETE, *REPLACE, *HEAL, *REPORT, *START, *REBUILD[: -len(START[1:])], *INTERFACES, *REMOVE)

HIT: Final[set[str]] = set()
"""The points that processes of this run were seen to reach."""

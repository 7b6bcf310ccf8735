"""Named places where a test makes this process die, so that what survives a crash can be shown. Inert unless PINFOLD_FAULT is set.

`PINFOLD_FAULT=claim.allocated` kills the process (SIGKILL, as a power cut would) when it first reaches that point; `name:kill:3` at the
third time; `name:stop` halts it there instead (SIGSTOP), until somebody continues it. `PINFOLD_FAULT_LOG` names a file that gets one
line `name pid` before anything happens: the proof that the point was hit. The test says what should happen afterwards.
"""

from __future__ import annotations

import os
import signal
import threading
from typing import Final

POINTS: Final = (
    "claim.intended",
    "claim.allocated",
    "claim.pinned",
    "claim.held",
    "release.begin",
    "release.unpinned",
    "release.emptied",
    "replace.allocated",
    "replace.pinned",
    "replace.held",
    "heal.abandoned",
    "heal.emptied",
    "provider.inventoried",
    "agent.start",
    "start.paused",
    "start.verified",
    "agent.started",
    "agent.rebuild",
    "rebuild.made",
    "rebuild.stopped",
    "rebuild.taken",
    "agent.attach",
    "agent.attached",
    "agent.detach",
    "agent.detached",
    "agent.remove",
    "agent.removed",
    "agent.buried",
    "agent.confirmed",
)
"""The points of the scheduler, in the order in which a claim, its release, its move and a healing pass them; then those of an agent, in the
order in which a start, a rebuild, a change of interfaces and a removal pass them."""

_ACTIONS: Final = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}
_lock = threading.Lock()
_hits: dict[str, int] = {}


def fault_point(name: str) -> None:
    """Do what PINFOLD_FAULT says of the point `name`; nothing where it says nothing. Raises `ValueError` for an action it does not know."""
    asked = os.environ.get("PINFOLD_FAULT")
    if not asked:
        return
    point, _, rest = asked.partition(":")
    if point != name:
        return
    action, _, nth = rest.partition(":")
    if (action or "kill") not in _ACTIONS:
        raise ValueError(f"PINFOLD_FAULT: {action!r} is no action, allowed are {', '.join(_ACTIONS)}")
    with _lock:
        _hits[name] = _hits.get(name, 0) + 1
        if _hits[name] != int(nth or 1):
            return
    _record(name)
    os.kill(os.getpid(), _ACTIONS[action or "kill"])


def _record(name: str) -> None:
    log = os.environ.get("PINFOLD_FAULT_LOG")
    if not log:
        return
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(handle, f"{name} {os.getpid()}\n".encode())
        os.fsync(handle)
    finally:
        os.close(handle)

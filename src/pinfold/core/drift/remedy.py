"""Advice that names pinfold's own commands, as text. pinfold prints the commands and never runs them.

A driver makes the commands that move threads and change pins (`steps`).
"""

from __future__ import annotations

from typing import Final

from pinfold.core.drift.finding import Subject
from pinfold.core.printable import shell_word

OWNER: Final = "pinfold"
"""The owner in the record of a guest that was started directly on its host, without the service."""


def replaced(subject: Subject) -> str:
    """The commands, in backquotes, that give a guest of ours a place in the current pools. Its id and disk stay.

    >>> replaced(Subject(name="web", owner="pinfold"))
    '`pinfold guest stop web`, `pinfold guest replace web`, `pinfold guest restart web`'
    >>> replaced(Subject(name="instance-1", id="1", active=False, owner="the agent of c01"))
    '`pinfold server start 1 --wait`'
    """
    if subject.owner == OWNER:
        commands = [f"pinfold guest {verb} {shell_word(subject.name)}" for verb in ("stop", "replace", "restart")]
    else:
        commands = [f"pinfold server {verb} {subject.id} --wait" for verb in ("stop", "start")]
    return ", ".join(f"`{command}`" for command in (commands if subject.active else commands[1:]))


def followed(subject: Subject) -> str:
    """How the threads of a guest of ours follow the pools of today without a restart, as the start of a sentence.

    >>> followed(Subject(name="web", owner="pinfold"))
    'move its threads to the pools of today, without a restart: `pinfold host pools` shows how'
    >>> followed(Subject(name="instance-1", id="1", owner="the agent of c01")).partition(" (")[0]
    'let the agent of c01 read its pools again'
    """
    if subject.owner == OWNER:
        return "move its threads to the pools of today, without a restart: `pinfold host pools` shows how"
    return f"{pools_reread(subject)}, and its threads follow without a restart"


def pools_reread(subject: Subject) -> str:
    """How the agent that manages a guest comes to use the pools of today, as the start of a sentence; '' for a guest without an agent.

    >>> pools_reread(Subject(name="web", owner="pinfold"))
    ''
    """
    if subject.owner == OWNER:
        return ""
    return f"let {subject.owner} read its pools again (`systemctl reload pinfold-agent`; where `pinfold up` runs, SIGHUP to that process)"


def restarted(subject: Subject) -> str:
    """The commands, in backquotes, that end a guest of ours and start it again in the same place.

    >>> restarted(Subject(name="web 1", owner="pinfold"))
    "`pinfold guest stop 'web 1'`, `pinfold guest restart 'web 1'`"
    >>> restarted(Subject(name="instance-1", id="1", owner="the agent of c01"))
    '`pinfold server stop 1 --wait`, `pinfold server start 1 --wait`'
    """
    if subject.owner == OWNER:
        commands = [f"pinfold guest {verb} {shell_word(subject.name)}" for verb in ("stop", "restart")]
    else:
        commands = [f"pinfold server {verb} {subject.id} --wait" for verb in ("stop", "start")]
    return ", ".join(f"`{command}`" for command in commands)

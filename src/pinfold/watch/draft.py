"""`Draft`: the next state and the actions of one step while they are worked out. Only `step` and its parts hold one."""

from __future__ import annotations

import logging
from typing import Any

from msgspec.structs import replace

from pinfold.host.loop_events import Log, Moment
from pinfold.watch.messages import Action
from pinfold.watch.state import State


class Draft:
    """A state that is being changed at one moment."""

    def __init__(self, state: State, when: Moment) -> None:
        self.state = state
        self.when = when
        self.actions: list[Action] = []

    def change(self, **fields: Any) -> None:
        """Change fields of the state."""
        self.state = replace(self.state, **fields)

    def do(self, action: Action) -> None:
        """Ask for an action, after those before it."""
        self.actions.append(action)

    def log(self, level: int, sentence: str) -> None:
        """Ask for a line in the log."""
        self.do(Log(level=level, sentence=sentence))

    def complain(self, about: str, sentence: str) -> None:
        """Log a problem, '' for none, when it begins, changes or ends."""
        before = self.state.troubles.get(about, "")
        if sentence != before:
            self.log(logging.WARNING, sentence or f"over: {before}")
            others = {key: trouble for key, trouble in self.state.troubles.items() if key != about}
            self.change(troubles={**others, about: sentence} if sentence else others)

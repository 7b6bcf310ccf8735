"""`LoopDraft`: the next state and the actions of one step while they are worked out, in the loops of the agent and the watch."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Generic, Protocol, TypeVar

from msgspec.structs import replace

from pinfold.host.loop_events import Log, Moment


class LoopState(Protocol):
    """What the states of both loops have: the problems that the log names as not over, by what they are about."""

    @property
    def troubles(self) -> Mapping[str, str]: ...


State = TypeVar("State", bound=LoopState)
Action = TypeVar("Action")


class LoopDraft(Generic[State, Action]):
    """A state that is being changed at one moment. `state` is always whole."""

    def __init__(self, state: State, when: Moment) -> None:
        self.state = state
        self.when = when
        self.actions: list[Action | Log] = []

    @property
    def now(self) -> float:
        """The moment on the clock for durations."""
        return self.when.at

    def change(self, **fields: Any) -> None:
        """Change fields of the state."""
        state: Any = self.state  # a Struct, which a Protocol cannot say
        self.state = replace(state, **fields)

    def do(self, action: Action | Log) -> None:
        """Ask for an action, after those before it."""
        self.actions.append(action)

    def log(self, level: int, sentence: str) -> None:
        """Ask for a line in the log."""
        self.do(Log(level=level, sentence=sentence))

    def complain(self, about: str, sentence: str) -> str:
        """Log a problem, '' for none, when it begins, changes or ends, not each time that it occurs.

        Returns what is logged, '' for nothing.
        """
        before = self.state.troubles.get(about, "")
        if sentence == before:
            return ""
        said = sentence or f"over: {before}"
        self.log(logging.WARNING, said)
        others = {key: trouble for key, trouble in self.state.troubles.items() if key != about}
        self.change(troubles={**others, about: sentence} if sentence else others)
        return said

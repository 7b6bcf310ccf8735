"""`Draft`: the next state and the actions of one step while they are worked out. Only `step` and its parts hold one."""

from __future__ import annotations

import logging
from typing import Any

from msgspec.structs import replace

from pinfold.agent.actions import Action
from pinfold.agent.state import GuestStatus, Phase, State, Turn
from pinfold.agent.story import noted
from pinfold.core.identity import GuestId
from pinfold.host.loop_events import Log, Moment
from pinfold.host.survey import Survey


class Draft:
    """A state that is being changed at one moment. `state` is always whole."""

    def __init__(self, state: State, when: Moment) -> None:
        self.state = state
        self.now = when.at
        self.actions: list[Action] = []
        self._time = when.time

    def change(self, **fields: Any) -> None:
        """Change fields of the state."""
        self.state = replace(self.state, **fields)

    @property
    def turn(self) -> Turn:
        """The present turn; for what goes on within one."""
        assert self.state.turn is not None
        return self.state.turn

    @property
    def seen(self) -> Survey:
        """What the present turn saw of the host; for what comes after the look."""
        assert self.turn.seen is not None
        return self.turn.seen

    def change_turn(self, **fields: Any) -> None:
        """Change fields of the present turn."""
        self.change(turn=replace(self.turn, **fields))

    def waits_for(self, phase: Phase) -> bool:
        """Whether a turn is under way and waits for that."""
        return self.state.turn is not None and self.state.turn.phase is phase

    def guest(self, guest: GuestId) -> GuestStatus:
        """What is known of a guest; nothing, if it is new."""
        return self.state.guests.get(guest, GuestStatus())

    def change_guest(self, guest: GuestId, **fields: Any) -> None:
        """Change fields of what is known of one guest."""
        self.change(guests={**self.state.guests, guest: replace(self.guest(guest), **fields)})

    def do(self, action: Action) -> None:
        """Ask for an action, after those before it."""
        self.actions.append(action)

    def log(self, level: int, sentence: str) -> None:
        """Ask for a line in the log."""
        self.do(Log(level=level, sentence=sentence))

    def note(self, guest: GuestId, what: str, *, name: str = "") -> None:
        """Add to the story of a guest of the service; other guests have none."""
        if guest in self.state.guests:
            self.change(stories=noted(self.state.stories, guest, what, time=self._time, name=name))

    def complain(self, about: str, sentence: str, *, guest: GuestId | None = None) -> None:
        """Log a problem, '' for none, when it begins, changes or ends, not each time that it occurs. It is told in the story of `guest`."""
        before = self.state.troubles.get(about, "")
        if sentence == before:
            return
        said = sentence or f"over: {before}"
        self.log(logging.WARNING, said)
        others = {key: trouble for key, trouble in self.state.troubles.items() if key != about}
        self.change(troubles={**others, about: sentence} if sentence else others)
        if guest is not None:
            self.note(guest, said)

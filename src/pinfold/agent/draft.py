"""`Draft`: the agent's draft of its next state, with its turn and its guests. Only `step` and its parts hold one."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from pinfold.agent.actions import Action
from pinfold.agent.state import GuestStatus, Phase, State, Turn
from pinfold.agent.story import noted
from pinfold.core.identity import GuestId
from pinfold.host.loop_draft import LoopDraft
from pinfold.host.survey import Survey


class Draft(LoopDraft[State, Action]):
    """A state of the agent that is being changed at one moment."""

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

    def note(self, guest: GuestId, what: str, *, name: str = "") -> None:
        """Add to the story of a guest of the service; other guests have none."""
        if guest in self.state.guests:
            self.change(stories=noted(self.state.stories, guest, what, time=self.when.time, name=name))

    def complain(self, about: str, sentence: str, *, guest: GuestId | None = None) -> str:
        """Log a problem as `LoopDraft.complain`, and add what is logged to the story of `guest`."""
        said = super().complain(about, sentence)
        if said and guest is not None:
            self.note(guest, said)
        return said

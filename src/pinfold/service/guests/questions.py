"""`Questions`: ask the agents about single guests, and keep their answers until whoever asked has read them."""

from __future__ import annotations

from pinfold.core.guest_questions import About, GuestAnswer
from pinfold.core.identity import GuestId, HostId
from pinfold.store import guest_questions
from pinfold.store.database import Database


class Questions:
    """Questions about guests. Safe to share between threads; any number of processes may use one on the same database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def ask(self, host: HostId, guest: GuestId, about: About, *, lines: int = 0, url: str = "") -> int:
        """Ask a host's agent about a guest. Returns the number of the question. Raises `Unavailable` when too many wait for the agent."""
        with self._database.write() as connection:
            return guest_questions.ask(connection, host, guest, about, lines=lines, url=url)

    def keep(self, host: HostId, answer: GuestAnswer) -> None:
        """Keep what a host's agent answers."""
        with self._database.write() as connection:
            guest_questions.answer(connection, host, answer)

    def answered(self, number: int) -> GuestAnswer | None:
        """The answer to a question, None if there is none yet."""
        with self._database.read() as connection:
            return guest_questions.answered(connection, number)

    def forget(self, number: int) -> None:
        """Delete a question and its answer."""
        with self._database.write() as connection:
            guest_questions.forget(connection, number)

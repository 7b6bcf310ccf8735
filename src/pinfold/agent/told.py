"""`Told`: what the service has heard of each guest, as far as its agent knows. What a report says does not belong here (`report`)."""

from __future__ import annotations

from collections.abc import Callable

from pinfold.agent.client import ServiceAway
from pinfold.agent.wire import GuestReport


class Told:
    """The last report of each guest that the service has answered. One thread tells; any thread may `forget`.

    A report without an answer may have been heard, or be heard late, after a newer one. So nothing counts as told of its guest then, and
    what is told next counts only until `tell_again`: it is told once more.
    """

    def __init__(self) -> None:
        self._answered: dict[str, GuestReport] = {}
        self._doubted: set[str] = set()

    def last(self, guest: str) -> GuestReport | None:
        """What the service has answered last, None when that is not known."""
        return self._answered.get(guest)

    def tell(self, guest: str, report: GuestReport, say: Callable[[str, GuestReport], None]) -> None:
        """Say it unless it was the last thing said. Raises what `say` raises."""
        if report == self._answered.pop(guest, None):
            self._answered[guest] = report
            return
        try:
            say(guest, report)
        except ServiceAway:
            self._doubted.add(guest)
            raise
        self._answered[guest] = report

    def tell_again(self) -> None:
        """Everything is news of the guests of which a report went unanswered since the last time."""
        for guest in self._doubted:
            self._answered.pop(guest, None)
        self._doubted.clear()

    def forget(self, guest: str) -> None:
        """Nothing was told of a guest that is gone."""
        self._answered.pop(guest, None)

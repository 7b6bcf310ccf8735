"""`Delivery`: which guest reports the service has received, as far as the agent knows."""

from __future__ import annotations

from collections.abc import Callable

from pinfold.agent.client import ServiceAway
from pinfold.agent.wire import GuestReport


class Delivery:
    """The last report of each guest that the service acknowledged. One thread sends; any thread may call `forget`.

    A report without a response may still have been stored, or may be stored later, after a newer one. Treat the service's knowledge of that
    guest as unknown: send the next report now, and once more after `retry_unanswered`.
    """

    def __init__(self) -> None:
        self._answered: dict[str, GuestReport] = {}
        self._unanswered: set[str] = set()

    def answered(self, guest: str) -> GuestReport | None:
        """The report that the service acknowledged last, None when that is not known."""
        return self._answered.get(guest)

    def send(self, guest: str, report: GuestReport, deliver: Callable[[str, GuestReport], None]) -> None:
        """Send the report with `deliver`, unless it equals the last acknowledged one. Raises what `deliver` raises."""
        if report == self._answered.pop(guest, None):
            self._answered[guest] = report
            return
        try:
            deliver(guest, report)
        except ServiceAway:
            self._unanswered.add(guest)
            raise
        self._answered[guest] = report

    def retry_unanswered(self) -> None:
        """Send the next report of each guest that had an unanswered report since the last call, even if it has not changed."""
        for guest in self._unanswered:
            self._answered.pop(guest, None)
        self._unanswered.clear()

    def forget(self, guest: str) -> None:
        """Forget the guest's report, after the guest is gone."""
        self._answered.pop(guest, None)

"""Answer the service's questions about guests: the end of a console log, and what the hypervisor counts."""

from __future__ import annotations

from pinfold.agent.wire import shorten_failure
from pinfold.core.errors import InvalidRequest, PinfoldError
from pinfold.core.guest_questions import MOST_LOG_BYTES, About, GuestAnswer, GuestQuestion
from pinfold.core.settings import HostSettings
from pinfold.drivers.port import Driver
from pinfold.host import serial


def answer(driver: Driver, settings: HostSettings, owner: str, question: GuestQuestion) -> GuestAnswer:
    """The answer, or why there is none. Only guests of this agent are told about."""
    try:
        if question.about is About.CONSOLE_LOG:
            log = serial.tail(settings, question.guest, most_bytes=MOST_LOG_BYTES, lines=question.lines)
            return GuestAnswer(number=question.number, log=log)
        if not any(guest.id == question.guest and guest.record and guest.record.owner == owner for guest in driver.guests()):
            raise InvalidRequest(f"there is no guest {question.guest} of {owner} on this host", key="guest")
        return GuestAnswer(number=question.number, diagnostics=driver.diagnostics(question.guest))
    except (PinfoldError, OSError) as error:
        return GuestAnswer(number=question.number, failure=shorten_failure(str(error)))

"""`Consoles`: connect guests' serial consoles to the service, which asks for them. Users type there.

Each console has two threads: one reads the guest's terminal, one the connection. The end of either ends both.
"""

from __future__ import annotations

import logging
import threading
from contextlib import ExitStack, suppress
from typing import Final

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

from pinfold.agent.client import ServiceClient
from pinfold.agent.wire import shorten_failure
from pinfold.core.errors import Conflict, InvalidRequest, PinfoldError
from pinfold.core.guest_questions import GuestAnswer, GuestQuestion
from pinfold.core.identity import GuestId
from pinfold.drivers.port import Driver
from pinfold.host.terminal import Terminal

MOST_OPEN: Final = 16
_LOOK_SECONDS: Final = 0.5

_log = logging.getLogger(__name__)


class Consoles:
    """The consoles that this agent has open: at most sixteen, one for each guest, and only of guests of this agent."""

    def __init__(self, driver: Driver, service: ServiceClient, owner: str) -> None:
        self._driver = driver
        self._service = service
        self._owner = owner
        self._open: set[GuestId] = set()
        self._lock = threading.Lock()

    def connect(self, question: GuestQuestion) -> GuestAnswer | None:
        """Connect the console that the service asks for, and go on in the background. None, or the answer that says why not."""
        try:
            self._enter(question.guest)
            with ExitStack() as stack:
                stack.callback(self._leave, question.guest)
                if not any(one.id == question.guest and one.record and one.record.owner == self._owner for one in self._driver.guests()):
                    raise InvalidRequest(f"there is no guest {question.guest} of {self._owner} on this host", key="guest")
                terminal = Terminal(self._driver.console(question.guest))
                stack.callback(terminal.close)
                connection = stack.enter_context(self._service.console(question.number, question.url))
                threading.Thread(
                    target=_serve, args=(terminal, connection, stack.pop_all()), name=f"pinfold console {question.guest}", daemon=True
                ).start()
        except (PinfoldError, OSError) as error:
            return GuestAnswer(number=question.number, failure=shorten_failure(str(error)))
        return None

    def _enter(self, guest: GuestId) -> None:
        with self._lock:
            if guest in self._open:
                raise Conflict("somebody has the server's console open; only one connection at a time can type there")
            if len(self._open) >= MOST_OPEN:
                raise Conflict(f"{MOST_OPEN} consoles of this host are open, and no more may be: close one")
            self._open.add(guest)

    def _leave(self, guest: GuestId) -> None:
        with self._lock:
            self._open.discard(guest)


def _serve(terminal: Terminal, connection: ClientConnection, opened: ExitStack) -> None:
    over = threading.Event()
    printer = threading.Thread(target=_print, args=(terminal, connection, over), name="pinfold console output", daemon=True)
    try:
        with opened:
            printer.start()
            try:
                with suppress(ConnectionClosed):
                    for message in connection:
                        terminal.write(message.encode() if isinstance(message, str) else message)
            finally:
                over.set()
                printer.join()
    except Exception:  # a bug here must not end the agent
        _log.exception("a console ended")


def _print(terminal: Terminal, connection: ClientConnection, over: threading.Event) -> None:
    with suppress(ConnectionClosed):
        while not over.is_set():
            printed = terminal.read(_LOOK_SECONDS)
            if printed is None:
                connection.close(1000, "the server has stopped")
                return
            if printed:
                connection.send(printed)

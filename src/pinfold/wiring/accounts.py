"""Read the accounts file again: every second, and when the process receives SIGHUP."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from typing import Final

from pinfold.api.accounts_file import AccountsFile

_log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 1.0

Hangups = SimpleQueue[bool]
"""One item for each SIGHUP; False stops the reader. A signal handler may put into a SimpleQueue even while it interrupts another put."""


@contextmanager
def hearing_hangups() -> Iterator[Hangups]:
    """Until the block ends, SIGHUP asks for the accounts to be read again and no longer ends the process. For the main thread."""
    heard: Hangups = SimpleQueue()
    before = signal.signal(signal.SIGHUP, lambda *_: heard.put(True))
    try:
        yield heard
    finally:
        signal.signal(signal.SIGHUP, before or signal.SIG_DFL)


@contextmanager
def followed(accounts: AccountsFile, hangups: Hangups) -> Iterator[None]:
    """Keep the accounts equal to their file, in a thread, until the block ends."""

    def follow() -> None:
        while True:
            try:
                asked = hangups.get(timeout=LOOK_SECONDS)
            except Empty:
                asked = None
            if asked is False:
                return
            try:
                accounts.refresh(asked=bool(asked))
            except Exception:  # a bug in one check must not end all checks
                _log.exception("the accounts file is looked at again")

    thread = threading.Thread(target=follow, name="pinfold-accounts", daemon=True)
    thread.start()
    try:
        yield
    finally:
        hangups.put(False)
        thread.join()

"""Hear SIGHUP: read the accounts and the configuration again. The accounts are read again every second, too."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from typing import Final

from pinfold.api.accounts_file import AccountsFile
from pinfold.config.fleet import FleetSettings, settings_now
from pinfold.core.errors import InvalidRequest
from pinfold.core.options import difference, refusal

_log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 1.0

Hangups = SimpleQueue[bool]
"""One item for each SIGHUP; False stops the listener. A signal handler may put into a SimpleQueue even while it interrupts another put."""


@contextmanager
def hearing_hangups() -> Iterator[Hangups]:
    """Until the block ends, SIGHUP is heard and no longer ends the process. For the main thread."""
    heard: Hangups = SimpleQueue()
    before = signal.signal(signal.SIGHUP, lambda *_: heard.put(True))
    try:
        yield heard
    finally:
        signal.signal(signal.SIGHUP, before or signal.SIG_DFL)


@contextmanager
def listening(hangups: Hangups, accounts: AccountsFile | None, heard: Callable[[], None]) -> Iterator[None]:
    """Keep the accounts equal to their file, and call `heard` at each hangup, in a thread, until the block ends."""

    def follow() -> None:
        while True:
            try:
                asked = hangups.get(timeout=LOOK_SECONDS)
            except Empty:
                asked = None
            if asked is False:
                return
            try:
                if accounts is not None:
                    accounts.refresh(asked=bool(asked))
                if asked:
                    heard()
            except Exception:  # a bug in one check must not end all checks
                _log.exception("the check of accounts and configuration failed; the next one follows")

    thread = threading.Thread(target=follow, name="pinfold-hangups", daemon=True)
    thread.start()
    try:
        yield
    finally:
        hangups.put(False)
        thread.join()


def log_difference(settings: FleetSettings) -> None:
    """Log which options differ from those that this process runs with, or why the configuration cannot be used now."""
    try:
        _log.warning("SIGHUP: %s", difference(settings.options, settings_now(settings).options))
    except InvalidRequest as error:
        _log.error("SIGHUP: %s", refusal(str(error)))

"""Shared parts of the commands that run the service or an agent: settings, the log, and the notification to systemd."""

from __future__ import annotations

import logging
import os
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, TextIO

from msgspec import structs

from pinfold.cli.exit_status import warn
from pinfold.core.printable import shown

if TYPE_CHECKING:
    from pinfold.config.fleet import FleetSettings


AUDIT: Final = "pinfold.audit"
"""The logger of the audit log, `pinfold.api.audit_log`; its lines are always written."""


def read_fleet(named: Sequence[str] | None, uri: str | None, listen: str | None, port: int | None, *, quiet: bool) -> FleetSettings:
    """The fleet's settings for one command. Warnings about the files go to standard error, unless `quiet`. Raises `InvalidRequest`."""
    from pinfold.config import find_files, load
    from pinfold.config.fleet import load_fleet

    files = find_files(named or (), os.environ, nova=False)
    if not quiet:
        for sentence in load(files).warnings:
            warn(sentence)
    settings = load_fleet(files)
    api = replace(settings.api, listen=listen or settings.api.listen, port=settings.api.port if port is None else port)
    return replace(settings, host=structs.replace(settings.host, uri=uri or settings.host.uri), api=api)


def placement_there(settings: FleetSettings) -> str:
    """The sentence that says where Placement is, for the screen; '' if it is embedded."""
    from pinfold.accounting.remote import RemotePlacement

    if not isinstance(settings.placement, RemotePlacement):
        return ""
    return f"Placement is at {settings.placement.url or 'the address in the catalogue of ' + settings.placement.auth_url}."


def watch_log(*, verbose: bool) -> None:
    """Write the log to standard error: warnings and errors, or every step."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_formatter(sys.stderr))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logging.getLogger("pinfold").setLevel(logging.INFO if verbose else logging.WARNING)
    logging.getLogger(AUDIT).setLevel(logging.INFO)
    # Placement logs every request at DEBUG and INFO; only its warnings are useful.
    logging.getLogger("placement").setLevel(logging.WARNING)


def tell_systemd_ready() -> None:
    """Tell systemd that the service is ready, if systemd waits for it (`Type=notify`)."""
    tell_systemd("READY=1")


def tell_systemd(state: str) -> None:
    """Send one line to systemd, if it listens. Source: sd_notify(3)."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to:
            to.sendto(state.encode(), "\0" + address[1:] if address.startswith("@") else address)


class Watchdog:
    """Tells systemd's watchdog that the process is alive, if the unit has one (`WatchdogSec`). Source: sd_watchdog_enabled(3)."""

    def __init__(self) -> None:
        period, process = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
        meant = process in ("", str(os.getpid()))
        self._pause = int(period) / 3_000_000 if period.isdigit() and meant else None
        self._next = 0.0

    def feed(self) -> None:
        """Call this all the time; it sends one line in each third of the watchdog's period."""
        now = time.monotonic()
        if self._pause is not None and now >= self._next:
            self._next = now + self._pause
            tell_systemd("WATCHDOG=1")


class LineFormatter(logging.Formatter):
    """Writes each record on one line, with escapes for non-printing characters, so that no foreign text begins a log line.

    A traceback follows on lines of its own, each indented.
    """

    def format(self, record: logging.LogRecord) -> str:
        # Clear the cached traceback text: the record passes it from one handler to the next.
        kept, record.exc_text = record.exc_text, None
        try:
            return super().format(record)
        finally:
            record.exc_text = kept

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's own name
        return shown(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802 - logging's own name
        return _indented(super().formatException(ei))

    def formatStack(self, stack_info: str) -> str:  # noqa: N802 - logging's own name
        return _indented(super().formatStack(stack_info))


def _indented(lines: str) -> str:
    return "\n".join(f"    {shown(line)}" for line in lines.split("\n"))


class _JournalFormatter(LineFormatter):
    """Lines for the journal, which adds the time itself. Each begins with its priority. Source: sd-daemon(3)."""

    _PRIORITIES: Final = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))

    def format(self, record: logging.LogRecord) -> str:
        priority = next((number for level, number in self._PRIORITIES if record.levelno >= level), 7)
        return "\n".join(f"<{priority}>{line}" for line in super().format(record).split("\n"))


def _formatter(stream: TextIO) -> logging.Formatter:
    if _is_journal(stream):
        return _JournalFormatter("%(name)s: %(message)s")
    return LineFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s")


def _is_journal(stream: TextIO) -> bool:
    """Whether the stream is the one that systemd connected to the journal. Source: $JOURNAL_STREAM in systemd.exec(5)."""
    named = os.environ.get("JOURNAL_STREAM", "")
    if not named:
        return False
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):  # the stream is closed or no file
        return False
    return named == f"{found.st_dev}:{found.st_ino}"

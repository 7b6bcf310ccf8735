"""`pinfold top`: guests and pools of this host by overhead CPU and delay, live in a terminal. It only reads."""

from __future__ import annotations

import os
import select
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Final

import typer

from pinfold.cli import options as opt
from pinfold.cli.exit_status import warn
from pinfold.cli.output import console, show, show_json
from pinfold.cli.session import Session, open_session, read_configuration

if TYPE_CHECKING:
    from pinfold.core.usage import Usage
    from pinfold.watch.top import Order, Top

_REFRESH_SECONDS: Final = 1.0
"""The screen is drawn anew this often at least, by the size that the terminal has then."""


def top(
    context: typer.Context,
    sort: Annotated[
        str, typer.Option("--sort", metavar="delay|overhead|vcpu|wait|others|name", help="What the guests are sorted by.")
    ] = "delay",
    interval: Annotated[float, typer.Option(min=0.5, max=60.0, help="Seconds between two sweeps.")] = 3.0,
    once: Annotated[bool, typer.Option("--once", help="Measure for one interval, print, and end. So it is in a pipe, too.")] = False,
    config: opt.Config = None,
    connect: opt.Connect = None,
    as_json: opt.Json = False,
) -> None:
    """Show guests and pools of this host by overhead CPU and delay, live in a terminal.

    On top is each pool: how much of it is used and booked, and how long threads wait that may run nowhere else. Below is a line for each
    running guest: what its overhead threads and its vCPUs ran, how long they waited for a pCPU (delay), and what others took of pCPUs that
    it has alone. Keys sort the guests: d, o, v, w, t, n; q ends.
    """
    from pinfold.cli.views.top import top_view
    from pinfold.core.encoding import plain
    from pinfold.watch.top import Order, ordered

    order = opt.member_of(Order, sort, "--sort")
    configuration = read_configuration(config, connect, only_looks=True, quiet=as_json, audits=True)
    with open_session(context, configuration) as session:
        if session.driver.local and sys.stdin.isatty() and sys.stdout.isatty() and not (once or as_json):
            _live(session, order, interval)
            return
        measuring = _Measuring(session)
        time.sleep(interval)
        found = measuring.measured()
    if as_json:
        show_json({**plain(found), "guests": plain(ordered(found.guests, order))})
        return
    for warning in measuring.warnings:
        warn(warning)
    target = console()
    show(top_view(found, order, target.width), target)


class _Measuring:
    """The sweeps of one host. The first is made at once. Raises what a sweep raises."""

    def __init__(self, session: Session) -> None:
        from pinfold.core.errors import InvalidRequest

        if not session.driver.local:
            raise InvalidRequest(f"{session.driver.uri} is remote; run `pinfold top` on the host itself", key="connect")
        self._session = session
        self._at = 0.0
        self._usage: Usage | None = None
        self.warnings: tuple[str, ...] = ()
        self.measured()

    def measured(self) -> Top:
        """Sweep now: the host since the sweep before."""
        from pinfold.core.usage import Usage, accumulated
        from pinfold.watch.sweep import sweep
        from pinfold.watch.top import top

        swept, at = sweep(self._session.driver, self._session.settings), time.monotonic()
        before, self._usage = self._usage, accumulated(self._usage, swept.sample)
        seconds, self._at = at - self._at, at
        self.warnings = swept.audit.seen.warnings
        unread = tuple(name for name, _ in swept.unread)
        return top(Usage() if before is None else before, self._usage, swept.snapshot, seconds, unread)


def _live(session: Session, order: Order, interval: float) -> None:
    """Draw the screen again and again until q or Ctrl-C."""
    from rich.console import Group
    from rich.live import Live

    from pinfold.cli.views.top import KEYS, top_view
    from pinfold.core.errors import Unavailable

    target = console()
    measuring, problem = _Measuring(session), ""
    found = None
    with _keys(), Live(console=target, screen=True, auto_refresh=False, vertical_overflow="crop") as live:
        due = time.monotonic() + min(interval, 1.0)
        while True:
            if found is None:
                live.update("measuring, q quits", refresh=True)
            else:
                lines = top_view(found, order, target.width, rows=target.height, live=True, problem=problem)
                live.update(Group(*lines), refresh=True)
            key = _pressed(min(_REFRESH_SECONDS, due - time.monotonic()))
            if key in ("q", "Q", "\x1b", "\x03", "\x04"):
                return
            order = KEYS.get(key, order)
            if time.monotonic() >= due:
                try:
                    found, problem = measuring.measured(), ""
                except Unavailable as error:
                    problem = str(error)
                due = time.monotonic() + interval


@contextmanager
def _keys() -> Iterator[None]:
    """Each key is read as it is pressed, and not shown, until the block ends."""
    import termios
    import tty

    before = termios.tcgetattr(sys.stdin.fileno())
    tty.setcbreak(sys.stdin.fileno())
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin.fileno(), termios.TCSADRAIN, before)


def _pressed(seconds: float) -> str:
    """The key that was pressed within that time, '' for none; 'q' when the terminal is gone."""
    if not select.select([sys.stdin], [], [], max(0.0, seconds))[0]:
        return ""
    return os.read(sys.stdin.fileno(), 1).decode("ascii", "replace") or "q"

"""What the agent's loop and the watch's loop have in common: moments, the events that both hear, and a line for the log."""

from __future__ import annotations

import time

from msgspec import Struct

from pinfold.core.repairs import Drifted


class Moment(Struct, frozen=True, kw_only=True):
    """One moment on two clocks. `at` is for durations: nobody sets that clock, and it goes on while the machine is suspended, because a
    lease then runs out too. `time` is for people, in seconds since the epoch.
    """

    at: float
    time: float = 0.0


def now() -> Moment:
    """The present moment."""
    return Moment(at=time.clock_gettime(time.CLOCK_BOOTTIME), time=time.time())


class Tick(Struct, frozen=True, kw_only=True):
    """Time has passed."""

    when: Moment


class HungUp(Struct, frozen=True, kw_only=True):
    """The process has received SIGHUP: the configuration is to be read again."""

    when: Moment


class Stop(Struct, frozen=True, kw_only=True):
    """The process is to end: begin nothing more."""

    when: Moment


class Repaired(Struct, frozen=True, kw_only=True):
    """The repair of a guest has ended. `failure` says why it did not succeed or which drift remains, '' for success.

    `needless`: there was no drift any more, and nothing was done.
    """

    when: Moment
    guest: Drifted
    failure: str = ""
    needless: bool = False


class Log(Struct, frozen=True, kw_only=True):
    """The action of writing one sentence to the log. `level` is one of `logging`."""

    level: int
    sentence: str

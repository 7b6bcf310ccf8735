"""The rig itself: an API that nobody attacks holds, and one that does not answer is found out."""

from __future__ import annotations

import signal
import time

import pytest
from tests.real.attack.rig import SLOWEST_SECONDS, Target


def test_an_api_that_nobody_attacks_holds(target: Target) -> None:
    with target.holding() as seen:
        time.sleep(0.5)
    assert seen.beats > 1
    assert seen.peak_mib > 50


def test_an_api_that_keeps_an_agent_waiting_is_found_out(target: Target) -> None:
    def stop_for_a_while() -> None:
        with target.holding():
            target.process.send(signal.SIGSTOP)
            time.sleep(SLOWEST_SECONDS * 2)
            target.process.send(signal.SIGCONT)

    with pytest.raises(AssertionError, match="slowest"):
        stop_for_a_while()

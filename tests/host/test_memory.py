"""Where guests' memory lies, read from real processes: this test's own stands for a guest."""

from __future__ import annotations

import os

from msgspec.structs import replace
from tests.build.fits import fit
from tests.build.guests import ours, surveyed

from pinfold.host.memory import memory_of_guests


def test_the_memory_of_running_guests_is_read_and_a_guest_that_is_gone_is_left_out() -> None:
    held = bytearray(os.urandom(1 << 16) * (16 * 256))  # 256 MiB that are touched
    here = replace(ours(1, "here", fit("2-3")), pid=os.getpid())
    gone = replace(ours(2, "gone", fit("4-5")), pid=2**22 - 1)
    stopped = ours(3, "stopped", fit("6-7"), running=False)
    seen = replace(surveyed(here, gone, stopped), own_machine=True)
    (one,) = memory_of_guests(seen)
    assert one.guest == here.id
    assert sum(mib for _, mib in one.mib) >= len(held) >> 20
    assert memory_of_guests(replace(seen, own_machine=False)) == (), "the processes are elsewhere"

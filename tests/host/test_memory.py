"""Where guests' memory lies, read from real processes: this test's own stands for a guest."""

from __future__ import annotations

import os

from msgspec.structs import replace
from tests.build.fits import fit
from tests.build.guests import ours, surveyed

from pinfold.core.drift.memory import Area, AreaKind
from pinfold.drivers.port import HostGuest
from pinfold.host.memory import PAUSE_SECONDS, PAUSE_TIMES, SeldomMemory, memory_of_guests


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


AREA = Area(kind=AreaKind.PLAIN, page_kib=4, pages=((0, 1 << 20),))


class Slow:
    """A clock that only readings move on: each takes so many seconds."""

    def __init__(self, takes: float) -> None:
        self.now, self.takes, self.read = 0.0, takes, []  # type: ignore[var-annotated]
        self.memory = SeldomMemory(self._areas, lambda: self.now)

    def _areas(self, pid: int) -> tuple[Area, ...]:
        self.now += self.takes
        self.read.append(pid)
        return (AREA,)

    def age(self, guest: HostGuest) -> float:
        areas, age = self.memory.areas(guest)
        assert areas == (AREA,)
        return age


def running(number: int, pid: int) -> HostGuest:
    return replace(ours(number, f"vm{number}", fit("2-3")), pid=pid)


def test_where_memory_lies_is_read_at_once_and_again_after_a_minute() -> None:
    slow = Slow(takes=0.25)
    assert slow.age(running(1, 71)) == 0.0
    slow.now += PAUSE_SECONDS - 1
    assert slow.age(running(1, 71)) == PAUSE_SECONDS - 1
    slow.now += 1
    assert slow.age(running(1, 71)) == 0.0
    assert slow.read == [71, 71]


def test_all_readings_together_take_one_per_cent_of_a_cpu_at_most() -> None:
    slow = Slow(takes=2.0)
    guests = [running(number, 70 + number) for number in range(1, 6)]
    for _ in range(1000):
        for guest in guests:
            slow.age(guest)
        slow.now += 10.0
    first = len(guests)  # each is read once when it is first seen
    assert first < len(slow.read) <= first + slow.now / PAUSE_TIMES / 2.0 + first


def test_a_guest_that_was_started_anew_is_read_at_once_and_one_that_is_gone_is_forgotten() -> None:
    slow = Slow(takes=0.0)
    slow.age(running(1, 71))
    assert slow.age(running(1, 72)) == 0.0
    slow.memory.forget_others([running(2, 73)])
    slow.age(running(1, 72))
    assert slow.read == [71, 72, 72]
    assert slow.memory.areas(replace(running(1, 72), pid=None)) == ((), 0.0)

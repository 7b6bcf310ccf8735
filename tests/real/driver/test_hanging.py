"""Guests whose QEMU does not answer: a signal stops it, which is how a hung one looks to libvirt."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.real.driver.conftest import driver_on
from tests.real.driver.guests import pinned
from tests.real.patience import until

from pinfold.drivers.libvirt.driver import LibvirtDriver
from pinfold.drivers.port import GuestHangs, GuestState
from pinfold.lab.daemon import LabHost

HUNG = 6
"""libvirtd carries out five calls of one connection at a time."""


@pytest.fixture
def driver(synthetic_lab: LabHost) -> Iterator[LibvirtDriver]:
    """A driver on a synthetic lab host."""
    with driver_on(synthetic_lab) as connected:
        yield connected


@contextmanager
def stopped(*pids: int) -> Iterator[None]:
    """The processes do nothing within the block."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def running(driver: LibvirtDriver, idle_rom: Path, count: int) -> dict[str, int]:
    """So many guests, by id, with their processes."""
    made = {}
    for _ in range(count):
        spec = pinned(idle_rom)
        spec = replace(spec, name=f"g-{spec.id[:8]}")
        guest = driver.start(spec)
        driver.resume(spec.id)
        assert guest.pid is not None
        made[spec.id] = guest.pid
    return made


def shut_down_all(driver: LibvirtDriver, guests: dict[str, int]) -> list[GuestHangs]:
    """Ask all of them to shut down, at once; what came of it."""
    said: list[GuestHangs] = []

    def ask(guest: str) -> None:
        try:
            driver.shut_down(guest)
        except GuestHangs as hangs:
            said.append(hangs)

    threads = [threading.Thread(target=ask, args=(guest,)) for guest in guests]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return said


def test_guests_that_hang_are_named_and_keep_no_other_from_anything(driver: LibvirtDriver, idle_rom: Path) -> None:
    hung = running(driver, idle_rom, HUNG)
    with stopped(*hung.values()):
        said = shut_down_all(driver, hung)
        assert {hangs.guest for hangs in said} == set(hung)
        assert all("libvirt has not answered its shutdown since" in str(hangs) for hangs in said)

        found = {guest.id: guest for guest in driver.guests()}
        assert set(found) == set(hung)
        for guest, pid in hung.items():
            assert found[guest].state is GuestState.RUNNING
            assert f"its QEMU process {pid} is stopped by a signal" in found[guest].hangs
        began = time.monotonic()
        with pytest.raises(GuestHangs):
            driver.shut_down(next(iter(hung)))
        assert time.monotonic() - began < 5, "what hangs is not asked again"

        (other,) = running(driver, idle_rom, 1)
        assert driver.observe(next(guest for guest in driver.guests() if guest.id == other)).threads
        driver.stop(other, remove=True)
        assert other not in {guest.id for guest in driver.guests()}
    # The shutdowns that were under way are heard now, and all is well.
    until(lambda: not any(guest.hangs for guest in driver.guests()), "the guests answer again")
    driver.shut_down(next(iter(hung)))


def test_a_guest_that_hangs_is_ended_at_once_and_the_others_are_read_meanwhile(driver: LibvirtDriver, idle_rom: Path) -> None:
    hung = running(driver, idle_rom, 2)
    first, second = hung
    with stopped(*hung.values()):
        driver.stop(first, remove=True)
        assert [guest.id for guest in driver.guests()] == [second]


def test_a_guest_whose_end_libvirt_waits_for_keeps_no_other_from_being_read(
    driver: LibvirtDriver, idle_rom: Path, synthetic_lab: LabHost
) -> None:
    """Somebody else ends a guest whose process does not end: for ten seconds libvirt lists no guest at all."""
    import libvirt

    hung = running(driver, idle_rom, 2)
    first, second = hung
    before = {guest.id: guest for guest in driver.guests()}
    with stopped(hung[first]):
        other = libvirt.open(synthetic_lab.uri)
        ending = threading.Thread(target=lambda: other.lookupByUUIDString(first).destroy())
        ending.start()
        time.sleep(0.5)
        found = {guest.id: guest for guest in driver.guests()}
        if ending.is_alive():  # libvirt was still waiting: it is as this test wants it
            assert found[second] == before[second]
            assert found[first].hangs and found[first].record == before[first].record
        ending.join()
        other.close()
    until(lambda: {guest.id: guest.state for guest in driver.guests()}[first] is not GuestState.RUNNING, "its end is seen")

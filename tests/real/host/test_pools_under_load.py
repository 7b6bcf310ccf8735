"""Pools changed many times under guests whose disks make QEMU start workers all the time, with libvirtd restarted in the middle.

At the end every thread is on the last set, none was ever outside of the old and the new set, and no guest was restarted.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.real.host.bench import DEDICATED, Bench
from tests.real.host.sampler import Sampler, Where, by_procfs, by_records
from tests.real.patience import until

from pinfold.core.errors import Conflict, Unavailable
from pinfold.core.overhead import ThreadClass
from pinfold.drivers.port import Boot, HostGuest
from pinfold.host.pool_change import apply
from pinfold.host.repair import repair
from pinfold.host.verify import verify
from pinfold.linux.procfs import start_ticks

SHARE = DEDICATED | {"hw:emulator_threads_policy": "share"}
TIMES = [3, pytest.param(20, marks=pytest.mark.slow)]
ON_TWO = (("1", "0"), ("0-1", None), ("0", "1"))
"""The shared and the dedicated pool, in turn, on a machine with two pCPUs."""
ON_MANY = (("8-9,24", "0-7,10-23,25-31"), ("4-6", "0-3,7-31"), ("0-1,20-31", "2-19"), ("0", "1-31"))


def started(bench: Bench, folder: Path, rom: Path, *, pinned: int, floating: int) -> list[HostGuest]:
    """Guests that read from their disks a thousand times a second; the pinned ones have an iothread."""
    for number in range(pinned + floating):
        image = folder / f"disk{number}.img"
        image.touch()
        os.truncate(image, 64 << 20)
        boot = Boot(rom=str(rom), disk=str(image), iothreads=int(number < pinned))
        bench.start(bench.order(f"vm{number}", SHARE if number < pinned else None, boot=boot))
    return [bench.guest(f"vm{number}") for number in range(pinned + floating)]


def applied(bench: Bench) -> bool:
    """Whether all guests have followed; a libvirtd that is away, or comes back, is asked again."""
    try:
        return apply(bench.driver, bench.settings).complete
    except (Unavailable, Conflict):
        return False


def settled(bench: Bench, guest: HostGuest) -> bool:
    """Whether every thread is where the record says. QEMU makes a worker also while a vCPU's thread runs its block layer, and that one has
    the vCPU's place until a repair; nothing else may stray.
    """
    now = bench.guest(guest.name)
    verdict = verify(bench.driver, bench.settings, now, online=bench.driver.topology().online)
    assert verdict.masks is not None
    own = {str(cpus) for cpus in verdict.masks.vcpus}
    for finding in verdict.drift:
        assert finding.thread_class is ThreadClass.EMULATOR and finding.observed in own, finding.sentence()
    if verdict.drift:
        repair(bench.driver, bench.settings, guest.id)
    return not verdict.drift


def change(bench: Bench, guests: list[HostGuest], where: Where, pools: Iterator[tuple[str, str | None]], times: int, last: str) -> None:
    """Change the pools so often under the guests, restart libvirtd in the middle, and check what must hold. `last` is the set at first."""
    pins = {guest.pid: str(guest.record.fit.pinned) for guest in guests if guest.record is not None and guest.pid is not None}
    began = {pid: start_ticks(pid) for pid in pins}
    with Sampler(where, {pid: f"{last},{own}" for pid, own in pins.items()}) as sampler:
        for number, (shared, dedicated) in enumerate(itertools.islice(pools, times)):
            now = bench.with_pools(shared=shared, dedicated=dedicated)
            for pid, own in pins.items():
                sampler.may_be_on(pid, last, shared, own)
            restart = threading.Thread(target=bench.lab.restart_daemon)
            if number == times // 2:
                restart.start()
            until(lambda now=now: applied(now), f"the guests follow to {shared}")  # type: ignore[misc]
            if number == times // 2:
                restart.join()
            for guest in guests:
                until(lambda now=now, guest=guest: settled(now, guest), f"{guest.name} is on {shared}")  # type: ignore[misc]
            for pid, own in pins.items():
                sampler.may_be_on(pid, shared, own)
            last = shared
        assert sampler.outside == []
        assert sampler.samples > 100
    assert {pid: start_ticks(pid) for pid in pins} == began, "no guest was started again"
    for guest in guests:
        seen = bench.guest(guest.name)
        assert guest.record is not None and seen.record is not None and seen.record.fit.pins == guest.record.fit.pins
        fit = seen.record.fit
        assert str(fit.emulator) == last and (not fit.float_vcpus or str(fit.float_set) == last)


def test_the_sampler_sees_a_thread_outside_of_the_window() -> None:
    with Sampler(by_procfs, {os.getpid(): "4000"}) as sampler:
        until(lambda: sampler.outside, "this process is seen elsewhere")


@pytest.mark.parametrize("times", TIMES)
def test_threads_follow_on_this_machine(bench: Bench, disk_rom: Path, tmp_path: Path, times: int) -> None:
    first = bench.with_pools(shared="0", dedicated="1")
    guests = started(first, tmp_path, disk_rom, pinned=1, floating=2)
    change(bench, guests, by_procfs, itertools.cycle(ON_TWO), times, "0")


@pytest.mark.parametrize("times", TIMES)
def test_threads_follow_on_a_host_of_many_pcpus(synthetic_bench: Bench, disk_rom: Path, tmp_path: Path, times: int) -> None:
    first = synthetic_bench.with_pools(shared="0-1,16-17", dedicated="2-15,18-31")
    guests = started(first, tmp_path, disk_rom, pinned=4, floating=2)
    where = by_records(synthetic_bench.lab.folder.records)
    change(synthetic_bench, guests, where, itertools.cycle(ON_MANY), times, "0-1,16-17")

"""Pools changed under running guests: their threads follow, nobody is restarted, and what fails is moved back. Real guests.

The witness is procfs, read without our code.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from msgspec import structs
from tests.real.conftest import two_cells
from tests.real.host import domains
from tests.real.host.bench import DEDICATED, Bench, FailsLate, allowed
from tests.real.patience import until

from pinfold.core.cpuset import CpuSet
from pinfold.core.errors import InvalidRequest
from pinfold.core.fit.answer import NoFit
from pinfold.core.overhead import ThreadClass
from pinfold.core.topology import Topology
from pinfold.drivers.port import Boot, GuestState
from pinfold.host.lock import owning
from pinfold.host.pool_change import AT_NOVAS_REBOOT, apply, plan
from pinfold.host.start import place, restart
from pinfold.host.stop import stop
from pinfold.host.survey import survey
from pinfold.host.verify import verify
from pinfold.lab import sysfs
from pinfold.lab.daemon import LabHost

SHARE = DEDICATED | {"hw:emulator_threads_policy": "share"}


def cpus(text: str) -> CpuSet:
    return CpuSet.parse(text)


def disk(folder: Path) -> str:
    image = folder / "disk.img"
    image.touch()
    os.truncate(image, 64 << 20)
    return str(image)


def quiet(bench: Bench, name: str) -> bool:
    """Whether every thread of the guest is where its record says."""
    return not verify(bench.driver, bench.settings, bench.guest(name), online=bench.driver.topology().online).drift


def test_a_running_guest_follows_with_every_thread_and_its_record(bench: Bench, disk_rom: Path, tmp_path: Path) -> None:
    old = bench.with_pools(shared="0", dedicated="1")
    boot = Boot(rom=str(disk_rom), disk=disk(tmp_path), iothreads=1)
    old.start(old.order("vm", SHARE, boot=boot))
    began = old.guest("vm")
    assert plan(old.driver, old.settings).changes == ()

    new = bench.with_pools(shared="0-1", dedicated=None, overhead="1")
    (change,) = plan(new.driver, new.settings).changes
    assert change.pending and change.retiring == cpus("1")
    assert {move.thread_class for move in change.moves} >= {ThreadClass.EMULATOR, ThreadClass.IOTHREAD}
    assert {(move.before, move.after) for move in change.moves if move.thread_class is ThreadClass.IOTHREAD} == {(cpus("0"), cpus("1"))}
    assert old.guest("vm") == began, "a plan changes nothing"

    done = apply(new.driver, new.settings)
    assert done.complete and not done.failures
    now = new.guest("vm")
    assert now.record is not None and began.record is not None
    assert (now.pid, now.state) == (began.pid, GuestState.RUNNING)
    assert now.record == structs.replace(began.record, fit=structs.replace(began.record.fit, emulator=cpus("1")))
    assert (now.pins.emulator, now.pins.iothreads, now.kept and now.kept.placement) == (cpus("1"), ((1, cpus("1")),), cpus("1"))
    assert now.pid is not None
    pid = now.pid
    until(lambda: set().union(*allowed(pid).values()) == {"1"}, "every thread of the process is on pCPU 1")
    assert plan(new.driver, new.settings).settled

    stop(new.driver, new.settings, "vm")
    with pytest.raises(Exception, match="pinfold guest replace vm"):
        restart(new.driver, new.settings, "vm")  # its pin retired with it
    back = apply(old.driver, old.settings)
    assert back.complete and old.guest("vm").record == began.record
    assert restart(old.driver, old.settings, "vm").masks.overhead == cpus("0")


def test_floating_guests_follow_the_shared_pool(bench: Bench) -> None:
    old = bench.with_pools(shared="0", dedicated="1")
    old.start(old.order("vm", vcpus=2))
    pid = old.guest("vm").pid
    assert pid is not None
    for shared, dedicated in (("1", "0"), ("0-1", None), ("0", "1")):
        new = bench.with_pools(shared=shared, dedicated=dedicated)
        assert apply(new.driver, new.settings).complete
        until(lambda shared=shared: set().union(*allowed(pid).values()) == {shared}, f"every thread floats over {shared}")  # type: ignore[misc]
        assert new.guest("vm").pid == pid
        assert survey(new.driver, new.settings).state.ledger.claims[0].fit.float_set == cpus(shared)


def test_a_guest_that_fails_is_moved_back_and_the_others_follow(bench: Bench) -> None:
    old = bench.with_pools(shared="0", dedicated="1")
    old.start(old.order("pinned", SHARE))
    old.start(old.order("floats"))
    first, second = sorted(old.driver.guests(), key=lambda guest: guest.id)
    new = bench.with_pools(shared="1", dedicated="0")
    done = apply(FailsLate(new.driver, "pin"), new.settings)  # type: ignore[arg-type]
    assert done.failures == {first.id: "libvirt went away; its threads were moved back"}
    assert not done.complete
    assert old.guest(first.name).record == first.record and quiet(old, first.name)
    moved = new.guest(second.name).record
    assert moved is not None and moved.fit.emulator == cpus("1") and quiet(new, second.name)
    assert [change.guest.id for change in plan(new.driver, new.settings).changes if change.pending] == [first.id]
    assert apply(new.driver, new.settings).complete
    assert quiet(new, "pinned") and quiet(new, "floats")


NOVA_PINS = "<vcpupin vcpu='0' cpuset='1'/><emulatorpin cpuset='0'/><iothreadpin iothread='1' cpuset='0'/>"


def test_novas_share_guest_follows_with_emulator_and_iothreads_and_keeps_the_rest(bench: Bench) -> None:
    specs = {"hw:cpu_policy": "dedicated", "hw:emulator_threads_policy": "share"}
    domains.define(bench, "vm", cputune=NOVA_PINS, nova=True, specs=specs, iothreads=1)
    domains.define(bench, "other", cputune="<emulatorpin cpuset='0'/>")
    before = domains.virsh(bench, "dumpxml", "--inactive", "vm")
    other = bench.guest("other")
    new = bench.with_pools(shared="0-1", dedicated=None)
    done = apply(new.driver, new.settings)
    assert done.complete
    (change,) = done.plan.changes
    assert (change.guest.name, change.later) == ("vm", AT_NOVAS_REBOOT)
    assert {move.thread_class for move in change.moves} >= {ThreadClass.EMULATOR, ThreadClass.IOTHREAD}
    after = domains.virsh(bench, "dumpxml", "--inactive", "vm")
    assert after == before.replace("emulatorpin cpuset='0'", "emulatorpin cpuset='0-1'").replace("'1' cpuset='0'", "'1' cpuset='0-1'")
    now = bench.guest("vm")
    assert now.pid is not None
    found = allowed(now.pid)
    assert found["IO iothread1"] == {"0-1"} and found["qemu-system-x86"] == {"0-1"}
    assert next(masks for name, masks in found.items() if name.startswith("CPU 0/")) == {"1"}
    assert bench.guest("other") == other
    assert plan(new.driver, new.settings).changes == ()


def test_pcpus_that_were_shared_are_given_to_a_guest_as_soon_as_the_threads_have_left(synthetic_bench: Bench) -> None:
    old = synthetic_bench.with_pools(shared="0-1", dedicated="2-3")
    old.start(old.order("vm", SHARE, vcpus=2))
    new = synthetic_bench.with_pools(shared="16-17", dedicated="0-3")
    more = new.order("more", SHARE, vcpus=2)
    refused = place(new.driver, new.settings, more)
    assert isinstance(refused, NoFit) and "cell 0 has 0 free dedicated pCPUs, 2 needed" in refused.sentence()
    assert apply(new.driver, new.settings).complete
    assert new.start(more).guest.record is not None and new.guest("more").pins.vcpus == ((0, cpus("0")), (1, cpus("1")))


def test_a_guest_that_is_left_where_it_is_says_why(synthetic_bench: Bench) -> None:
    old = synthetic_bench.with_pools(shared="0-1", dedicated="2-15")
    for name, change in (("served", {"owner": "the agent of c1"}), ("older", {"request": None}), ("floats", {})):
        old.start(old.order(name, None if name == "floats" else SHARE))
        record = old.guest(name).record
        assert record is not None
        old.driver.amend(record.guest, structs.replace(record, **change))
    before = {guest.name: (guest.record, guest.pins) for guest in old.driver.guests()}
    new = synthetic_bench.with_pools(dedicated="2-15", overhead="0")
    done = apply(new.driver, new.settings)
    assert not done.complete and not done.failures
    why = {change.guest.name: change.why for change in done.plan.changes}
    assert why["served"].startswith("let the agent of c1 read its pools again (`systemctl reload pinfold-agent`;")
    assert "`pinfold guest replace older --flavor NAME`" in why["older"]
    assert why["floats"] == "no shared pool is configured (cpu_shared_set), and 1 vCPU would float"
    assert {guest.name: (guest.record, guest.pins) for guest in new.driver.guests()} == before


@contextmanager
def offline(lab: LabHost, cpus: CpuSet) -> Iterator[None]:
    """The pCPUs are offline for the block, as the lab's sysfs tells libvirtd."""
    folder = lab.folder.path / "sys/devices/system"
    cells = [
        structs.replace(cell, cores=cores, sockets=cell.sockets[: len(cores)])
        for cell in two_cells().cells
        for cores in [tuple(core - cpus for core in cell.cores if core - cpus)]
    ]

    def say(topology: Topology) -> None:
        for name, text in sysfs.files(topology).items():
            (folder / name).write_text(f"{text}\n")

    say(Topology(cells=tuple(cells), offline=cpus))
    try:
        yield
    finally:
        say(two_cells())


def test_threads_leave_offline_pcpus_and_pins_there_retire_until_they_are_back(synthetic_bench: Bench) -> None:
    bench = synthetic_bench.with_pools(shared="0-1", dedicated="2-15")
    bench.start(bench.order("vm", SHARE, vcpus=2))
    began = bench.guest("vm")
    with offline(bench.lab, cpus("1-2")):
        (change,) = plan(bench.driver, bench.settings).changes
        assert (change.pending, change.retiring) == (True, cpus("2"))
        assert apply(bench.driver, bench.settings).complete
        now = bench.guest("vm")
        assert (now.pid, now.pins.emulator, now.pins.vcpus) == (began.pid, cpus("0"), began.pins.vcpus)
        assert plan(bench.driver, bench.settings).settled
    assert apply(bench.driver, bench.settings).complete
    assert bench.guest("vm").record == began.record and plan(bench.driver, bench.settings).changes == ()


def test_an_agents_host_is_left_to_its_service(bench: Bench) -> None:
    with owning(bench.settings, "the agent of c1"), pytest.raises(InvalidRequest, match="host pools --apply is refused"):
        apply(bench.driver, bench.settings)

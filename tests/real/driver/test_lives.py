"""Guests that begin, end, fail and outlive the daemon: what is left behind, what is read back."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import libvirt
import pytest
from msgspec.structs import replace
from tests.build.specs import SPECS
from tests.real.driver.guests import pinned
from tests.real.patience import PATIENCE_SECONDS, until

from pinfold.core.errors import Conflict, InvalidRequest, PinfoldError, Unavailable
from pinfold.core.identity import ClaimId
from pinfold.core.overhead import masks
from pinfold.core.request.guest_hardware import GuestHardware
from pinfold.drivers.kvm import thread_moves
from pinfold.drivers.libvirt.driver import LibvirtDriver
from pinfold.drivers.port import Event, EventKind, GuestState
from pinfold.lab import rom
from pinfold.lab.daemon import LabHost
from pinfold.linux import procfs


def test_a_stopped_guest_starts_again_in_its_place(driver: LibvirtDriver, idle_rom: Path) -> None:
    spec = pinned(idle_rom, emulator="0")
    pid = driver.start(spec).pid
    with pytest.raises(InvalidRequest, match="is paused already"):
        driver.restart(spec.id)
    driver.stop(spec.id, remove=False)
    assert pid is not None
    assert procfs.start_ticks(pid) is None
    (stopped,) = driver.guests()
    assert (stopped.state, stopped.pid, stopped.record) == (GuestState.STOPPED, None, spec.record)
    again = driver.restart(spec.id)
    assert (again.state, again.record) == (GuestState.PAUSED, spec.record)
    driver.resume(spec.id)
    assert thread_moves.misplaced(driver.observe(again), masks(spec.record.fit)) == ()


def test_a_record_is_amended_while_its_guest_runs_and_while_it_is_stopped(driver: LibvirtDriver, idle_rom: Path) -> None:
    spec = pinned(idle_rom, emulator="0")
    asked = replace(spec.record, request=spec.request)
    began = driver.start(spec)
    pins = (began.pins, began.kept)
    driver.resume(spec.id)
    for revision in (8, 9):
        amended = replace(asked, claim=ClaimId("00000000-0000-4000-8000-00000000000c"), revision=revision)
        driver.amend(spec.id, amended)
        (runs,) = driver.guests()
        assert (runs.state, runs.pid, runs.record, runs.problem) == (GuestState.RUNNING, began.pid, amended, "")
        assert (runs.pins, runs.kept) == pins
    driver.stop(spec.id, remove=False)
    (stopped,) = driver.guests()
    assert (stopped.state, stopped.record) == (GuestState.STOPPED, amended)
    driver.amend(spec.id, asked)
    assert driver.restart(spec.id).record == asked
    with pytest.raises(InvalidRequest, match="there is no guest with the id"):
        driver.amend("00000000-0000-4000-8000-0000000000ff", asked)


def test_stopping_and_removing_leaves_nothing_and_may_be_repeated(driver: LibvirtDriver, idle_rom: Path) -> None:
    spec = pinned(idle_rom)
    pid = driver.start(spec).pid
    driver.resume(spec.id)
    driver.stop(spec.id, remove=True, graceful_seconds=0.2)
    assert driver.guests() == ()
    assert pid is not None
    assert procfs.start_ticks(pid) is None
    driver.stop(spec.id, remove=True)


def test_a_guest_that_hears_its_power_button_shuts_down_and_a_deaf_one_is_ended(
    driver: LibvirtDriver, idle_rom: Path, tmp_path: Path
) -> None:
    tmp_path.chmod(0o711)
    spec, deaf = pinned(idle_rom), pinned(rom.write(tmp_path / "deaf.rom", rom.Parameters(deaf=1)), name="deaf")
    seen: list[Event] = []
    driver.events(seen.append)
    for each in (spec, deaf):
        driver.start(each)
        driver.resume(each.id)

    def off() -> bool:
        driver.shut_down(deaf.id)
        driver.shut_down(spec.id)  # again and again: a guest that is still booting does not hear the first time
        return next(guest for guest in driver.guests() if guest.id == spec.id).state is GuestState.STOPPED

    until(off)
    until(lambda: Event(kind=EventKind.STOPPED, guest=spec.id, detail="shut down") in seen)
    assert next(guest for guest in driver.guests() if guest.id == deaf.id).state is GuestState.RUNNING
    driver.stop(deaf.id, remove=False, graceful_seconds=0.3)
    until(lambda: Event(kind=EventKind.STOPPED, guest=deaf.id, detail="destroyed") in seen)
    driver.shut_down(deaf.id)


def test_a_guest_that_is_not_there_is_refused(driver: LibvirtDriver) -> None:
    missing = "00000000-0000-4000-8000-000000000000"
    driver.shut_down(missing)
    for act in (driver.restart, driver.resume):
        with pytest.raises(InvalidRequest, match="there is no guest with the id"):
            act(missing)


def test_an_id_or_name_that_is_taken_is_a_conflict_and_harms_nobody(driver: LibvirtDriver, idle_rom: Path) -> None:
    spec = pinned(idle_rom, emulator="0")
    pid = driver.start(spec).pid
    with pytest.raises(Conflict, match="with the id"):
        driver.start(replace(spec, name="other"))
    with pytest.raises(Conflict, match="with the name web"):
        driver.start(pinned(idle_rom, emulator="0"))
    (only,) = driver.guests()
    assert (only.pid, only.state) == (pid, GuestState.PAUSED)


def test_a_guest_that_qemu_refuses_leaves_nothing(driver: LibvirtDriver, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"missing\.rom") as caught:
        driver.start(pinned(tmp_path / "missing.rom"))
    assert "\n" not in str(caught.value)
    assert driver.guests() == ()


def test_a_definition_that_libvirt_refuses_leaves_nothing(driver: LibvirtDriver, idle_rom: Path) -> None:
    template = "<domain type='qemu'><os><type machine='no-such'>hvm</type></os></domain>"
    with pytest.raises(InvalidRequest, match="cannot be started"):
        driver.start(pinned(idle_rom, template=template))
    assert driver.guests() == ()


def test_a_template_starts_with_what_is_its_own(driver: LibvirtDriver, idle_rom: Path, lab: LabHost) -> None:
    template = f"""<domain type='{"kvm" if lab.kvm else "qemu"}' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <description>kept</description>
  <vcpu>9</vcpu>
  <iothreads>1</iothreads>
  <cputune><shares>512</shares><emulatorpin cpuset='1'/></cputune>
  <os><type arch='x86_64' machine='pc'>hvm</type><loader readonly='yes' type='rom'>{idle_rom}</loader></os>
  <devices><controller type='usb' model='none'/><memballoon model='none'/></devices>
  <qemu:commandline><qemu:arg value='-msg'/><qemu:arg value='timestamp=on'/></qemu:commandline>
</domain>"""
    spec = pinned(idle_rom, emulator="0", template=template)
    started = driver.start(spec)
    driver.resume(spec.id)
    assert thread_moves.misplaced(driver.observe(started), masks(spec.record.fit)) == ()
    dumped = subprocess.run(["virsh", "-q", "-c", driver.uri, "dumpxml", spec.id], check=True, capture_output=True, text=True).stdout
    for kept in ("<description>kept</description>", "<qemu:arg value='timestamp=on'/>"):
        assert kept in dumped


def test_every_reviewed_domain_is_valid_for_libvirt_s_schema(lab: LabHost, driver: LibvirtDriver) -> None:
    connection = libvirt.open(lab.uri)
    for name, spec in SPECS.items():
        text = driver.definition(replace(spec, name=name))
        domain = connection.defineXMLFlags(text, libvirt.VIR_DOMAIN_DEFINE_VALIDATE)
        (seen,) = driver.guests()
        assert (seen.record, seen.problem) == (spec.record, "")
        assert tuple(cpus for _, cpus in seen.pins.vcpus) == masks(spec.record.fit).vcpus
        domain.undefine()
    connection.close()


def test_everything_is_read_back_after_a_restart_of_the_daemon(driver: LibvirtDriver, idle_rom: Path, lab: LabHost) -> None:
    spec = pinned(idle_rom, emulator="0")
    driver.start(spec)
    driver.resume(spec.id)
    (before,) = driver.guests()
    seen: list[Event] = []
    driver.events(seen.append)
    lab.restart_daemon()
    until(lambda: any(event.kind is EventKind.DISCONNECTED for event in seen))
    (after,) = driver.guests()
    assert after == before
    until(lambda: driver.observe(after) == driver.observe(before), "both are seen alike, with no worker ending in between")
    assert thread_moves.misplaced(driver.observe(after), masks(spec.record.fit)) == ()
    driver.stop(spec.id, remove=True)
    # While libvirt 9.0 still reconnects to a guest after its own restart, a destroy ends the guest without a word; the undefine is told.
    until(lambda: any(event.kind in (EventKind.STOPPED, EventKind.UNDEFINED) and event.guest == spec.id for event in seen))


def test_events_tell_of_every_change(driver: LibvirtDriver, idle_rom: Path) -> None:
    seen: list[Event] = []
    end = driver.events(seen.append)
    spec = pinned(idle_rom, emulator="0")
    driver.start(spec)
    driver.resume(spec.id)
    driver.pin(spec.id, masks(spec.record.fit))
    driver.stop(spec.id, remove=True)
    until(lambda: any(event.kind is EventKind.UNDEFINED for event in seen))
    kinds = list(dict.fromkeys(event.kind for event in seen if event.guest == spec.id))
    assert kinds[0] is EventKind.DEFINED
    assert set(kinds) >= {EventKind.STARTED, EventKind.RESUMED, EventKind.PINS_CHANGED, EventKind.STOPPED, EventKind.UNDEFINED}
    end()
    count = len(seen)
    driver.start(pinned(idle_rom))
    time.sleep(0.2)
    assert len(seen) == count


def test_a_guest_whose_process_is_killed_is_crashed_and_starts_again(driver: LibvirtDriver, idle_rom: Path) -> None:
    seen: list[Event] = []
    driver.events(seen.append)
    spec = pinned(idle_rom, emulator="0")
    started = driver.start(spec)
    assert started.pid is not None
    os.kill(started.pid, signal.SIGKILL)
    until(lambda: Event(kind=EventKind.STOPPED, guest=spec.id, detail="failed") in seen)
    (crashed,) = driver.guests()
    assert (crashed.state, crashed.active, crashed.record) == (GuestState.CRASHED, False, spec.record)
    assert driver.observe(started).threads == ()
    assert driver.restart(spec.id).state is GuestState.PAUSED


def killed_in_the_start(driver: LibvirtDriver, lab: LabHost, idle_rom: Path, *, comes_back: bool) -> PinfoldError:
    """Start a guest, kill libvirtd as soon as its QEMU is there, bring it back where asked, and return what `start` raised.

    A start that was over before the killer looked is none: then another guest is started.
    """
    for _ in range(20):
        spec = pinned(idle_rom, emulator="0")
        killer = threading.Thread(target=kill_as_it_starts, args=(lab, spec.id, comes_back))
        killer.start()
        caught = None
        try:
            driver.start(spec)
        except PinfoldError as error:
            caught = error
        killer.join()
        if caught is not None:
            assert procfs.processes_with("-uuid", spec.id) == ()
            return caught
        lab.start_daemon()
        driver.stop(spec.id, remove=True)
    raise AssertionError("the start was quicker than the killer, each time")


def kill_as_it_starts(lab: LabHost, guest: str, comes_back: bool) -> None:
    """Kill libvirtd while it starts the guest. QEMU is halted meanwhile, so that libvirtd has to wait for it."""
    pids = until(lambda: procfs.processes_with("-uuid", guest), "QEMU is there", pause=0.001)
    for number in (signal.SIGSTOP, signal.SIGCONT):
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        lab.kill_daemon()  # the second time there is none
    if comes_back:
        time.sleep(0.5)
        lab.start_daemon()


def test_a_daemon_that_dies_in_a_start_and_returns_leaves_nothing(
    driver: LibvirtDriver, lab: LabHost, idle_rom: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pinfold.drivers.libvirt.stop._CLEANUP_SECONDS", PATIENCE_SECONDS)  # it returns as soon as it can
    error = killed_in_the_start(driver, lab, idle_rom, comes_back=True)
    assert isinstance(error, Unavailable)
    assert driver.guests() == ()


def test_a_daemon_that_dies_in_a_start_for_good_leaves_no_process(driver: LibvirtDriver, lab: LabHost, idle_rom: Path) -> None:
    try:
        error = killed_in_the_start(driver, lab, idle_rom, comes_back=False)
    finally:
        lab.start_daemon()
    assert isinstance(error, Unavailable)
    assert "its definition may be left: virsh" in str(error)


def test_a_daemon_that_accepts_and_never_answers_is_asked_once(
    driver: LibvirtDriver, lab: LabHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pinfold.drivers.libvirt.connection._OPEN_SECONDS", 0.2)
    path = lab.run_dir / "libvirt-sock"
    lab.kill_daemon()
    path.unlink(missing_ok=True)
    try:
        with socket.socket(socket.AF_UNIX) as silent:
            silent.bind(str(path))
            silent.listen()
            for _ in range(4):
                with pytest.raises(Unavailable, match="cannot be reached"):
                    driver.guests()
            silent.settimeout(60)
            asked, _ = silent.accept()
            silent.setblocking(False)
            with asked, pytest.raises(BlockingIOError):
                silent.accept()
    finally:
        path.unlink()
        lab.start_daemon()
    monkeypatch.undo()
    assert driver.guests() == ()


def test_a_daemon_that_replaces_one_that_never_answers_is_reached(
    driver: LibvirtDriver, lab: LabHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = lab.run_dir / "libvirt-sock"
    lab.kill_daemon()
    path.unlink(missing_ok=True)
    monkeypatch.setattr(driver._connection._opening, "_again_seconds", 0.5)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(path))
        silent.listen()
        with monkeypatch.context() as hurried:
            hurried.setattr("pinfold.drivers.libvirt.connection._OPEN_SECONDS", 0.2)
            with pytest.raises(Unavailable, match="cannot be reached"):
                driver.guests()
        path.unlink()
        lab.start_daemon()
        assert driver.guests() == (), "the call that hangs at the old daemon holds it up for half a second"


def test_a_closed_driver_is_unavailable(lab: LabHost) -> None:
    closed = LibvirtDriver(lab.uri)
    closed.close()
    with pytest.raises(Unavailable, match="was closed"):
        closed.guests()


def test_a_daemon_that_is_away_is_unavailable(driver: LibvirtDriver, lab: LabHost) -> None:
    lab.kill_daemon()
    try:
        with pytest.raises(Unavailable):  # it may be told in the middle of the call
            driver.guests()
        with pytest.raises(Unavailable, match="cannot be reached"):
            driver.guests()
        with pytest.raises(Unavailable, match="cannot be reached"):
            LibvirtDriver(lab.uri)
    finally:
        lab.start_daemon()
    assert driver.guests() == ()


def test_a_guest_gets_the_hardware_that_it_asks_for(driver: LibvirtDriver, idle_rom: Path, lab: LabHost) -> None:
    spec = pinned(idle_rom, emulator="0")
    limited = bool(lab.cgroups) and lab.cgroups != "none"
    wanted = GuestHardware(
        machine="q35",
        watchdog="reset",
        random=True,
        random_bytes=2048,
        performance_unit=False,
        hidden=True,
        cpu_shares=200 if limited else 0,
        cpu_quota_us=50_000 if limited else 0,
        cpu_period_us=100_000 if limited else 0,
    )
    assert "the machine q35" in driver.features()
    driver.start(replace(spec, request=replace(spec.request, hardware=wanted)))
    driver.resume(spec.id)
    connection = libvirt.open(lab.uri)
    try:
        domain = connection.lookupByUUIDString(spec.id)
        text = domain.XMLDesc(0)
        found = domain.schedulerParameters() if limited else {}
    finally:
        connection.close()
    for part in (
        "-q35-",
        "<watchdog model='i6300esb' action='reset'>",
        "<rng model='virtio'>",
        "<pmu state='off'/>",
        "<hidden state='on'/>",
    ):
        assert part in text
    if limited:
        assert (found["cpu_shares"], found["vcpu_period"], found["vcpu_quota"]) == (200, 100_000, 50_000)

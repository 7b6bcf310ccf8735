"""Guests whose memory is saved to disk and that go on from there: their threads are in their places again, whatever was changed between."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from tests.real.host.bench import DEDICATED, Bench
from tests.real.host.domains import define, virsh

from pinfold.core.errors import Conflict
from pinfold.drivers.port import Boot, GuestState, HostGuest
from pinfold.host.start import restart
from pinfold.host.stop import pause, save, stop
from pinfold.host.verify import verify

SHARE = {**DEDICATED, "hw:emulator_threads_policy": "share"}
AT_ONCE = """<domain type='{kind}'><memory>1</memory><memoryBacking><allocation mode='immediate'/></memoryBacking>
<os><type arch='x86_64' machine='pc'>hvm</type><loader readonly='yes' type='rom'>{rom}</loader></os></domain>"""


def test_a_paused_guest_has_not_drifted(bench: Bench) -> None:
    guest = bench.start(bench.order("paused", SHARE)).guest
    pause(bench.driver, bench.settings, "paused")
    found = bench.guest("paused")
    assert (found.state, found.pid) == (GuestState.PAUSED, guest.pid)
    assert verify(bench.driver, bench.settings, found, online=bench.driver.topology().online).findings == ()


def test_a_guest_goes_on_from_its_saved_memory_in_its_place(bench: Bench) -> None:
    bench.start(bench.order("saved", SHARE))
    save(bench.driver, bench.settings, "saved")
    assert (bench.guest("saved").state, bench.guest("saved").pid) == (GuestState.STOPPED, None)
    restart(bench.driver, bench.settings, "saved")
    assert bench.guest("saved").state is GuestState.RUNNING
    assert verify(bench.driver, bench.settings, bench.guest("saved"), online=bench.driver.topology().online).findings == ()
    stop(bench.driver, bench.settings, "saved", remove=True)
    assert list(bench.lab.folder.path.rglob("*.save")) == []


def test_a_guest_that_allocates_its_memory_at_once_goes_on_too(bench: Bench) -> None:
    template = AT_ONCE.format(kind="kvm" if bench.lab.kvm else "qemu", rom=bench.rom)
    bench.start(replace(bench.order("at-once", SHARE, boot=Boot()), template=template))
    save(bench.driver, bench.settings, "at-once")
    restart(bench.driver, bench.settings, "at-once")
    found = bench.guest("at-once")
    assert found.state is GuestState.RUNNING
    assert verify(bench.driver, bench.settings, found, online=bench.driver.topology().online).findings == ()
    assert list(bench.lab.folder.path.rglob("*.save")) == []


def test_a_guest_may_take_as_long_to_come_back_from_its_saved_memory_as_to_save_it(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.start(bench.order("large", SHARE))
    save(bench.driver, bench.settings, "large")
    monkeypatch.setattr("pinfold.drivers.libvirt.driver._START_SECONDS", 0.0)
    restart(bench.driver, bench.settings, "large")
    assert bench.guest("large").state is GuestState.RUNNING


def test_a_guest_that_comes_back_from_its_saved_memory_holds_up_no_other_start(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.start(bench.order("large", SHARE))
    save(bench.driver, bench.settings, "large")
    driver, began = bench.driver.restart, []

    def slowly(guest: str, *, fresh: bool = False) -> HostGuest:
        began.append(bench.start(bench.order("another")).guest.name)
        return driver(guest, fresh=fresh)

    monkeypatch.setattr(bench.driver, "restart", slowly)
    restart(bench.driver, bench.settings, "large")
    assert began == ["another"]
    assert {guest.state for guest in bench.driver.guests()} == {GuestState.RUNNING}


def test_a_guest_whose_place_is_taken_while_its_memory_is_read_stays_paused_and_the_error_says_what_helps(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.start(bench.order("web", SHARE))
    save(bench.driver, bench.settings, "web")
    restarts = bench.driver.restart

    def contested(guest: str, *, fresh: bool = False) -> HostGuest:
        found = restarts(guest, fresh=fresh)
        define(bench, "stranger", cputune="<vcpupin vcpu='0' cpuset='1'/><emulatorpin cpuset='0'/>")
        return found

    monkeypatch.setattr(bench.driver, "restart", contested)
    for _ in range(2):  # it is paused at the second one
        with pytest.raises(Conflict, match=r"stranger.*; it stays paused with its memory; `pinfold guest restart web` tries again$"):
            restart(bench.driver, bench.settings, "web")
        assert bench.guest("web").state is GuestState.PAUSED
    paused = bench.guest("web")
    virsh(bench, "destroy", "stranger")
    virsh(bench, "undefine", "stranger")
    restart(bench.driver, bench.settings, "web")
    assert (bench.guest("web").state, bench.guest("web").pid) == (GuestState.RUNNING, paused.pid)


def test_a_fresh_start_forgets_the_saved_memory(bench: Bench) -> None:
    bench.start(bench.order("fresh", SHARE))
    save(bench.driver, bench.settings, "fresh")
    assert len(list(bench.lab.folder.path.rglob("*.save"))) == 1
    restart(bench.driver, bench.settings, "fresh", fresh=True)
    assert bench.guest("fresh").state is GuestState.RUNNING
    assert list(bench.lab.folder.path.rglob("*.save")) == []

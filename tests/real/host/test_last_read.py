"""The driver reads a guest again exactly when somebody has changed it: libvirt's files show each change, also without an event."""

from __future__ import annotations

import pytest
from tests.real.host.bench import Bench
from tests.real.host.domains import define, virsh

from pinfold.drivers.libvirt.driver import LibvirtDriver
from pinfold.drivers.libvirt.last_read import LastRead
from pinfold.drivers.port import HostGuest

CHANGES = (
    ("vcpupin", "web", "0", "9", "--live"),
    ("vcpupin", "web", "0", "10", "--config"),
    ("emulatorpin", "web", "2", "--live"),
    ("emulatorpin", "web", "1-2", "--config"),
    ("setvcpus", "web", "2", "--live"),
    ("vcpupin", "web", "1", "11", "--live"),
    ("iothreadadd", "web", "7", "--live"),
    ("iothreadpin", "web", "7", "3", "--live"),
    ("iothreadadd", "web", "8", "--config"),
    ("metadata", "web", "urn:x", "--key", "x", "--set", "<x>1</x>", "--live"),
    ("suspend", "web"),
    ("resume", "web"),
    ("undefine", "web"),
    ("emulatorpin", "web", "3", "--live"),
    ("destroy", "web"),
)


@pytest.fixture
def deaf(monkeypatch: pytest.MonkeyPatch) -> None:
    """libvirt's events say nothing to the drivers."""
    monkeypatch.setattr(LastRead, "hear", lambda *_, **__: None)


def web(driver: LibvirtDriver) -> HostGuest | None:
    return next((guest for guest in driver.guests() if guest.name == "web"), None)


@pytest.mark.usefixtures("deaf")
def test_every_change_of_a_guest_is_seen_by_libvirts_files_alone(synthetic_bench: Bench) -> None:
    define(synthetic_bench, "web", vcpus=2, current=1, cputune="<vcpupin vcpu='0' cpuset='8'/><emulatorpin cpuset='0'/>", iothreads=1)
    define(synthetic_bench, "idle", run=False)
    driver = LibvirtDriver(synthetic_bench.lab.uri)
    try:
        for change in CHANGES:
            before = driver.guests()
            assert [guest for guest, again in zip(before, driver.guests(), strict=True) if again is not guest and guest.persistent] == []
            virsh(synthetic_bench, *change)
            fresh = LibvirtDriver(synthetic_bench.lab.uri)
            try:
                assert web(driver) == web(fresh), change
            finally:
                fresh.close()
        assert web(driver) is None
        virsh(synthetic_bench, "emulatorpin", "idle", "5", "--config")
        (idle,) = driver.guests()
        assert str(idle.pins.emulator) == "5"
    finally:
        driver.close()

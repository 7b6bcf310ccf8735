"""Interfaces of real guests: attached and detached while they run, while they are stopped, and where a crash left half of it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import libvirt
import pytest
from msgspec.structs import replace
from tests.build.hosts import pools
from tests.real.driver.guests import pinned
from tests.real.patience import until

from pinfold.core.errors import InvalidRequest
from pinfold.core.networks import HostNetwork, NetworkKind
from pinfold.core.overhead import masks
from pinfold.core.settings import HostSettings
from pinfold.drivers.kvm import thread_moves
from pinfold.drivers.libvirt import interfaces
from pinfold.drivers.libvirt.driver import LibvirtDriver
from pinfold.drivers.port import GuestSpec, GuestState, Interface
from pinfold.host import interfaces as use
from pinfold.host.survey import pick

OUT = Interface(network=HostNetwork(name="out", kind=NetworkKind.USER), mac="02:00:00:00:00:01", port="p1")
GONE = Interface(network=HostNetwork(name="gone", kind=NetworkKind.BRIDGE, source="br-none"), mac="02:00:00:00:00:02", port="p2")


@pytest.fixture(scope="module")
def ejecting_rom(tmp_path_factory: pytest.TempPathFactory, lab_possible: None) -> Path:
    """A ROM whose guest lets go of what it is asked to."""
    path = tmp_path_factory.mktemp("rom") / "eject.rom"
    path.parent.chmod(0o755)
    source, built = Path(__file__).with_name("eject.S"), path.with_suffix(".o")
    subprocess.run(["gcc", "-c", str(source), "-o", str(built)], check=True)
    subprocess.run(["objcopy", "-O", "binary", "-j", ".text", str(built), str(path)], check=True)
    path.chmod(0o644)
    return path


@pytest.fixture
def settings(driver: LibvirtDriver, tmp_path: Path) -> HostSettings:
    return HostSettings(uri=driver.uri, state_dir=str(tmp_path / "state"), pools=pools(shared="0", dedicated="1"))


def running(driver: LibvirtDriver, rom: Path) -> GuestSpec:
    spec = pinned(rom, emulator="0")
    driver.start(spec)
    driver.resume(spec.id)
    return spec


def macs(driver: LibvirtDriver) -> tuple[tuple[str, ...], tuple[str, ...] | None]:
    """The interfaces of the only guest: in the definition that it has now, and in the kept one of a guest that runs."""
    (guest,) = driver.guests()
    return guest.macs, guest.kept_macs


def test_an_interface_comes_and_goes_while_its_guest_runs_and_no_thread_leaves_its_place(driver: LibvirtDriver, ejecting_rom: Path) -> None:
    spec = running(driver, ejecting_rom)
    for _ in range(2):  # again: it is there already, and gone already
        driver.attach(spec.id, OUT)
        assert macs(driver) == ((OUT.mac,), (OUT.mac,))
    guest = pick(driver.guests(), spec.id)
    assert thread_moves.misplaced(driver.observe(guest), masks(spec.record.fit)) == ()
    assert (guest.state, guest.nics) == (GuestState.RUNNING, OUT.queues)
    for _ in range(2):
        driver.detach(spec.id, OUT.mac, seconds=60)
        assert macs(driver) == ((), ())


def test_a_guest_that_does_not_let_go_keeps_its_interface_until_it_is_stopped(driver: LibvirtDriver, idle_rom: Path) -> None:
    spec = running(driver, idle_rom)
    driver.attach(spec.id, OUT)
    with pytest.raises(InvalidRequest, match=r"has not let go of the interface 02:00:00:00:00:01 within 1 seconds, so it stays"):
        driver.detach(spec.id, OUT.mac, seconds=1)
    assert macs(driver) == ((OUT.mac,), (OUT.mac,))
    driver.stop(spec.id, remove=False)
    driver.detach(spec.id, OUT.mac, seconds=1)
    assert macs(driver) == ((), None)
    driver.attach(spec.id, OUT)
    assert macs(driver) == ((OUT.mac,), None)
    driver.restart(spec.id)
    assert macs(driver) == ((OUT.mac,), (OUT.mac,))


@pytest.mark.parametrize("flag", [libvirt.VIR_DOMAIN_AFFECT_LIVE, libvirt.VIR_DOMAIN_AFFECT_CONFIG])
def test_what_a_crash_left_half_done_is_completed_or_removed(driver: LibvirtDriver, ejecting_rom: Path, flag: int) -> None:
    spec = running(driver, ejecting_rom)
    text = interfaces.text(OUT)

    def half() -> None:
        connection = libvirt.open(driver.uri)
        connection.lookupByUUIDString(spec.id).attachDeviceFlags(text, flag)
        connection.close()

    half()
    until(lambda: pick(driver.guests(), spec.id).macs_anywhere, "it is seen")
    assert not pick(driver.guests(), spec.id).macs_everywhere
    driver.attach(spec.id, OUT)
    assert macs(driver) == ((OUT.mac,), (OUT.mac,))
    driver.detach(spec.id, OUT.mac, seconds=60)
    half()
    driver.detach(spec.id, OUT.mac, seconds=60)
    assert macs(driver) == ((), ())


def test_an_attachment_that_fails_leaves_nothing(driver: LibvirtDriver, idle_rom: Path, settings: HostSettings) -> None:
    spec = running(driver, idle_rom)
    with pytest.raises(InvalidRequest, match=r"an interface on network gone cannot be attached to guest .*br-none"):
        use.attach(driver, settings, spec.id, GONE)
    assert macs(driver) == ((), ())
    use.attach(driver, settings, spec.id, replace(OUT, mac="02:00:00:00:00:03"))
    assert macs(driver) == (("02:00:00:00:00:03",), ("02:00:00:00:00:03",))
    use.detach(driver, settings, spec.id, GONE.mac)

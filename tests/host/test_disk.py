"""The overlays of a host's guests, as files."""

from pathlib import Path

import pytest

from pinfold.core.settings import HostSettings
from pinfold.drivers.port import Boot
from pinfold.host import disk


@pytest.fixture
def image(tmp_path: Path) -> Boot:
    path = tmp_path / "image.raw"
    path.write_bytes(bytes(1 << 20))
    return Boot(disk=str(path))


@pytest.fixture
def settings(tmp_path: Path) -> HostSettings:
    return HostSettings(state_dir=str(tmp_path / "state"), uri="qemu:///system")


def test_the_overlay_of_a_start_that_was_killed_is_swept(settings: HostSettings, image: Boot) -> None:
    overlay = Path(disk.prepare(settings, "a", image, 0).disk)
    assert overlay.exists()
    disk.sweep(settings, ["b"])
    assert list(overlay.parent.iterdir()) == []


def test_the_overlay_of_a_guest_that_libvirt_knows_is_kept(settings: HostSettings, image: Boot) -> None:
    overlay = Path(disk.prepare(settings, "a", image, 0).disk)
    disk.sweep(settings, ["a"])
    disk.sweep(settings, [])
    assert list(overlay.parent.iterdir()) == [overlay]


def test_a_disk_outlives_the_definition_of_its_guest_and_is_used_again(settings: HostSettings, image: Boot) -> None:
    first = disk.prepare(settings, "a", image, 0)
    disk.settled(settings, "a")
    Path(first.disk).write_bytes(b"what the guest wrote")
    disk.sweep(settings, [])
    assert disk.prepare(settings, "a", image, 0) == first
    assert Path(first.disk).read_bytes() == b"what the guest wrote"


def test_hosts_that_share_a_state_directory_do_not_sweep_each_others(settings: HostSettings, image: Boot, tmp_path: Path) -> None:
    other = HostSettings(state_dir=settings.state_dir, uri="qemu+unix:///system?socket=/other")
    overlay = Path(disk.prepare(other, "c", image, 0).disk)
    disk.sweep(settings, [])
    assert overlay.exists()


def test_a_host_without_overlays_has_nothing_to_sweep(settings: HostSettings) -> None:
    disk.sweep(settings, [])

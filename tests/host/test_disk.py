"""The overlays of a host's guests, as files."""

from pathlib import Path

import pytest

from pinfold.core.errors import InvalidRequest
from pinfold.core.settings import HostSettings
from pinfold.drivers.port import Boot, GuestState, HostGuest
from pinfold.host import disk


@pytest.fixture
def image(tmp_path: Path) -> Boot:
    path = tmp_path / "image.raw"
    path.write_bytes(bytes(1 << 20))
    return Boot(disk=str(path))


@pytest.fixture
def settings(tmp_path: Path) -> HostSettings:
    return HostSettings(state_dir=str(tmp_path / "state"), uri="qemu:///system")


def known(guest: str, state: GuestState) -> HostGuest:
    return HostGuest(id=guest, name=guest, state=state, vcpus=1, memory_mib=64)


def test_the_overlay_of_a_start_that_was_killed_is_swept(settings: HostSettings, image: Boot) -> None:
    overlay = Path(disk.prepare(settings, "a", image, 0).disk)
    assert overlay.exists() and not disk.has_run(settings, "a")
    disk.sweep(settings, [known("b", GuestState.RUNNING)])
    assert list(overlay.parent.iterdir()) == []


def test_the_overlay_of_a_guest_that_is_about_to_run_is_kept_and_still_not_believed_to_have_run(
    settings: HostSettings, image: Boot
) -> None:
    overlay = Path(disk.prepare(settings, "a", image, 0).disk)
    disk.sweep(settings, [known("a", GuestState.PAUSED)])
    assert overlay.exists() and not disk.has_run(settings, "a")
    disk.sweep(settings, [])
    assert not overlay.exists()


@pytest.mark.parametrize("state", [GuestState.RUNNING, GuestState.STOPPED, GuestState.CRASHED])
def test_the_overlay_of_a_guest_that_may_have_run_is_kept_for_good(settings: HostSettings, image: Boot, state: GuestState) -> None:
    overlay = Path(disk.prepare(settings, "a", image, 0).disk)
    disk.sweep(settings, [known("a", state)])
    disk.sweep(settings, [])
    assert list(overlay.parent.iterdir()) == [overlay]
    assert disk.has_run(settings, "a")


def test_a_disk_that_should_be_there_is_not_made_anew(settings: HostSettings, image: Boot) -> None:
    with pytest.raises(InvalidRequest, match="which ran before, is not at"):
        disk.prepare(settings, "a", image, 0, again=True)
    assert not disk.overlay_path(settings, "a").exists()
    assert disk.prepare(settings, "a", Boot(rom=image.disk), 0, again=True) == Boot(rom=image.disk)


def test_a_disk_outlives_the_definition_of_its_guest_and_is_used_again(settings: HostSettings, image: Boot) -> None:
    first = disk.prepare(settings, "a", image, 0)
    disk.settled(settings, "a")
    Path(first.disk).write_bytes(b"what the guest wrote")
    disk.sweep(settings, [])
    assert disk.prepare(settings, "a", image, 0, again=True) == first
    assert Path(first.disk).read_bytes() == b"what the guest wrote"


def test_hosts_that_share_a_state_directory_do_not_sweep_each_others(settings: HostSettings, image: Boot, tmp_path: Path) -> None:
    other = HostSettings(state_dir=settings.state_dir, uri="qemu+unix:///system?socket=/other")
    overlay = Path(disk.prepare(other, "c", image, 0).disk)
    disk.sweep(settings, [])
    assert overlay.exists()


def test_a_host_without_overlays_has_nothing_to_sweep(settings: HostSettings) -> None:
    disk.sweep(settings, [])

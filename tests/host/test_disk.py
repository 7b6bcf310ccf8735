"""The overlays of a host's guests, as files."""

import stat
import subprocess
from pathlib import Path

import pytest

from pinfold.core.errors import InvalidRequest
from pinfold.core.settings import HostSettings
from pinfold.drivers.port import Boot, GuestState, HostGuest
from pinfold.host import disk

A, B = "11111111-2222-4333-8444-555555555555", "66666666-7777-4888-9999-aaaaaaaaaaaa"


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
    overlay = Path(disk.prepare(settings, A, image, 0).disk)
    assert overlay.exists() and not disk.has_run(settings, A)
    disk.sweep(settings, [known(B, GuestState.RUNNING)])
    assert list(overlay.parent.iterdir()) == []


def test_the_overlay_of_a_guest_that_is_about_to_run_is_kept_and_still_not_believed_to_have_run(
    settings: HostSettings, image: Boot
) -> None:
    overlay = Path(disk.prepare(settings, A, image, 0).disk)
    disk.sweep(settings, [known(A, GuestState.PAUSED)])
    assert overlay.exists() and not disk.has_run(settings, A)
    disk.sweep(settings, [])
    assert not overlay.exists()


@pytest.mark.parametrize("state", [GuestState.RUNNING, GuestState.STOPPED, GuestState.CRASHED])
def test_the_overlay_of_a_guest_that_may_have_run_is_kept_for_good(settings: HostSettings, image: Boot, state: GuestState) -> None:
    overlay = Path(disk.prepare(settings, A, image, 0).disk)
    disk.sweep(settings, [known(A, state)])
    disk.sweep(settings, [])
    assert list(overlay.parent.iterdir()) == [overlay]
    assert disk.has_run(settings, A)


def test_a_disk_that_should_be_there_is_not_made_anew(settings: HostSettings, image: Boot) -> None:
    with pytest.raises(InvalidRequest, match="which ran before, is not at"):
        disk.prepare(settings, A, image, 0, again=True)
    assert not disk.overlay_path(settings, A).exists()
    assert disk.prepare(settings, A, Boot(rom=image.disk), 0, again=True) == Boot(rom=image.disk)


def test_a_disk_outlives_the_definition_of_its_guest_and_is_used_again(settings: HostSettings, image: Boot) -> None:
    first = disk.prepare(settings, A, image, 0)
    disk.settled(settings, A)
    Path(first.disk).write_bytes(b"what the guest wrote")
    disk.sweep(settings, [])
    assert disk.prepare(settings, A, image, 0, again=True) == first
    assert Path(first.disk).read_bytes() == b"what the guest wrote"


def test_hosts_that_share_a_state_directory_do_not_sweep_each_others(settings: HostSettings, image: Boot, tmp_path: Path) -> None:
    other = HostSettings(state_dir=settings.state_dir, uri="qemu+unix:///system?socket=/other")
    overlay = Path(disk.prepare(other, A, image, 0).disk)
    disk.sweep(settings, [])
    assert overlay.exists()


def test_a_host_without_overlays_has_nothing_to_sweep(settings: HostSettings) -> None:
    disk.sweep(settings, [])


@pytest.mark.parametrize("guest", ["../../other", "/srv/other", "..", "", "a", A.replace("1", "A"), f"{A}/../x", f"{A}\n"])
def test_an_id_that_is_a_path_reaches_no_file(settings: HostSettings, image: Boot, tmp_path: Path, guest: str) -> None:
    Path(disk.prepare(settings, A, image, 0).disk)
    other = tmp_path / "state/other.qcow2"
    other.touch()
    for act in (disk.overlay_path, disk.remove, disk.settled, disk.has_run):
        with pytest.raises(InvalidRequest, match="UUID"):
            act(settings, guest)
    with pytest.raises(InvalidRequest, match="UUID"):
        disk.prepare(settings, guest, image, 0)
    assert other.exists()


def test_a_linked_overlay_is_not_used_and_its_target_survives_the_removal(settings: HostSettings, image: Boot, tmp_path: Path) -> None:
    target = tmp_path / "precious.qcow2"
    target.write_bytes(b"precious")
    overlay = disk.overlay_path(settings, A)
    overlay.parent.mkdir(parents=True)
    overlay.symlink_to(target)
    with pytest.raises(InvalidRequest, match="is a link"):
        disk.prepare(settings, A, image, 0)
    disk.remove(settings, A)
    assert target.read_bytes() == b"precious" and not overlay.is_symlink()


def test_a_config_drive_is_only_for_its_owner_stays_for_a_restart_and_goes_with_the_disk(settings: HostSettings) -> None:
    path = disk.drive_path(settings, A)
    boot = Boot(config_drive=str(path))
    assert disk.prepare(settings, A, boot, 0, drive=b"secret") == boot
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"secret", 0o600)
    assert disk.prepare(settings, A, boot, 0, again=True) == boot
    disk.remove(settings, A)
    assert not path.exists()
    with pytest.raises(InvalidRequest, match=r"the config drive of guest .*, which ran before, is not at"):
        disk.prepare(settings, A, boot, 0, again=True)


def test_what_a_failed_start_made_goes_and_what_was_there_before_stays(settings: HostSettings, image: Boot) -> None:
    drive, overlay = disk.drive_path(settings, A), disk.overlay_path(settings, A)
    assert disk.lacking(settings, A) == (overlay, drive)
    drive.parent.mkdir(parents=True)
    drive.write_bytes(b"the only copy")
    made = disk.lacking(settings, A)
    assert made == (overlay,)
    disk.prepare(settings, A, image, 0)
    disk.discard(settings, A, made)
    assert list(drive.parent.iterdir()) == [drive]
    disk.discard(settings, A, (overlay, drive))
    assert list(drive.parent.iterdir()) == []


def test_an_image_that_cannot_be_used_takes_no_config_drive_with_it(settings: HostSettings, image: Boot) -> None:
    drive = disk.drive_path(settings, A)
    drive.parent.mkdir(parents=True)
    drive.write_bytes(b"the only copy")
    with pytest.raises(InvalidRequest, match="cannot be made"):
        disk.prepare(settings, A, Boot(disk=image.disk, disk_format="qcow2"), 0)
    assert list(drive.parent.iterdir()) == [drive]


def test_a_marker_with_a_strange_name_is_not_swept(settings: HostSettings, image: Boot) -> None:
    folder = Path(disk.prepare(settings, A, image, 0).disk).parent
    (folder / "x y.starting").touch()
    disk.sweep(settings, [])
    assert [path.name for path in folder.iterdir()] == ["x y.starting"]


@pytest.mark.parametrize(
    ("options", "allowed"),
    [
        (("image.qcow2", "1M"), True),
        (("-b", "secret.raw", "-F", "raw", "image.qcow2"), False),
        (("-o", "data_file=secret.raw", "image.qcow2", "1M"), False),
        (("-o", "compat=0.10", "image.qcow2", "1M"), True),
    ],
    ids=["whole", "backing file", "data file", "old format"],
)
def test_an_image_that_names_another_file_is_refused(tmp_path: Path, options: tuple[str, ...], allowed: bool) -> None:
    (tmp_path / "secret.raw").write_bytes(bytes(1 << 20))
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *options], cwd=tmp_path, check=True)
    if allowed:
        disk.refuse_references(tmp_path / "image.qcow2")
    else:
        with pytest.raises(InvalidRequest, match="names another file"):
            disk.refuse_references(tmp_path / "image.qcow2")


def test_an_image_that_is_not_what_its_suffix_says_is_refused(image: Boot) -> None:
    with pytest.raises(InvalidRequest, match="not qcow2"):
        disk.refuse_references(Path(image.disk))

"""A guest's new disk, made beside the old one and then put in its place: files, and qemu-img itself."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest
from tests.host.test_disk import A

from pinfold.core.errors import InvalidRequest
from pinfold.core.settings import HostSettings
from pinfold.drivers.port import Boot
from pinfold.host import disk, new_disk


@pytest.fixture
def settings(tmp_path: Path) -> HostSettings:
    """A host on which the guest A has a disk and a drive that it wrote to."""
    made = HostSettings(state_dir=str(tmp_path / "state"), uri="qemu:///system")
    disk.prepare(made, A, image(tmp_path, "old"), 0, drive=b"old drive")
    disk.settled(made, A)
    return made


def image(folder: Path, name: str) -> Boot:
    path = folder / f"{name}.raw"
    path.write_bytes(bytes(1 << 20))
    return Boot(disk=str(path))


def files(settings: HostSettings) -> dict[str, bytes]:
    """What lies in the folder of overlays, by the suffix."""
    folder = disk.overlay_path(settings, A).parent
    return {path.name.removeprefix(A): path.read_bytes() for path in folder.iterdir()}


def test_the_old_disk_is_whole_until_the_new_one_takes_its_place(settings: HostSettings, tmp_path: Path) -> None:
    before = files(settings)
    new_disk.make(settings, A, image(tmp_path, "new"), 1, b"new drive")
    assert {name: content for name, content in files(settings).items() if ".new" not in name} == before
    assert new_disk.boot_of(settings, A) == 0
    new_disk.take(settings, A, 7)
    after = files(settings)
    assert (sorted(after), after[".iso"], new_disk.boot_of(settings, A)) == ([".iso", ".qcow2", ".rebuilt"], b"new drive", 7)
    assert b"new.raw" in after[".qcow2"] and b"old.raw" not in after[".qcow2"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in disk.overlay_path(settings, A).parent.iterdir()} == {0o600}
    assert disk.has_run(settings, A)
    disk.remove(settings, A)
    assert files(settings) == {}


def test_what_is_not_made_is_gone_afterwards(settings: HostSettings, tmp_path: Path) -> None:
    (tmp_path / "a.rom").write_bytes(bytes(64))
    new_disk.make(settings, A, Boot(rom=str(tmp_path / "a.rom")), 0, None)
    new_disk.take(settings, A, 2)
    assert sorted(files(settings)) == [".rebuilt"]


@pytest.mark.parametrize("spoil", ["missing", "format", "large"])
def test_an_image_that_cannot_be_used_leaves_everything_as_it_was(settings: HostSettings, tmp_path: Path, spoil: str) -> None:
    before, boot, size = files(settings), image(tmp_path, "new"), 0
    match spoil:
        case "missing":
            Path(boot.disk).unlink()
        case "format":
            boot = Boot(disk=boot.disk, disk_format="qcow2")
        case _:
            with Path(boot.disk).open("r+b") as stream:
                stream.truncate(2 << 30)
            size = 1
    with pytest.raises(InvalidRequest, match=r"new\.raw"):
        new_disk.make(settings, A, boot, size, b"new drive")
    assert files(settings) == before


def test_a_rebuild_that_was_killed_is_made_anew_over_what_it_left(settings: HostSettings, tmp_path: Path) -> None:
    for name in ("first", "second"):
        new_disk.make(settings, A, image(tmp_path, name), 0, name.encode())
    new_disk.take(settings, A, 2)
    assert b"second.raw" in files(settings)[".qcow2"] and files(settings)[".iso"] == b"second"


def test_a_take_that_a_full_disk_ends_half_way_is_not_noted_and_begins_anew(
    settings: HostSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_disk.make(settings, A, image(tmp_path, "first"), 0, b"first")
    with monkeypatch.context() as full:
        full.setattr("pinfold.host.boot_marks.files.written", no_space)
        with pytest.raises(OSError, match="No space left on device"):
            new_disk.take(settings, A, 2)
    assert (new_disk.boot_of(settings, A), b"first.raw" in files(settings)[".qcow2"]) == (0, True)
    new_disk.make(settings, A, image(tmp_path, "second"), 0, b"second")
    new_disk.take(settings, A, 2)
    assert (new_disk.boot_of(settings, A), files(settings)[".iso"]) == (2, b"second")


def no_space(*arguments: object, **more: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_damaged_note_is_named(settings: HostSettings) -> None:
    disk.overlay_path(settings, A).with_suffix(".rebuilt").write_text("7 or 8")
    with pytest.raises(InvalidRequest, match=r"\.rebuilt holds no number of a boot: b'7 or 8'"):
        new_disk.boot_of(settings, A)

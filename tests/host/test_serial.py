"""Console logs in the state directory: their end, their bound, and that all of them go with the guest."""

from __future__ import annotations

import logging
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pinfold.core.errors import InvalidRequest
from pinfold.core.identity import GuestId
from pinfold.core.settings import HostSettings
from pinfold.host import serial

GUEST = GuestId("65b7a311-9ff5-4dc7-9bd5-a5a2a8a5f6e2")


@pytest.fixture
def settings(tmp_path: Path) -> HostSettings:
    return HostSettings(state_dir=str(tmp_path))


def test_the_rotated_serial_logs_of_a_guest_go_with_it(settings: HostSettings, tmp_path: Path) -> None:
    folder = tmp_path / "serial"
    folder.mkdir()
    others = {f"{GUEST}.log.old", f"{GUEST}.logs", "00000000-9ff5-4dc7-9bd5-a5a2a8a5f6e2.log", "00000000-9ff5-4dc7-9bd5-a5a2a8a5f6e2.log.0"}
    for name in (f"{GUEST}.log", f"{GUEST}.log.0", f"{GUEST}.log.12", *others):
        (folder / name).touch()
    serial.forget(settings, GUEST)
    assert {path.name for path in folder.iterdir()} == others
    serial.forget(HostSettings(state_dir=str(tmp_path / "none")), GUEST)


def test_the_end_of_a_log_is_its_last_lines_and_at_most_so_many_bytes(settings: HostSettings) -> None:
    serial.log_of(settings, GUEST).write_bytes(b"one\r\ntwo\r\n\xff\x00three")
    assert serial.tail(settings, GUEST, most_bytes=100) == b"one\r\ntwo\r\n\xff\x00three"
    assert serial.tail(settings, GUEST, most_bytes=100, lines=2) == b"two\r\n\xff\x00three"
    assert serial.tail(settings, GUEST, most_bytes=100, lines=9) == b"one\r\ntwo\r\n\xff\x00three"
    assert serial.tail(settings, GUEST, most_bytes=4) == b"hree"


def test_the_end_of_a_log_that_was_rotated_just_now_goes_on_in_the_rotated_one(settings: HostSettings) -> None:
    path = serial.log_of(settings, GUEST)
    path.write_bytes(b"three\n")
    Path(f"{path}.0").write_bytes(b"one\ntwo\n")
    assert serial.tail(settings, GUEST, most_bytes=100) == b"one\ntwo\nthree\n"
    assert serial.tail(settings, GUEST, most_bytes=100, lines=2) == b"two\nthree\n"
    assert serial.tail(settings, GUEST, most_bytes=10) == b"two\nthree\n"


def test_a_guest_without_a_log_and_a_log_that_is_no_file_are_named(settings: HostSettings, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=f"guest {GUEST} has no console log in {tmp_path}/serial"):
        serial.tail(settings, GUEST, most_bytes=100)
    path = serial.log_of(settings, GUEST)
    path.symlink_to("/etc/passwd")
    with pytest.raises(InvalidRequest, match="cannot be opened"):
        serial.tail(settings, GUEST, most_bytes=100)
    path.unlink()
    path.mkdir()
    with pytest.raises(InvalidRequest, match="no regular file"):
        serial.tail(settings, GUEST, most_bytes=100)


def test_a_writer_that_appends_goes_on_behind_a_rotation_and_the_log_stays_bounded(settings: HostSettings) -> None:
    path = serial.log_of(settings, GUEST)
    with path.open("ab") as stream:
        writer = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=stream)
    assert writer.stdin is not None
    for turn in range(4):
        before = path.stat().st_size
        writer.stdin.write(b"%d" % turn * 3000)
        writer.stdin.flush()
        while path.stat().st_size < before + 3000:
            assert writer.poll() is None
        serial.trim(settings, most_bytes=5000)
        assert path.stat().st_size <= 5000
    writer.stdin.close()
    assert writer.wait() == 0
    assert {one.name: one.stat().st_size for one in path.parent.iterdir()} == {f"{GUEST}.log": 0, f"{GUEST}.log.0": 6000}
    assert (Path(f"{path}.0").stat().st_mode & 0o777) == 0o600
    assert serial.tail(settings, GUEST, most_bytes=4000) == b"2" * 1000 + b"3" * 3000


def test_shorter_logs_and_other_files_are_left_alone(settings: HostSettings) -> None:
    path = serial.log_of(settings, GUEST)
    path.write_bytes(b"x" * 10)
    (path.parent / "link.log").symlink_to("/etc/passwd")
    serial.trim(settings, most_bytes=10)
    assert path.read_bytes() == b"x" * 10


@pytest.fixture
def small(tmp_path: Path) -> Iterator[HostSettings]:
    """A host whose state directory is on a disk of 256 KiB."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small disk")
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k,mode=711", "tmpfs", str(folder)], check=True)
    try:
        yield HostSettings(state_dir=str(folder))
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def fill(settings: HostSettings) -> None:
    """Leave no room on the disk of the state directory."""
    free = os.statvfs(settings.state_dir).f_bavail * os.statvfs(settings.state_dir).f_frsize
    Path(settings.state_dir, "other").write_bytes(b"x" * free)


def test_a_log_on_a_full_disk_is_cut_without_a_copy(small: HostSettings, caplog: pytest.LogCaptureFixture) -> None:
    path = serial.log_of(small, GUEST)
    path.write_bytes(b"new" * 30_000)
    Path(f"{path}.0").write_bytes(b"old")
    fill(small)
    serial.trim(small, most_bytes=5000)
    assert {one.name: one.stat().st_size for one in path.parent.iterdir()} == {path.name: 0}
    (said,) = caplog.messages
    assert f"{path} was cut without a copy of its end: the disk is full" in said
    serial.trim(small, most_bytes=5000)
    assert len(caplog.messages) == 1, "there is nothing more to cut"


def test_on_a_full_disk_the_older_copy_makes_room_for_the_newer_one(small: HostSettings, caplog: pytest.LogCaptureFixture) -> None:
    path = serial.log_of(small, GUEST)
    path.write_bytes(b"new" * 10_000)
    Path(f"{path}.0").write_bytes(b"old" * 20_000)
    fill(small)
    serial.trim(small, most_bytes=5000)
    assert path.read_bytes() == b""
    assert Path(f"{path}.0").read_bytes() == b"new" * 10_000
    assert caplog.messages == []


def test_a_log_that_cannot_be_trimmed_is_named_and_others_are_trimmed(settings: HostSettings, caplog: pytest.LogCaptureFixture) -> None:
    path = serial.log_of(settings, GUEST)
    path.write_bytes(b"x" * 6000)
    hidden = path.parent / ".hidden.log"
    hidden.write_bytes(b"x" * 6000)
    blocked = serial.log_of(settings, GuestId("00000000-9ff5-4dc7-9bd5-a5a2a8a5f6e2"))
    blocked.write_bytes(b"x" * 6000)
    Path(f"{blocked}.0").mkdir()
    with caplog.at_level(logging.WARNING):
        serial.trim(settings, most_bytes=5000)
    assert path.read_bytes() == b""
    assert (hidden.stat().st_size, blocked.stat().st_size) == (6000, 6000)
    assert [message.partition(":")[0] for message in caplog.messages] == [f"{one} cannot be trimmed" for one in (hidden, blocked)]


def test_a_folder_of_logs_that_cannot_be_read_is_logged(settings: HostSettings, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "serial").write_text("no folder")
    serial.trim(settings)
    (said,) = caplog.messages
    assert f"the console logs in {tmp_path}/serial cannot be trimmed" in said

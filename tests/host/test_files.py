"""Files in one of our folders, under names that somebody else chose."""

import os
import stat
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from pinfold.core.errors import InvalidRequest
from pinfold.host import files

HOSTILE = ["", ".", "..", "../x", "/etc/passwd", "a/b", ".hidden", "a\0b", "a\n", "x" * 201, "-rf", "é"]


@pytest.mark.parametrize("name", HOSTILE, ids=repr)
def test_a_name_that_could_leave_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidRequest, match="is not allowed as a file's name"):
        files.remove(tmp_path, name)
    with pytest.raises(InvalidRequest), files.written(tmp_path, name):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_link_is_removed_and_its_target_stays(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("precious")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/link").symlink_to(target)
    files.remove(tmp_path / "folder", "link")
    files.remove(tmp_path / "folder", "link")
    files.remove(tmp_path / "none", "link")
    assert files.names(tmp_path / "folder") == files.names(tmp_path / "none") == ()
    assert target.read_text() == "precious"


def test_a_file_is_there_whole_or_not_at_all_and_no_link_is_followed(tmp_path: Path) -> None:
    folder, target = tmp_path / "folder", tmp_path / "target"
    folder.mkdir()
    target.write_text("precious")
    for planted in (".image.part", "image"):
        (folder / planted).symlink_to(target)
    with pytest.raises(OSError, match="short"), files.written(folder, "image") as stream:
        _write_half(stream)
    with pytest.raises(InvalidRequest, match="bad"), files.written(folder, "image", check=_refuse) as stream:
        stream.write(b"bad")
    assert (folder / "image").is_symlink()
    with files.written(folder, "image") as stream:
        stream.write(b"whole")
    assert files.names(folder) == ("image",)
    assert not (folder / "image").is_symlink() and (folder / "image").read_bytes() == b"whole"
    assert target.read_text() == "precious"


def test_a_file_is_on_the_disk_before_it_has_its_name_and_its_name_afterwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    fsync, replace = os.fsync, os.replace

    def flushed(handle: int) -> None:
        found = os.fstat(handle)
        done.append("folder" if stat.S_ISDIR(found.st_mode) else f"file of {found.st_size} bytes")
        fsync(handle)

    def renamed(*arguments: Any, **options: Any) -> None:
        done.append("name")
        replace(*arguments, **options)

    monkeypatch.setattr(os, "fsync", flushed)
    monkeypatch.setattr(os, "replace", renamed)
    with files.written(tmp_path, "image") as stream:
        stream.write(b"whole")
    assert done == ["file of 5 bytes", "name", "folder"]


def _write_half(stream: BinaryIO) -> None:
    stream.write(b"half")
    raise OSError("short")


def _refuse(path: Path) -> None:
    raise InvalidRequest(f"{path.read_text()}")

"""What stands beside labs and is none of them: foreign folders, links, mount points and damaged records are never touched."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pinfold.core.errors import Conflict, InvalidRequest, Unavailable
from pinfold.lab.daemon import end
from pinfold.lab.folder import LabFolder, guarded, labs, reap
from pinfold.lab.record import LabSpec

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The root of the labs, empty."""
    found = tmp_path / "labs"
    found.mkdir()
    monkeypatch.setenv("PINFOLD_LAB_ROOT", str(found))
    return found


def dead_lab(name: str) -> LabFolder:
    """A lab as a killed keeper leaves it: marked, and held by nobody."""
    folder = LabFolder.named(name)
    os.close(folder.begin(LabSpec(name=name, synthetic=True)))
    folder.run.mkdir()
    (folder.path / "log").mkdir()
    (folder.path / "log/libvirtd.log").write_text("it ended\n")
    return folder


def precious(path: Path) -> Path:
    """A folder of somebody else's, with a file in it."""
    path.mkdir()
    (path / "letter").write_text("dear")
    return path


def untouched(path: Path) -> bool:
    return os.listdir(path) == ["letter"] and (path / "letter").read_text() == "dear"


def pinfold(*words: str, root: Path) -> subprocess.CompletedProcess[str]:
    """One command line as a process, with labs in that folder."""
    command = [sys.executable, "-m", "pinfold.wiring.command", *words]
    return subprocess.run(command, env=os.environ | {"PINFOLD_LAB_ROOT": str(root)}, capture_output=True, text=True, check=False)


def test_lab_status_leaves_a_foreign_folder_as_it_is(place: Path) -> None:
    mine = precious(place / "precious")
    done = pinfold("lab", "status", root=place)
    assert (done.returncode, done.stdout) == (0, "no lab is up\n")
    assert untouched(mine) and os.listdir(place) == ["precious"]


def test_a_dead_lab_is_removed_and_named(place: Path) -> None:
    dead_lab("gone")
    mine = precious(place / "precious")
    assert reap().removed == ("gone",)
    assert untouched(mine) and not (place / "gone").exists()


def test_the_end_of_one_lab_leaves_foreign_folders(place: Path) -> None:
    mine = precious(place / "precious")
    folder = dead_lab("gone")
    end(folder)
    assert untouched(mine) and not folder.path.exists()


def test_a_new_lab_does_not_take_a_foreign_folder(place: Path) -> None:
    mine = precious(place / "mine")
    with pytest.raises(Conflict, match="is there already, and no lab made it"):
        LabFolder.named("mine").begin(LabSpec(name="mine", synthetic=True))
    assert untouched(mine)


def test_links_are_neither_followed_nor_removed(place: Path, tmp_path: Path) -> None:
    mine = precious(tmp_path / "elsewhere")
    (place / "link").symlink_to(mine)
    (place / "dangling").symlink_to(tmp_path / "nowhere")
    (place / "file").write_text("a file")
    assert reap().removed == () and labs() == ()
    assert untouched(mine) and sorted(os.listdir(place)) == ["dangling", "file", "link"]


def test_a_link_to_a_dead_lab_leaves_the_lab_where_it_is(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = dead_lab("gone")
    other = tmp_path / "others"
    other.mkdir()
    (other / "gone").symlink_to(folder.path)
    monkeypatch.setenv("PINFOLD_LAB_ROOT", str(other))
    assert reap().removed == ()
    assert (folder.path / "lab.json").exists() and (other / "gone").is_symlink()


def test_a_root_that_is_a_link_is_refused(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dead_lab("gone")
    link = tmp_path / "link"
    link.symlink_to(place)
    monkeypatch.setenv("PINFOLD_LAB_ROOT", str(link))
    for call in (reap, labs, guarded().__enter__):
        with pytest.raises(InvalidRequest, match=f"{link} is a link; name the folder that it points to"):
            call()
    assert (place / "gone/lab.json").exists()


def test_a_root_that_is_a_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PINFOLD_LAB_ROOT", str(tmp_path / "file"))
    with pytest.raises(InvalidRequest, match="is no folder"):
        reap()


def test_a_link_inside_a_lab_is_removed_and_its_target_stays(place: Path, tmp_path: Path) -> None:
    mine = precious(tmp_path / "elsewhere")
    folder = dead_lab("gone")
    (folder.path / "images").symlink_to(mine)
    (folder.path / "letter").symlink_to(mine / "letter")
    assert reap().removed == ("gone",)
    assert untouched(mine) and not folder.path.exists()


def test_a_run_folder_that_became_a_link_tells_of_no_process(place: Path, tmp_path: Path) -> None:
    folder = dead_lab("gone")
    folder.run.rmdir()
    folder.run.symlink_to("/run")
    assert folder.processes(folder.spec()) == ()


def mounted(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)


@pytest.fixture
def unmounted() -> Iterator[list[Path]]:
    """Mount points that the test made, taken away at its end."""
    points: list[Path] = []
    yield points
    for point in reversed(points):
        subprocess.run(["umount", str(point)], check=True)


@needs_root
@pytest.mark.parametrize("kind", ["bind", "tmpfs", "a file"])
def test_a_lab_with_a_mount_inside_is_named_and_not_emptied(place: Path, tmp_path: Path, unmounted: list[Path], kind: str) -> None:
    mine = precious(tmp_path / "elsewhere")
    folder = dead_lab("gone")
    point = folder.path / "log/inner point"
    if kind == "a file":
        point.write_text("")
        mounted("--bind", str(mine / "letter"), str(point))
    else:
        point.mkdir()
        mounted(*(("--bind", str(mine)) if kind == "bind" else ("-t", "tmpfs", "none")), str(point))
    unmounted.append(point)
    if kind == "tmpfs":
        (point / "letter").write_text("dear")
    found = reap()
    assert found.removed == ()
    assert found.problems == (f"{point} is a mount point in lab gone; unmount it, then `pinfold lab status` removes the lab",)
    assert (point.read_text() if kind == "a file" else (point / "letter").read_text()) == "dear"
    assert untouched(mine) and (folder.path / "log/libvirtd.log").exists()
    with pytest.raises(Conflict, match="is a mount point in lab gone; unmount it"):
        end(folder)


@needs_root
def test_a_lab_that_became_a_mount_point_is_named_and_not_emptied(place: Path, tmp_path: Path, unmounted: list[Path]) -> None:
    folder = dead_lab("gone")
    mounted("--bind", str(folder.path), str(folder.path))
    unmounted.append(folder.path)
    assert reap().problems == (f"{folder.path} is a mount point in lab gone; unmount it, then `pinfold lab status` removes the lab",)
    assert (folder.path / "log/libvirtd.log").exists()


@needs_root
def test_a_foreign_mount_point_is_left_alone(place: Path, tmp_path: Path, unmounted: list[Path]) -> None:
    mine = precious(tmp_path / "elsewhere")
    (place / "data").mkdir()
    mounted("--bind", str(mine), str(place / "data"))
    unmounted.append(place / "data")
    assert reap().problems == () and reap().removed == ()
    assert untouched(mine)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "it is not JSON"),
        ("{", "it is not JSON"),
        ("[]", "is no record of a lab"),
        ("[" * 100_000, "is larger than"),
        ("{}", "is no record of a lab"),
        ('{"cells": []}', "is no record of a lab"),
        ("\xff", "it is not JSON"),
    ],
    ids=["empty", "cut", "a list", "huge", "no key", "another's", "no UTF-8"],
)
def test_a_damaged_record_is_named_and_not_followed(place: Path, text: str, says: str) -> None:
    mine = precious(place / "a")
    (mine / "lab.json").write_bytes(text.encode("latin-1"))
    found = reap()
    assert found.removed == () and len(found.problems) == 1
    assert found.problems[0].startswith(f"{mine}/lab.json ") and says in found.problems[0]
    assert found.problems[0].endswith(f"; {mine} is left as it is, remove it yourself if a lab made it")
    assert (mine / "letter").exists() and labs() == ()
    with pytest.raises(InvalidRequest, match="is left as it is"):
        end(LabFolder.named("a"))


@pytest.mark.parametrize(
    "change",
    [
        {"name": "other"},
        {"group": "../../machine"},
        {"group": "."},
        {"group": "pinfold-lab-other-1"},
        {"inode": 1},
        {"pinfold_lab": 2},
        {"synthetic": "yes"},
        {"extra": 1},
    ],
    ids=str,
)
def test_a_record_that_says_something_else_than_its_folder_is_not_followed(place: Path, change: dict[str, object]) -> None:
    folder = dead_lab("a")
    record = json.loads((folder.path / "lab.json").read_text())
    (folder.path / "lab.json").write_text(json.dumps(record | change))
    assert reap().removed == () and len(reap().problems) == 1
    assert (folder.path / "log/libvirtd.log").exists()


def test_a_record_that_is_a_link_or_a_pipe_is_not_read(place: Path, tmp_path: Path) -> None:
    first, second = dead_lab("a"), dead_lab("b")
    (first.path / "lab.json").rename(tmp_path / "kept")
    (first.path / "lab.json").symlink_to(tmp_path / "kept")
    (second.path / "lab.json").unlink()
    os.mkfifo(second.path / "lab.json")
    found = reap()
    assert found.removed == () and [problem.split(" ")[0] for problem in found.problems] == [
        str(first.path / "lab.json"),
        str(second.path / "lab.json"),
    ]
    assert first.path.exists() and second.path.exists()


def test_a_copy_of_a_lab_is_not_removed(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dead_lab("a")
    subprocess.run(["cp", "-a", str(place), str(tmp_path / "backup")], check=True)
    monkeypatch.setenv("PINFOLD_LAB_ROOT", str(tmp_path / "backup"))
    assert reap().removed == ()
    assert (tmp_path / "backup/a/log/libvirtd.log").exists()


def test_a_record_that_others_may_write_is_not_followed(place: Path) -> None:
    folder = dead_lab("a")
    (folder.path / "lab.json").chmod(0o666)
    assert reap().removed == () and "others may write it" in reap().problems[0]


def test_a_removal_that_was_cut_short_is_resumed(place: Path) -> None:
    folder = dead_lab("a")
    for name in ("lock", "log/libvirtd.log"):
        (folder.path / name).unlink()
    assert reap().removed == ("a",)


def test_a_lab_that_is_held_is_left_alone(place: Path) -> None:
    folder = LabFolder.named("a")
    held = folder.begin(LabSpec(name="a", synthetic=True))
    assert folder.held() and reap().removed == ()
    with pytest.raises(Conflict, match="is up already"):
        folder.begin(LabSpec(name="a", synthetic=True))
    os.close(held)
    assert reap().removed == ("a",)


REAPER = """
import sys
from pinfold.lab.folder import reap
print("ready", flush=True)
sys.stdin.readline()
for _ in range(30):
    found = reap()
    assert not found.problems, found
    print(*found.removed, flush=True)
"""
MAKER = """
import os, sys
from pinfold.lab.folder import LabFolder
from pinfold.lab.record import LabSpec
print("ready", flush=True)
sys.stdin.readline()
for number in range(30):
    name = f"n{number}"
    folder = LabFolder.named(name)
    fd = folder.begin(LabSpec(name=name, synthetic=True))
    folder.run.mkdir()
    for inner in range(20):
        (folder.path / f"file{inner}").write_text("x")
    assert folder.held()
    os.close(fd)
print("made")
"""


def test_processes_that_make_and_remove_labs_at_once_lose_nothing_and_remove_each_once(place: Path) -> None:
    mine = precious(place / "precious")
    for number in range(20):
        dead_lab(f"dead{number}")
    programs = [REAPER, REAPER, REAPER, MAKER]
    running = [
        subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for program in programs
    ]
    for process in running:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
    for process in running:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    said = [process.communicate() for process in running]
    assert [process.returncode for process in running] == [0, 0, 0, 0], said
    removed = [name for out, _ in said[:3] for name in out.split()] + list(reap().removed)
    assert sorted(removed) == sorted([*(f"dead{number}" for number in range(20)), *(f"n{number}" for number in range(30))])
    assert untouched(mine) and sorted(os.listdir(place)) == [".lock", "precious"]


def test_a_lab_is_not_removed_while_another_process_makes_one(place: Path) -> None:
    folder = dead_lab("a")
    code = "from pinfold.lab.folder import guarded\nwith guarded():\n print('in', flush=True)\n input()"
    holder = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None and holder.stdout.readline() == "in\n"
    waiting = subprocess.Popen(
        [sys.executable, "-c", "from pinfold.lab.folder import reap\nprint(*reap().removed)"], stdout=subprocess.PIPE
    )
    time.sleep(1.0)
    assert waiting.poll() is None and folder.path.exists()
    holder.send_signal(signal.SIGKILL)
    assert waiting.communicate()[0] == b"a\n"
    holder.communicate()


def test_a_cache_that_is_a_link_is_not_used(place: Path, tmp_path: Path) -> None:
    from pinfold.lab.interior import cache

    (place / ".cache-tcg").symlink_to(precious(tmp_path / "elsewhere"))
    with pytest.raises(Unavailable, match="is a link"):
        cache(LabSpec(name="a", synthetic=True, kvm=False))

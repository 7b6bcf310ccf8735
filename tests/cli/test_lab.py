"""`pinfold lab` where no lab can be started: without root, with names of several hosts, in a shell's completion."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pinfold.lab.folder import LabFolder
from pinfold.lab.record import LabSpec

AS_NOBODY = """
import contextlib, io, os, sys
from pinfold.cli.app import run
from pinfold.cli.session import Parts
place = os.environ.pop("PINFOLD_LAB_ROOT")
os.environ["PINFOLD_LAB_ROOT"] = "/nonexistent"
with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    run(["lab", "status"], Parts(open_driver=None)), run(["lab", "down", "x"], Parts(open_driver=None))
os.environ["PINFOLD_LAB_ROOT"] = place
os.setgid(65534); os.setuid(65534)
sys.exit(run(sys.argv[1:], Parts(open_driver=None)))
"""
"""All is imported by root, whose Python another user may not be able to read."""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The root of the labs, empty; anybody may look into it."""
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_mode & 0o005 != 0o005 and folder.owner() == tmp_path.owner():
            folder.chmod(0o755)
    found = tmp_path / "labs"
    found.mkdir()
    monkeypatch.setenv("PINFOLD_LAB_ROOT", str(found))
    return found


def dead_lab(name: str, fleet: str = "") -> LabFolder:
    folder = LabFolder.named(name)
    os.close(folder.begin(LabSpec(name=name, synthetic=True, fleet=fleet)))
    return folder


def command(*words: str, code: tuple[str, ...] = ("-m", "pinfold.wiring.command"), **variables: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(entry for entry in sys.path if entry)
    environment = os.environ | {"PYTHONPATH": path, "COLUMNS": "400"} | variables
    return subprocess.run([sys.executable, *code, *words], env=environment, capture_output=True, text=True, check=False)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("words", [("status",), ("down", "a"), ("down", "--all")], ids=" ".join)
def test_another_user_than_root_is_told_that_labs_are_roots(place: Path, words: tuple[str, ...]) -> None:
    folder = dead_lab("a")
    done = command("lab", *words, code=("-c", AS_NOBODY))
    assert done.stderr == f"pinfold: `pinfold lab {words[0]}` needs root, as `pinfold lab up` does: labs are root's\n"
    assert (done.returncode, done.stdout) == (3, "") and folder.path.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_where_there_is_no_lab_every_user_is_told_so(place: Path) -> None:
    done = command("lab", "status", code=("-c", AS_NOBODY))
    assert (done.returncode, done.stdout, done.stderr) == (0, "no lab is up\n", "")
    place.rmdir()
    done = command("lab", "status", code=("-c", AS_NOBODY))
    assert (done.returncode, done.stdout, done.stderr) == (0, "no lab is up\n", "")
    assert not place.exists()


def test_the_name_that_several_hosts_were_started_as_ends_them_all(place: Path) -> None:
    for name in ("a1", "a2"):
        dead_lab(name, fleet="a")
    other = dead_lab("a3")
    done = command("lab", "down", "a")
    assert done.stdout == "lab a1 is down; its guests have ended\nlab a2 is down; its guests have ended\n"
    assert (done.returncode, done.stderr) == (0, "") and other.path.exists()
    assert command("lab", "down", "a").stderr == "pinfold: there is no lab 'a'; `pinfold lab status` lists those that are up\n"


def test_a_damaged_record_is_said_by_every_command(place: Path) -> None:
    folder = dead_lab("a")
    (folder.path / "lab.json").write_text("{")
    sentence = f"{folder.path}/lab.json is damaged"
    assert sentence in " ".join(command("lab", "status").stdout.split())
    assert sentence in command("lab", "status", "--json").stdout
    assert sentence in command("lab", "down", "a").stderr
    assert folder.path.exists()


def test_shells_complete_the_names_of_labs_and_of_several_hosts(place: Path) -> None:
    for name in ("east1", "east2"):
        dead_lab(name, fleet="east")
    dead_lab("west")
    (place / "eastern").mkdir()

    def completed(word: str) -> list[str]:
        said = command(_PINFOLD_COMPLETE="complete_bash", COMP_WORDS=f"pinfold lab down {word}", COMP_CWORD="3")
        assert said.stderr == ""
        return said.stdout.split()

    assert completed("e") == ["east", "east1", "east2"]
    assert completed("w") == ["west"]
    place.joinpath("west/lab.json").write_text("{")
    assert completed("w") == []

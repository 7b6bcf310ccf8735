"""Commands of a user who may not enter the state directory: a sentence, never an internal error."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

AS_NOBODY = """
import contextlib, io, json, os, sys
from pinfold.cli.app import run
from pinfold.cli.session import Parts
from pinfold.core.errors import Unavailable

def away(*_words, **_names):
    raise Unavailable("there is no libvirt")

def answer(words):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = run(words, Parts(open_driver=away))
    return [status, out.getvalue(), err.getvalue()]

configuration, *commands = sys.argv[1:]
for command in commands:
    answer([*command.split(), "--config", os.devnull])
os.setgroups([]); os.setgid(65534); os.setuid(65534)
print(json.dumps([answer([*command.split(), "--config", configuration]) for command in commands]))
"""
"""All is imported by root, whose Python another user may not be able to read."""

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that everybody can read and only root can write, with `closed` in it, that only root may enter."""
    with tempfile.TemporaryDirectory(prefix="pf-closed-", dir="/tmp") as made:
        Path(made).chmod(0o755)
        (Path(made) / "closed").mkdir(mode=0o700)
        yield Path(made)


def _as_nobody(folder: Path, text: str, *commands: str) -> list[tuple[int, str, str]]:
    configuration = folder / "pinfold.conf"
    configuration.write_text(text)
    path = os.pathsep.join(entry for entry in sys.path if entry)
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("OS_", "PINFOLD_"))}
    done = subprocess.run(
        [sys.executable, "-c", AS_NOBODY, str(configuration), *commands],
        env=environment | {"PYTHONPATH": path, "COLUMNS": "400"},
        capture_output=True,
        text=True,
        check=True,
    )
    return [(status, out, err) for status, out, err in json.loads(done.stdout)]


def test_a_state_directory_in_a_closed_folder_is_named_by_each_command_that_looks_into_it(folder: Path) -> None:
    state = folder / "closed" / "state"
    wanted = {
        "database check": f"database {state}/pinfold.sqlite cannot be read",
        "server list": f"clouds.yaml {state}/clouds.yaml cannot be read",
        "host list": f"clouds.yaml {state}/clouds.yaml cannot be read",
        "config clouds --username admin": f"clouds.yaml {state}/clouds.yaml cannot be read",
        "fit --vcpus 1 --ram 64 --host-text core:4 --image web": f"image {state}/images/web cannot be read",
        "history": f"journal {state}/host-",
        "advise": f"journal {state}/host-",
        "advise --assume guests=4 --assume vcpus=2": f"journal {state}/host-",
    }
    answers = _as_nobody(folder, f"[pinfold]\nstate_dir = {state}\n", *wanted)
    for (command, sentence), (status, _, err) in zip(wanted.items(), answers, strict=True):
        assert status == 2, (command, err)
        assert sentence in err and err.endswith("cannot be read: Permission denied\n"), (command, err)


def test_doctor_says_that_the_user_cannot_write_a_closed_state_directory(folder: Path) -> None:
    state = folder / "closed" / "state"
    ((_, out, err),) = _as_nobody(folder, f"[pinfold]\nstate_dir = {state}\n", "doctor")
    assert f"{state} cannot be written by this user" in out, (out, err)


def test_a_flavors_file_in_a_closed_folder_is_named_by_advise(folder: Path) -> None:
    (folder / "closed" / "flavors").mkdir()
    text = f"[pinfold]\nstate_dir = {folder}/state\nflavors_file = {folder}/closed/flavors.toml\n"
    ((status, _, err),) = _as_nobody(folder, text, "advise --assume guests=4")
    assert (status, err) == (2, f"pinfold: flavors file {folder}/closed/flavors.toml cannot be read: Permission denied\n")


def test_advice_by_assumptions_needs_no_state_directory_and_makes_none(folder: Path) -> None:
    text = f"[pinfold]\nstate_dir = {folder}/state\n"
    advice, history = _as_nobody(folder, text, "advise --assume guests=40 --assume cpu-per-guest=0.05 --assume pcpus=64", "history")
    assert advice[0] == 0 and "pCPUs: 3." in advice[1], advice
    assert history[0] == 2 and f"there is no journal {folder}/state/host-" in history[2], history
    assert not (folder / "state").exists()

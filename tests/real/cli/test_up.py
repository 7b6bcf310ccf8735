"""`pinfold up --lab` as a process of its own: a service with a host that ends with it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.real.patience import until

from pinfold.lab.folder import labs


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "a kill"])
def test_its_lab_ends_with_it(ending: signal.Signals, lab_possible: None) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    argv = [sys.executable, "-m", "pinfold", "up", "--lab", "--port", "0", "--json"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as up:
        assert up.stdout is not None and up.stderr is not None
        text = ""
        while not text.endswith("}\n") and (line := up.stdout.readline()):
            text += line
        assert text, up.stderr.read()
        lab = Path(json.loads(text)["clouds_file"]).parents[1]
        assert _held(lab)
        up.send_signal(ending)
        assert ending is signal.SIGKILL or up.stdout.read() == ""
        assert up.wait(240) == (0 if ending is signal.SIGINT else -signal.SIGKILL)
    until(lambda: not _held(lab), "its lab ends")


def test_ctrl_c_ends_with_a_sentence(lab_possible: None) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONUNBUFFERED": "1"}
    argv = [sys.executable, "-m", "pinfold", "up", "--lab", "--port", "0"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=environment) as up:
        assert up.stdout is not None
        while (line := up.stdout.readline()) and not line.startswith("Ctrl-C ends pinfold"):
            pass
        up.send_signal(signal.SIGINT)
        assert up.stdout.read() == "pinfold, its lab and its guests have ended\n"
        assert up.wait(240) == 0


def test_what_it_tells_to_export_has_the_configuration_that_it_runs_with(lab_name: str, lab_possible: None) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONUNBUFFERED": "1"}
    pinfold, name = [sys.executable, "-m", "pinfold"], f"{lab_name}-tells"
    made = subprocess.run([*pinfold, "lab", "up", name, "--json"], check=True, capture_output=True, text=True, env=environment)
    config = json.loads(made.stdout)["labs"][0]["config"]
    try:
        argv = [*pinfold, "up", "--port", "0"]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=environment | {"PINFOLD_CONFIG": config}) as up:
            assert up.stdout is not None
            told = []
            while (line := up.stdout.readline()) and not line.startswith("Ctrl-C ends pinfold"):
                told.append(line)
            up.send_signal(signal.SIGINT)
            assert up.wait(240) == 0
        assert f"  export PINFOLD_CONFIG={config}\n" in told
    finally:
        subprocess.run([*pinfold, "lab", "down", name], check=True, capture_output=True, env=environment)


def _held(lab: Path) -> bool:
    """Whether that lab is up."""
    return lab in [folder.path for folder in labs() if folder.held()]

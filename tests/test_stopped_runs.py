"""A run of tests that is stopped from outside leaves neither a PostgreSQL nor its folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.postgres import binaries
from tests.postgres_keeper import postmaster, runs
from tests.real.patience import until

_TEST = """
import os, pathlib, time

def test_that_takes_long(postgresql):
    pathlib.Path(os.environ["SAID"]).write_text(f"{postgresql.folder}\\n")
    time.sleep(600)
"""


@pytest.mark.real_postgresql
@pytest.mark.skipif(binaries() is None, reason="PostgreSQL is not installed")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_run_that_is_stopped_leaves_no_database(number: signal.Signals, tmp_path: Path) -> None:
    (tmp_path / "test_long.py").write_text(_TEST)
    said, output = tmp_path / "said", tmp_path / "output"
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "tests.conftest",
        "-p",
        "tests.rig.databases",
        "-p",
        "no:cacheprovider",
        "test_long.py",
    ]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "SAID": str(said)}
    with output.open("wb") as log, subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=log) as run:
        until(lambda: run.poll() is not None or (said.exists() and said.read_text().endswith("\n")), "the test runs")
        assert run.poll() is None, output.read_text()
        folder = Path(said.read_text().strip())
        server = postmaster(folder)
        run.send_signal(number)
    until(lambda: not folder.exists(), "the folder goes")
    assert server is not None
    assert not runs(server)
    # By SIGTERM it ends as by Ctrl-C, after its fixtures.
    assert run.returncode == (-signal.SIGKILL if number == signal.SIGKILL else pytest.ExitCode.INTERRUPTED), output.read_text()

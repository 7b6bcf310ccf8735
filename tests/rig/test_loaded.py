"""What a program is in a fork of the process that has loaded it: its end, its streams, its environment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.real.patience import until
from tests.rig import loaded


def test_it_ends_and_writes_as_the_program_that_is_started_anew() -> None:
    for words in (["--version"], ["nonsense"], ["config", "check", "--config", "/nowhere"]):
        command = [sys.executable, "-m", "pinfold.wiring.command", *words]
        anew = subprocess.run(command, env=loaded.importing(), capture_output=True, text=True, check=False)
        forked = loaded.run("pinfold", words, loaded.importing())
        assert (forked.returncode, forked.stdout, forked.stderr) == (anew.returncode, anew.stdout, anew.stderr)


def test_a_signal_ends_it_and_is_its_exit_status(tmp_path: Path) -> None:
    (tmp_path / "config").write_text('{"database": "/nowhere", "placement": {"url": "http://127.0.0.1:1"}, "hosts": [], "seconds": 600}')
    with open(os.devnull) as nothing, (tmp_path / "said").open("w") as said:
        streams = (nothing.fileno(), said.fileno(), said.fileno())
        words = ("watch", str(tmp_path / "config"), str(tmp_path / "result"))
        started = loaded.start("judge", words, loaded.importing(), streams)
    until((tmp_path / "result").exists, "it has looked")
    assert started.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        started.wait(0.01)
    started.send_signal(signal.SIGKILL)
    assert (started.wait(60), started.poll()) == (-signal.SIGKILL, -signal.SIGKILL)
    started.send_signal(signal.SIGKILL)

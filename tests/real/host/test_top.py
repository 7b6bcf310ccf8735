"""`pinfold top` beside a real guest: in a pipe, and live in a terminal."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
from tests.real.host.bench import Bench
from tests.real.host.domains import define, everything
from tests.real.host.test_watch import PINS, SHARE
from tests.real.host.watching import pinfold
from tests.real.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.skipif(not {0, 1} <= os.sched_getaffinity(0), reason="the pools are pCPUs 0 and 1")

_ESCAPE = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")


def configuration(folder: Path, bench: Bench) -> Path:
    config = folder / "top.conf"
    config.write_text(
        f"[compute]\ncpu_shared_set = 0\ncpu_dedicated_set = 1\n[libvirt]\nconnection_uri = {bench.lab.uri}\n"
        f"[pinfold]\nstate_dir = {folder / 'state'}\n"
    )
    return config


class Terminal:
    """A terminal of 80 columns and 24 lines, with what was written to it since `asked`."""

    def __init__(self, *words: str) -> None:
        self._master, slave = pty.openpty()
        termios.tcsetwinsize(slave, (24, 80))
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "TERM": "xterm"}
        environment.pop("COLUMNS", None)
        line = [sys.executable, "-m", "pinfold", *words]
        self.process = subprocess.Popen(line, stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True)
        self.before = termios.tcgetattr(slave)
        self._slave = slave
        self.raw = b""

    def until(self, *texts: str) -> str:
        """Read until all texts were written."""
        deadline, since = time.monotonic() + PATIENCE_SECONDS, len(self.raw)
        while True:
            shown = _ESCAPE.sub(b"", self.raw[since:]).decode(errors="replace")
            if all(text in shown for text in texts):
                return shown
            assert time.monotonic() < deadline, (texts, shown)
            if select.select([self._master], [], [], 0.2)[0]:
                self.raw += os.read(self._master, 65536)

    def press(self, key: str) -> None:
        """Press a key."""
        os.write(self._master, key.encode())

    def close(self) -> None:
        """End the command, if it has not ended."""
        self.process.kill()
        self.process.wait()
        os.close(self._master)
        os.close(self._slave)


def test_in_a_pipe_it_prints_once_and_changes_nothing(bench: Bench, tmp_path: Path) -> None:
    config = configuration(tmp_path, bench)
    define(bench, "web", cputune=PINS, nova=True, specs=SHARE)
    before = everything(bench)
    done = pinfold(config, "top", "--interval", "1")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"^overhead +[0-9.]+ of 1 ", done.stdout, re.MULTILINE), done.stdout
    assert re.search(r"^web +[0-9.]+ +[0-9.]+ +[0-9.]+ of 1 .* share$", done.stdout, re.MULTILINE), done.stdout
    found = json.loads(pinfold(config, "top", "--interval", "1", "--json", "--sort", "name").stdout)
    (web,) = found["guests"]
    assert (web["name"], web["policy"], web["vcpus"], web["drift"]) == ("web", "share", 1, 0)
    assert web["vcpu_millicpu"] is not None and web["overhead_wait_millicpu"] is not None
    assert {pool["pool"] for pool in found["pools"]} == {"dedicated", "shared", "overhead"}
    assert before.unchanged(everything(bench))


def test_in_a_terminal_it_goes_on_sorts_by_a_key_and_leaves_the_terminal_as_it_was(bench: Bench, tmp_path: Path) -> None:
    config = configuration(tmp_path, bench)
    define(bench, "web", cputune=PINS, nova=True, specs=SHARE)
    terminal = Terminal("top", "--interval", "1", "--config", str(config))
    try:
        terminal.until("guests by overhead delay", "web", "q quit")
        terminal.press("n")
        terminal.until("guests by name", "web")
        terminal.press("o")
        terminal.until("guests by overhead CPU", "web")
        terminal.press("q")
        assert terminal.process.wait(PATIENCE_SECONDS) == 0
        assert termios.tcgetattr(terminal._slave) == terminal.before
    finally:
        terminal.close()

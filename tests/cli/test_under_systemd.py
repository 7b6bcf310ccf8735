"""What a process of the service sends to systemd: that it is ready, and a log that the journal can sort by priority."""

from __future__ import annotations

import io
import logging
import os
import socket
import sys
from pathlib import Path

import pytest

from pinfold.cli.fleet import Watchdog, tell_systemd_ready, watch_log


@pytest.fixture
def root_logger() -> object:
    """The root logger as it was, afterwards."""
    root = logging.getLogger()
    handlers, level, ours = list(root.handlers), root.level, logging.getLogger("pinfold").level
    yield root
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.getLogger("pinfold").setLevel(ours)


@pytest.mark.parametrize("abstract", [False, True], ids=["a path", "an abstract name"])
def test_systemd_is_told_where_it_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, abstract: bool) -> None:
    name = f"@pinfold-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind("\0" + name[1:] if abstract else name)
        listening.settimeout(60)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        tell_systemd_ready()
        assert listening.recv(100) == b"READY=1"


def test_nobody_is_told_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    tell_systemd_ready()


def test_the_watchdog_is_fed_a_few_times_in_its_period(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(60)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "600000000")
        monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
        watchdog = Watchdog()
        for _ in range(100):
            watchdog.feed()
        listening.setblocking(False)
        assert listening.recv(100) == b"WATCHDOG=1"
        with pytest.raises(BlockingIOError):
            listening.recv(100)


@pytest.mark.parametrize(
    "unset", [{}, {"WATCHDOG_USEC": "600000000", "WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "soon"}], ids=["none", "another's", "odd"]
)
def test_no_watchdog_is_fed_where_none_is(unset: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody listens"))
    for name in ("WATCHDOG_USEC", "WATCHDOG_PID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in unset.items():
        monkeypatch.setenv(name, value)
    Watchdog().feed()


def log_of(stream: io.TextIOWrapper, path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr(sys, "stderr", stream)
    watch_log(verbose=False)
    logging.getLogger("pinfold.agent.loop").warning("no orders: %s", "the service is away")
    logging.getLogger("pinfold.agent.loop").error("two\nlines")
    stream.flush()
    return path.read_text().splitlines()


def test_the_journal_gets_priorities_and_no_second_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root_logger: object) -> None:
    with open(tmp_path / "log", "w") as stream:
        found = os.fstat(stream.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
        lines = log_of(stream, tmp_path / "log", monkeypatch)
    assert lines == ["<4>pinfold.agent.loop: no orders: the service is away", r"<3>pinfold.agent.loop: two\nlines"]


def test_a_file_gets_times_though_the_parent_wrote_to_the_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root_logger: object
) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", "1:2")
    with open(tmp_path / "log", "w") as stream:
        lines = log_of(stream, tmp_path / "log", monkeypatch)
    assert lines[0].endswith(" WARNING pinfold.agent.loop: no orders: the service is away")
    assert lines[0][:2] == "20"

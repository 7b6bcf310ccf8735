"""A monitor that does not behave: it costs a bounded time and number of bytes, and tells nothing."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from pinfold.drivers.processes import monitor

HELLO = b'{"QMP": {"version": {}, "capabilities": []}}\r\n'


@contextmanager
def listening(path: Path, serve: Callable[[socket.socket], None]) -> Iterator[None]:
    """This process as a monitor at `path` that serves each client with `serve`."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()

        def loop() -> None:
            with suppress(OSError):
                while True:
                    client, _ = server.accept()
                    with client, suppress(OSError):
                        serve(client)

        threading.Thread(target=loop, daemon=True).start()
        try:
            yield
        finally:
            server.shutdown(socket.SHUT_RDWR)


def test_a_monitor_that_answers_tells_threads_and_state(tmp_path: Path) -> None:
    answers = [
        b'{"event": "RESUME"}\n{"return": {}}\n',
        b'{"return": [{"cpu-index": 0, "thread-id": 7}, {"cpu-index": 1, "thread-id": 8}, {"cpu-index": 2, "thread-id": 8}]}\n',
        b'{"return": [{"id": "iothread2", "thread-id": 9}, {"id": "io0", "thread-id": 10}, {"id": "mon_iothread", "thread-id": 11}]}\n',
        b'{"return": {"running": false, "status": "paused"}}\n',
    ]

    def serve(client: socket.socket) -> None:
        client.sendall(HELLO)
        for answer in answers:
            client.recv(4096)
            client.sendall(answer)

    with listening(tmp_path / "q", serve):
        found = monitor.ask(os.getpid(), str(tmp_path / "q"))
    assert found == monitor.Answer(vcpus={7: 0}, iothreads={9: 2, 10: None}, several=frozenset({8}), paused=True)


def _silent(client: socket.socket) -> None:
    client.recv(4096)


def _endless(client: socket.socket) -> None:
    client.sendall(HELLO)
    while True:
        client.sendall(b"x" * 65536)


def _deep(client: socket.socket) -> None:
    client.sendall(b'{"QMP":' + b"[" * 500_000 + b"\n")


def _ends(client: socket.socket) -> None:
    client.sendall(HELLO[:10])


def _nonsense(client: socket.socket) -> None:
    client.sendall(HELLO + b'{"return": 1}\n{"return": [{"cpu-index": "a"}]}\n' * 4)


@pytest.mark.parametrize("serve", [_silent, _endless, _deep, _ends, _nonsense], ids=lambda serve: serve.__name__.strip("_"))
def test_a_monitor_that_does_not_answer_as_one_tells_nothing(serve: Callable[[socket.socket], None], tmp_path: Path) -> None:
    with listening(tmp_path / "q", serve):
        assert monitor.ask(os.getpid(), str(tmp_path / "q")) is None


def test_nothing_is_sent_to_a_socket_of_another_process(tmp_path: Path) -> None:
    heard: list[bytes] = []
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        with listening(tmp_path / "q", lambda client: (client.sendall(HELLO), heard.append(client.recv(4096)))[0]):
            assert monitor.ask(other.pid, str(tmp_path / "q")) is None
    finally:
        other.kill()
        other.wait()
    assert b"".join(heard) == b""


def test_a_long_path_and_a_relative_one_are_opened_as_the_process_sees_them(tmp_path: Path) -> None:
    folder = tmp_path / ("d" * 100)
    folder.mkdir()
    asked: list[str] = []

    def serve(client: socket.socket) -> None:
        asked.append("asked")
        client.sendall(b"\n")

    here = os.open(folder, os.O_PATH)
    with listening(Path(f"/proc/self/fd/{here}/q"), serve):
        monitor.ask(os.getpid(), str(folder / "q"))
        monitor.ask(os.getpid(), os.path.relpath(folder / "q"))
    os.close(here)
    assert asked == ["asked", "asked"]


@pytest.mark.parametrize("path", ["/nowhere/q", "", "/", "\0", "/proc/self/fd"])
def test_a_path_that_is_no_socket_tells_nothing(path: str) -> None:
    assert monitor.ask(os.getpid(), path) is None

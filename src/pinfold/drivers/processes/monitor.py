"""Ask QEMU's monitor (QMP) which thread is which, over the socket that its command line names.

The package `qemu.qmp` does the same with asyncio. It is not used: the peer must be known before the first byte is sent, a monitor that
another client holds must cost a bounded time, and three questions need no event loop.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Mapping
from typing import Final

import msgspec

from pinfold.core.encoding import json_reader
from pinfold.drivers.kvm import qmp
from pinfold.linux.mount_namespace import seen_by
from pinfold.linux.procfs import PROC

_HELLO_SECONDS: Final = 1.0
"""QEMU greets a client at once, unless another one holds the monitor."""
_ANSWER_SECONDS: Final = 3.0
_MOST_BYTES: Final = 4 << 20
"""The most bytes of answers that are read. A vCPU takes about 200 bytes."""
_CREDENTIALS: Final = struct.Struct("3i")


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """Thread id -> vCPU, thread id -> iothread's number if its id has one, and the threads that run several vCPUs.

    Thread ids are those of the process's own PID namespace. `paused` means that the guest's vCPUs do not run.
    """

    vcpus: Mapping[int, int]
    iothreads: Mapping[int, int | None]
    several: frozenset[int] = frozenset()
    paused: bool = False


def ask(pid: int, path: str) -> Answer | None:
    """What the monitor of process `pid` at `path` (as the process sees it) tells; None if it cannot be asked.

    The process that listens must be `pid` itself, else nothing is sent. Takes a second where another client holds the monitor, and at
    most four.
    """
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(_HELLO_SECONDS)
            _connect(connection, pid, path)
            if _peer(connection) != pid:
                return None
            return _asked(_Dialogue(connection))
    except (OSError, ValueError, RecursionError, msgspec.MsgspecError):
        return None


def _connect(connection: socket.socket, pid: int, path: str) -> None:
    """Connect to a path as the process sees it. A folder's descriptor keeps the name short: a socket's has at most 107 characters."""
    seen = seen_by(pid, path) if path.startswith("/") else PROC / str(pid) / "cwd" / path
    descriptor = os.open(seen.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        connection.connect(f"/proc/self/fd/{descriptor}/{seen.name}")
    finally:
        os.close(descriptor)


def _peer(connection: socket.socket) -> int:
    """The process that listens on the other side (`SO_PEERCRED`, unix(7))."""
    pid, _, _ = _CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return int(pid)


class _Dialogue:
    """One conversation with a monitor: lines of JSON, within a time and a number of bytes."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._until = time.monotonic() + _HELLO_SECONDS
        self._buffer = b""
        self._left = _MOST_BYTES

    def greeted(self) -> None:
        """Wait for the greeting. Raises `OSError` if none comes."""
        if "QMP" not in _said(self._line()):
            raise ConnectionError("no greeting")
        self._until = time.monotonic() + _ANSWER_SECONDS

    def execute(self, command: str) -> bytes:
        """The answer to a command. Events that come first are skipped."""
        self._connection.settimeout(self._seconds())
        self._connection.sendall(msgspec.json.encode({"execute": command}) + b"\n")
        while True:
            line = self._line()
            if _said(line) & {"return", "error"}:
                return line

    def _line(self) -> bytes:
        while b"\n" not in self._buffer:
            self._connection.settimeout(self._seconds())
            piece = self._connection.recv(min(65536, self._left))
            self._left -= len(piece)
            if not piece or not self._left:
                raise ConnectionError("the answer ends early or is too long")
            self._buffer += piece
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def _seconds(self) -> float:
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError("the monitor does not answer in time")
        return left


_read_message = json_reader(dict[str, msgspec.Raw])


def _said(line: bytes) -> frozenset[str]:
    """The keys of a message."""
    return frozenset(_read_message(line))


def _asked(dialogue: _Dialogue) -> Answer:
    dialogue.greeted()
    dialogue.execute("qmp_capabilities")
    cpus, iothreads = dialogue.execute("query-cpus-fast"), dialogue.execute("query-iothreads")
    return Answer(
        vcpus=qmp.vcpu_threads(cpus),
        iothreads=qmp.iothread_threads(iothreads),
        several=qmp.shared_vcpu_threads(cpus),
        paused=not qmp.is_running(dialogue.execute("query-status")),
    )

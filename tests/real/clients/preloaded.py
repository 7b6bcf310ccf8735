"""Runs the real `openstack` client in forks of one process that has loaded it, because its start costs more than any of its commands.

`python preloaded.py SOCKET` serves. `openstack(SOCKET)` is the text of a program to put on PATH: it sends its words, folder, environment
and standard streams, and ends with the client's exit status.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import socket
import sys
from pathlib import Path


def openstack(address: Path) -> str:
    """The program that stands for the client's own entry point."""
    return f"""#!{sys.executable} -ISE
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect({str(address)!r})
    words = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
    socket.send_fds(server, [len(words).to_bytes(4, "big")], [0, 1, 2])
    server.sendall(words)
    sys.exit(server.recv(1)[0])
"""


def _serve(address: str) -> None:
    from openstackclient import shell

    with contextlib.redirect_stdout(io.StringIO()):
        for group in ("flavor list", "resource provider allocation set", "resource provider show"):  # loads what these commands import
            with contextlib.suppress(SystemExit):
                shell.main([*group.split(), "--help"])
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(address)
        server.listen(16)
        while True:
            client, _ = server.accept()
            if os.fork() == 0:
                os._exit(_answer(client))
            client.close()
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass


def _answer(client: socket.socket) -> int:
    """Run the client in a fork with the caller's streams, and send its exit status."""
    size, streams, _, _ = socket.recv_fds(client, 4, 3)
    text = b""
    while len(text) < int.from_bytes(size, "big"):
        text += client.recv(1 << 16)
    words, folder, environ = json.loads(text)
    child = os.fork()
    if child == 0:
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environ)
        os._exit(_run(words))
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    client.sendall(bytes([status & 0xFF]))
    return 0


def _run(words: list[str]) -> int:
    from openstackclient import shell

    logging.getLogger().handlers.clear()  # those of what was loaded before
    sys.stdin, sys.stdout, sys.stderr = open(0, closefd=False), open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
    try:
        status = shell.main(words)
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else 1
    sys.stdout.flush()
    sys.stderr.flush()
    return int(status or 0)


if __name__ == "__main__":
    _serve(sys.argv[1])

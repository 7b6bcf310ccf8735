"""An ssh server on loopback that runs what one key's owner asks: `python ssh_server.py FOLDER`, in tempest's own environment.

whitebox reads a host's domains and changes its configuration by ssh, at port 22; so this runs in a network namespace. The private key of
its only client is `FOLDER/key`. Commands find the programs of `FOLDER/bin` first.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import paramiko  # type: ignore[import-not-found,import-untyped,unused-ignore]


class Server(paramiko.ServerInterface):  # type: ignore[misc,unused-ignore]
    """Lets one key in, and runs each command by the shell."""

    def __init__(self, key: Any, folder: Path) -> None:
        self._key, self._folder = key, folder

    def get_allowed_auths(self, _username: str) -> str:
        """Keys alone."""
        return "publickey"

    def check_auth_publickey(self, _username: str, key: Any) -> int:
        """Whether it is the client's key."""
        return int(paramiko.AUTH_SUCCESSFUL if key == self._key else paramiko.AUTH_FAILED)

    def check_channel_request(self, kind: str, _number: int) -> int:
        """Sessions alone."""
        return int(paramiko.OPEN_SUCCEEDED if kind == "session" else paramiko.OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED)

    def check_channel_exec_request(self, channel: Any, command: bytes) -> bool:
        """Run the command in a thread of its own."""
        threading.Thread(target=self._run, args=(channel, command.decode()), daemon=True).start()
        return True

    def _run(self, channel: Any, command: str) -> None:
        path = os.pathsep.join((str(self._folder / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]))
        done = subprocess.run(["/bin/sh", "-c", command], env={**os.environ, "PATH": path}, capture_output=True, check=False)
        channel.sendall(done.stdout)
        channel.sendall_stderr(done.stderr)
        channel.send_exit_status(done.returncode)
        channel.close()


def serve(folder: Path) -> None:
    """Serve until the process is killed."""
    key = paramiko.RSAKey.generate(2048)
    key.write_private_key_file(str(folder / "key"))
    host_key = paramiko.RSAKey.generate(2048)
    listening = socket.create_server(("127.0.0.1", 22))
    print("ready", flush=True)
    while True:
        connection, _ = listening.accept()
        transport = paramiko.Transport(connection)
        transport.add_server_key(host_key)
        transport.start_server(server=Server(key, folder), event=threading.Event())


if __name__ == "__main__":
    serve(Path(sys.argv[1]))

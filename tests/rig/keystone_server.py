"""Makes a new Keystone in a folder and serves it: `python keystone_server.py FOLDER PORT PASSWORD`, in an environment with Keystone.

SQLite, fernet tokens, and one process: each `keystone-manage` would import Keystone once more.
"""

from __future__ import annotations

import getpass
import grp
import os
import signal
import sys
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server


class Threads(ThreadingMixIn, WSGIServer):
    """Answers each connection in a thread."""

    daemon_threads = True


class Quiet(WSGIRequestHandler):
    """Writes no line for each request."""

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


def configure(folder: Path) -> Path:
    """The configuration file of a Keystone in that folder."""
    keys = {name: folder / name for name in ("fernet_tokens", "fernet_receipts", "credential")}
    for path in keys.values():
        path.mkdir(mode=0o700)
    lines = ["[database]", f"connection = sqlite:///{folder}/keystone.db?timeout=120", "[cache]", "backend = dogpile.cache.memory"]
    lines += ["[identity]", "password_hash_rounds = 4"]
    lines += [line for name, path in keys.items() for line in (f"[{name}]", f"key_repository = {path}")]
    file = folder / "keystone.conf"
    file.write_text("\n".join(lines) + "\n")
    return file


def manage(file: Path, *words: str) -> None:
    """One command of keystone-manage, in a fork that has imported Keystone already."""
    from keystone.cmd import cli

    child = os.fork()
    if child == 0:
        sys.argv = ["keystone-manage", "--config-file", str(file), *words]
        cli.main(argv=sys.argv)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0, words


def main(folder: Path, port: int, password: str) -> None:
    """Make the database, the keys and the admin, then serve until the process is ended.

    After SIGUSR1 its tokens are good for one second, after SIGUSR2 for an hour.
    """
    file = configure(folder)
    owner = ("--keystone-user", getpass.getuser(), "--keystone-group", grp.getgrgid(os.getgid()).gr_name)
    manage(file, "db_sync")
    for kind in ("fernet_setup", "credential_setup"):
        manage(file, kind, *owner)
    url = f"http://127.0.0.1:{port}/v3"
    manage(
        file,
        "bootstrap",
        "--bootstrap-password",
        password,
        "--bootstrap-public-url",
        url,
        "--bootstrap-internal-url",
        url,
        "--bootstrap-region-id",
        "RegionOne",
    )
    sys.argv = ["keystone"]
    from keystone.server.flask.core import initialize_application

    application = initialize_application(name="public", config_files=[str(file)])
    from keystone.conf import CONF

    for number, seconds in ((signal.SIGUSR1, 1), (signal.SIGUSR2, 3600)):
        signal.signal(number, lambda *_, seconds=seconds: CONF.set_override("expiration", seconds, group="token"))
    with make_server("127.0.0.1", port, application, server_class=Threads, handler_class=Quiet) as server:
        server.serve_forever()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])

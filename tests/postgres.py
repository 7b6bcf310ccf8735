"""A real PostgreSQL in a temporary folder, for the tests that are marked `real_postgresql`."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path

from tests import postgres_keeper
from tests.ports import free_port
from tests.postgres_keeper import postmaster, runs

_PATIENCE_SECONDS = 120.0


def binaries() -> Path | None:
    """The folder of the newest PostgreSQL's programs, or None where none is installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parent.parent.name))
    if found:
        return found[-1].parent
    initdb = shutil.which("initdb")
    return Path(initdb).resolve().parent if initdb else None


@dataclass
class PostgreSQL:
    """One server, ours alone. It refuses to run as root, so root lends it to the user `postgres`.

    A keeper stops it and removes its folder, by `stop` or when this process ends, even by SIGKILL.
    """

    folder: Path
    port: int
    _user: str | None
    _keeper: subprocess.Popen[bytes]

    @classmethod
    def start(cls, *, settings: tuple[str, ...] = (), environment: dict[str, str] | None = None) -> PostgreSQL:
        """Make a cluster and start it, with more in its environment where wanted; answers when it takes connections."""
        programs = binaries()
        assert programs is not None, "PostgreSQL is not installed"
        user = "postgres" if os.geteuid() == 0 else None
        folder = Path(tempfile.mkdtemp(prefix="pf-pg-", dir="/tmp"))
        if user:
            entry = pwd.getpwnam(user)
            os.chown(folder, entry.pw_uid, entry.pw_gid)
        command = [sys.executable, "-IS", str(Path(postgres_keeper.__file__)), str(os.getpid()), str(folder)]
        # In a session of its own, so that what stops this process and its group does not stop the keeper.
        keeper = subprocess.Popen(command, cwd="/", stdin=subprocess.DEVNULL, start_new_session=True)
        server = cls(folder=folder, port=free_port(), _user=user, _keeper=keeper)
        server._run(str(programs / "initdb"), "-D", str(folder / "data"), "-A", "trust", "-U", "pinfold", "--no-sync", "-E", "UTF8")
        server._settings, server._more = settings, environment or {}
        server.resume()
        return server

    _settings: tuple[str, ...] = ()
    _more: dict[str, str] = field(default_factory=dict)

    def resume(self) -> None:
        """Start the server (again), after `kill` too."""
        programs = binaries()
        assert programs is not None
        options = ["listen_addresses=127.0.0.1", f"port={self.port}", f"unix_socket_directories={self.folder}", "fsync=off"]
        options += ["max_connections=200", "shared_buffers=32MB", *self._settings]
        flags = " ".join(f"-c {option}" for option in options)
        self._run(str(programs / "pg_ctl"), "-D", str(self.folder / "data"), "-w", "-l", str(self.folder / "log"), "-o", flags, "start")

    def kill(self) -> None:
        """SIGKILL the server and wait until its processes are gone.

        Its pid files go too: where nobody reaps orphans the dead server keeps its id as a zombie, and a new one would think that it lives.
        """
        pid = postmaster(self.folder)
        assert pid is not None, "the server runs"
        os.kill(pid, signal.SIGSTOP)  # or it has another child by the time that these are dead, which holds the shared memory
        children = [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        for victim in (pid, *children):
            with contextlib.suppress(ProcessLookupError):  # a child that saw the server die has ended by itself
                os.kill(victim, signal.SIGKILL)
        while any(runs(victim) for victim in (pid, *children)):
            time.sleep(0.01)
        (self.folder / "data" / "postmaster.pid").unlink()
        for lock in self.folder.glob(".s.PGSQL.*.lock"):
            lock.unlink()

    def stop(self) -> None:
        """End the server and remove its folder."""
        self._keeper.terminate()
        self._keeper.wait(_PATIENCE_SECONDS)
        assert not self.folder.exists(), f"{self.folder} is left"

    def url(self, database: str = "postgres") -> str:
        """The SQLAlchemy address of one of its databases."""
        return f"postgresql+psycopg2://pinfold@127.0.0.1:{self.port}/{database}"

    def create_database(self, like: str = "") -> str:
        """Make an empty database, or a copy of the one at the address `like`, to which nobody may be connected; its address."""
        import psycopg2

        name = f"t{uuid.uuid4().hex}"
        connection = psycopg2.connect(host="127.0.0.1", port=self.port, user="pinfold", dbname="postgres")
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {name}" + (f" TEMPLATE {like.rpartition('/')[2]}" if like else ""))
        connection.close()
        return self.url(name)

    def _run(self, *command: str) -> None:
        environment = _environment() | self._more
        done = subprocess.run(command, user=self._user, cwd="/", capture_output=True, text=True, check=False, env=environment)
        assert done.returncode == 0, f"{command[0]}: {done.stdout}{done.stderr}"


def _environment() -> dict[str, str]:
    # pg_ctl's own patience with a server that starts or stops is a minute.
    return {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "PGCTLTIMEOUT": "240"}

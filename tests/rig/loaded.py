"""Programs that are loaded once and forked for each start, because loading them takes longer than most of what they do.

A fork runs the program's own `main` with the words, environment and streams of a process that is started anew, and ends as the interpreter
ends. What it has imported is all that it shares; the `openstack` client also looks more often at what it waits for. A program on another
clock or of other sources has to be started anew.

`start` is for the tests; `python -m tests.rig.loaded SOCKET NAME` is the process that has loaded the program of that name.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import io
import json
import logging
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, partialmethod
from typing import Any, Final

_MOST_REQUEST: Final = 1 << 20
_STATUS: Final = struct.Struct("=i")
_LOOK_SECONDS: Final = 0.2
_NETWORK: Final = 0x40000000  # CLONE_NEWNET


@dataclass(frozen=True, kw_only=True)
class Program:
    """What is loaded: the module with `main`, those that it imports only when it runs, and command lines that import more."""

    module: str
    more: tuple[str, ...] = ()
    tried: tuple[str, ...] = ()
    given: bool = False
    """Whether its `main` takes the words as its arguments, and its result is the exit status."""
    ready: Callable[[], None] | None = None
    """What is done once it is loaded."""


def _ask_often() -> None:
    """A client that waits for a server looks at it every 0.2 seconds. Its own defaults are 5 seconds, and 2 for a delete."""
    utils: Any = importlib.import_module("osc_lib.utils")
    compute: Any = importlib.import_module("openstack.compute.v2._proxy")
    utils.wait_for_status = partial(utils.wait_for_status, sleep_time=_LOOK_SECONDS)
    compute.Proxy.wait_for_delete = partialmethod(compute.Proxy.wait_for_delete, interval=_LOOK_SECONDS)


def _make_routes() -> None:
    """Routes are made when they are first used; each fork would make its own."""
    app: Any = importlib.import_module("pinfold.api.app")
    for router in app.ROUTERS:
        for route in router.routes:
            assert route.dependant.call is route.endpoint


PROGRAMS: Final = {
    "pinfold": Program(
        module="pinfold.wiring.command",
        more=(
            "pinfold.cli.app",
            "pinfold.wiring.host",
            "pinfold.wiring.api",
            "pinfold.wiring.up",
            "alembic.command",
            "placement.deploy",
            "placement.wsgi",
            "sqlalchemy.dialects.postgresql.psycopg2",
            "sqlalchemy.dialects.sqlite.pysqlite",
        ),
        ready=_make_routes,
    ),
    "openstack": Program(
        module="openstackclient.shell",
        tried=("server list --help", "resource provider list --help", "image list --help", "port list --help"),
        ready=_ask_often,
    ),
    "judge": Program(module="tests.survive.judge", given=True),
    "observer": Program(module="tests.real.attack.observer", given=True),
    "placement": Program(module="tests.survive.placement", more=("placement.deploy", "placement.wsgi"), given=True),
}


class Started:
    """A process that runs a program. It is a grandchild of the test's process, which hears of its end through a pipe."""

    def __init__(self, pid: int, ended: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._ended = ended

    def poll(self) -> int | None:
        """Its exit status, that of a signal less than 0; None while it runs."""
        if self.returncode is None and select.select([self._ended], [], [], 0)[0]:
            self._read()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Its exit status once it has ended. Raises `subprocess.TimeoutExpired`."""
        if self.returncode is None:
            if not select.select([self._ended], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
            self._read()
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):  # it has just ended, which is told a moment later
                os.kill(self.pid, number)

    def _read(self) -> None:
        told = os.read(self._ended, _STATUS.size)
        os.close(self._ended)
        assert told, f"the process that has loaded the program of {self.pid} ended before it"
        (self.returncode,) = _STATUS.unpack(told)


_LOADED: Final[dict[str, socket.socket]] = {}


def start(name: str, words: Sequence[str], environment: Mapping[str, str], streams: tuple[int, int, int]) -> Started:
    """Start a program with these words, environment and standard streams; it is killed when this process ends."""
    if name not in _LOADED:
        _LOADED[name] = _load(name)
    ended, told = os.pipe()
    request = json.dumps([list(words), dict(environment), os.getcwd()]).encode()
    network = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    socket.send_fds(_LOADED[name], [request], [*streams, network, told])
    os.close(network)
    os.close(told)
    answer = _LOADED[name].recv(_STATUS.size)
    assert answer, f"the process that has loaded {name} ended"
    (pid,) = _STATUS.unpack(answer)
    return Started(pid, ended)


def run(name: str, words: Sequence[str], environment: Mapping[str, str], *, timeout: float = 600.0) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, with nothing to read: its exit status, output and errors."""
    with open(os.devnull) as nothing, tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        started = start(name, words, environment, (nothing.fileno(), out.fileno(), err.fileno()))
        try:
            code = started.wait(timeout)
        finally:
            started.send_signal(signal.SIGKILL)
        texts = []
        for stream in (out, err):
            stream.seek(0)
            texts.append(stream.read())
    return subprocess.CompletedProcess([name, *words], code, *texts)


def importing() -> dict[str, str]:
    """The environment of a process that imports what this one does. Compiled modules go to a folder of the tests' own.

    Where nothing may be written beside the sources, each start would compile them anew.
    """
    found = {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    found.pop("PYTHONDONTWRITEBYTECODE", None)
    return {"PYTHONPYCACHEPREFIX": f"{tempfile.gettempdir()}/pinfold-tests-pycache"} | found


def _load(name: str) -> socket.socket:
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with its:
        # What a program keeps of its user's files as it is imported would be there in every fork.
        environment = importing() | {"HOME": os.devnull, "XDG_CONFIG_HOME": os.devnull}
        command = [sys.executable, "-m", "tests.rig.loaded", str(its.fileno()), name]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=[its.fileno()], env=environment)

    def end() -> None:
        ours.close()  # it ends then, and what it started is killed
        process.wait()

    atexit.register(end)
    return ours


def _serve(number: int, name: str) -> Callable[[], Any]:
    """Start what is asked for until nobody can ask any more. It returns in each fork, too, with what that has to do."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    program = PROGRAMS[name]
    module = importlib.import_module(program.module)
    for other in program.more:
        importlib.import_module(other)
    with contextlib.redirect_stdout(io.StringIO()):
        for line in program.tried:
            with contextlib.suppress(SystemExit):
                module.main(line.split())
    if program.ready is not None:
        program.ready()
    logging.getLogger().handlers.clear()
    gc.collect()
    gc.freeze()
    control = socket.socket(fileno=number)
    woken, waker = os.pipe()
    for end in (woken, waker):
        os.set_blocking(end, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(waker)
    told: dict[int, int] = {}
    while True:
        ready, _, _ = select.select([control, woken], [], [])
        if woken in ready:
            os.read(woken, 1 << 10)
            _tell(told)
        if control in ready:
            request, given, _, _ = socket.recv_fds(control, _MOST_REQUEST, 5)
            if not request:
                return lambda: None
            child = os.fork()
            if child == 0:
                signal.set_wakeup_fd(-1)
                control.detach()
                words = _stand_for(json.loads(request), given[:4], name, program.module)
                return partial(module.main, *words) if program.given else module.main  # type: ignore[no-any-return]
            *taken, told[child] = given
            for each in taken:
                os.close(each)
            control.send(_STATUS.pack(child))


def _tell(told: dict[int, int]) -> None:
    """Tell of each fork that has ended, and only then let its number go."""
    for child, pipe in list(told.items()):
        ended = os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if ended is not None:
            status = ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status
            with contextlib.suppress(BrokenPipeError):  # nobody wants to know
                os.write(pipe, _STATUS.pack(status))
            os.close(told.pop(child))
            os.waitpid(child, 0)


def _stand_for(request: Any, given: Sequence[int], name: str, module: str) -> list[str]:
    """Take on what a process has that is started anew: network, signals, streams, folder, environment, words. It dies with its parent.

    Its words are returned.
    """
    import ctypes

    *streams, network = given
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(1, signal.SIGKILL)
    if os.fstat(network).st_ino != os.stat("/proc/thread-self/ns/net").st_ino and libc.setns(network, _NETWORK) != 0:
        raise OSError(ctypes.get_errno(), "the network namespace cannot be entered")
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    os.closerange(3, max(int(entry) for entry in os.listdir("/proc/self/fd")) + 1)
    sys.stdin, sys.stdout = open(0, closefd=False), open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    words, environment, folder = request
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    sys.argv[:] = [name, *words]
    sys.orig_argv[:] = [sys.executable, "-m", module, *words]
    return words  # type: ignore[no-any-return]


if __name__ == "__main__":
    sys.exit(_serve(int(sys.argv[1]), sys.argv[2])())

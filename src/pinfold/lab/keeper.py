"""The process of one lab: it creates the namespaces, starts the daemons, reaps guests, and cleans up. `daemon.LabHost` starts it.

`python -m pinfold.lab.keeper FOLDER LOCK_FD`. It prints `ready`, or one sentence about the error. Then it obeys one-line commands on the
folder's control socket. It ends on `down` and on SIGTERM. It also ends when its standard input ends, that is, together with the process
that started it, unless it has read `stay` there. It stays in the machine's own namespaces, so that the clean-up sees the machine as it is.
A child creates the lab's namespaces, and each daemon enters them. `interior` sets up their content.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import libvirt

from pinfold.core.errors import PinfoldError, Unavailable
from pinfold.lab import cgroup, interior, namespace
from pinfold.lab.folder import LabFolder, guarded

_STAY: Final = b"stay\n"
_READY_SECONDS: Final = 120.0
"""libvirtd with an empty cache first asks QEMU for its capabilities. That takes a second, or much more on a busy machine."""

_PURGE_SECONDS: Final = 1.0


class Keeper:
    """One lab's daemons and namespaces."""

    def __init__(self, folder: LabFolder, lock: int) -> None:
        self.folder = folder
        self.ended = False
        self._lock = lock
        self.spec = folder.spec()
        self.daemons: dict[str, int] = {}
        self._hierarchies = cgroup.hierarchies() if self.spec.group else ()
        self._namespaces: list[tuple[int, int]] = []
        self._root = -1
        self._run = -1

    def start(self) -> None:
        """Create the lab and return when libvirtd answers. Raises `Unavailable` if it does not, `OSError` if something is not allowed."""
        interior.furnish(self.folder, self.spec)
        namespace.adopt_orphans()
        if self.spec.group:
            cgroup.create(self._hierarchies, self.spec.group)
        self._make_namespaces()
        self._run = os.open(self.folder.run, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._spawn("virtlogd", {})
        self.start_libvirtd()

    def start_libvirtd(self) -> None:
        """Start libvirtd if it does not run, and return when it answers."""
        if "libvirtd" not in self.daemons:
            preloaded = ([interior.SHIM] if self.spec.synthetic else []) + os.environ.get("LD_PRELOAD", "").split()
            self._spawn("libvirtd", {"LD_PRELOAD": " ".join(preloaded)} if preloaded else {})
        deadline = time.monotonic() + _READY_SECONDS
        while not self._answers():
            if "libvirtd" not in self.daemons:
                raise Unavailable(f"libvirtd ended at once; it said last: {self._last_words()}")
            if time.monotonic() > deadline:
                raise Unavailable(f"libvirtd did not answer within {_READY_SECONDS:.0f} s; it said last: {self._last_words()}")
            time.sleep(0.02)

    def _answers(self) -> bool:
        """Whether libvirtd lets a client in. Goes on reaping: as it starts, libvirtd waits until the QEMU that it asked for its
        capabilities is gone, an orphan that only this process can reap, and lets nobody in before.
        """
        with ThreadPoolExecutor(max_workers=1) as asker:
            answers = asker.submit(_lets_in, self.folder.uri)
            while not answers.done():
                self.reap()
                time.sleep(0.02)
            self.reap()
            return answers.result()

    def end_libvirtd(self, sent: signal.Signals) -> None:
        """End libvirtd and return when it has ended. Guests keep running."""
        pid = self.daemons.get("libvirtd")
        if pid is None:
            return
        os.kill(pid, sent)
        deadline = time.monotonic() + 10.0
        while "libvirtd" in self.daemons:
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
            self.reap()
            time.sleep(0.01)

    def _last_words(self) -> str:
        lines = (self.folder.path / "log/libvirtd.log").read_text(errors="replace").split("\n")
        return next((line for line in reversed(lines) if line.strip()), "nothing")

    def reap(self) -> None:
        """Reap every child that has ended: daemons, and guests, which are orphans of libvirtd."""
        while True:
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for name, known in list(self.daemons.items()):
                if known == pid:
                    del self.daemons[name]

    def purge(self) -> None:
        """Delete the records of threads that have ended, before their ids are used again."""
        with contextlib.suppress(FileNotFoundError):
            for entry in os.listdir(self.folder.records):
                writer = entry.rpartition(".")[2]  # the name of a record (a thread id), or of an unfinished record
                if not os.path.exists(f"/proc/{writer}"):
                    (self.folder.records / entry).unlink(missing_ok=True)

    def end(self) -> None:
        """End daemons and guests, and remove the lab's folder and cgroups."""
        for fd in (*(fd for _, fd in self._namespaces), self._root, self._run):
            if fd >= 0:
                os.close(fd)
        self._namespaces.clear()
        self._root = self._run = -1
        with contextlib.suppress(ProcessLookupError):
            self.end_libvirtd(signal.SIGTERM)
        previous = signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps while the guests end
        try:
            with guarded():
                self.folder.remove(self.spec, self._lock)
            self.ended = True
        finally:
            signal.signal(signal.SIGCHLD, previous)

    def _make_namespaces(self) -> None:
        made_read, made_write = os.pipe()
        go_read, go_write = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(go_write)
            try:
                if self.spec.group:
                    cgroup.become_root(self._hierarchies, self.spec.group)
                interior.mount(self.folder, self.spec, self._hierarchies)
                os.write(made_write, b"+")
            except BaseException as error:  # the parent reports the error; this process only ends
                os.write(made_write, str(error).encode())
            os.read(go_read, 1)
            os._exit(0)
        os.close(made_write)
        os.close(go_read)
        said = os.read(made_read, 4096)
        os.close(made_read)
        if said == b"+":
            self._root = os.open(f"/proc/{child}/root", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            for kind, name in ((namespace.CLONE_NEWCGROUP, "cgroup"), (namespace.CLONE_NEWNS, "mnt")):
                if kind == namespace.CLONE_NEWNS or self.spec.group:
                    self._namespaces.append((kind, os.open(f"/proc/{child}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC)))
        os.close(go_write)
        os.waitpid(child, 0)
        if said != b"+":
            raise Unavailable(f"the lab's namespaces cannot be made: {said.decode() or 'the process that makes them ended'}")

    def _spawn(self, name: str, environment: dict[str, str]) -> None:
        with open(self.folder.path / f"log/{name}.log", "ab") as log:
            try:
                process = subprocess.Popen(
                    [interior.program(name), "-p", f"/run/libvirt/{name}-lab.pid"],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env={**_daemon_environment(), **environment},
                    start_new_session=True,
                    preexec_fn=self._enter,
                )
            except subprocess.SubprocessError as error:
                raise Unavailable(f"{name} cannot be started inside the lab: {error}") from error
        self.daemons[name] = process.pid
        process.returncode = 0  # `reap` waits for it, not `subprocess`

    def _enter(self) -> None:
        if self.spec.group:
            cgroup.join(self._hierarchies, self.spec.group)
        for kind, fd in self._namespaces:
            namespace.enter(fd, kind)
        # Entering a mount namespace leaves a chroot. Start nothing that would see the machine's own /run/libvirt.
        os.fchdir(self._root)
        os.chroot(".")
        if not os.path.samefile("/run/libvirt", self._run):
            raise RuntimeError("the lab's folders are not in place")
        namespace.die_with_parent(signal.SIGTERM)


def _daemon_environment() -> dict[str, str]:
    keep = ("PATH", "LANG", "TMPDIR", "PINFOLD_CLOCK")  # the last one is a test's clock, see tests/survive/clock.c
    # libvirt needs a home; root's daemon stores nothing in it.
    return {"PATH": os.defpath, "HOME": "/", **{name: os.environ[name] for name in keep if name in os.environ}}


def _lets_in(uri: str) -> bool:
    try:
        connection = libvirt.open(uri)
    except libvirt.libvirtError:
        return False
    connection.close()
    return True


def _obey(keeper: Keeper, command: str) -> bool:
    """Obey one line. Returns False for `down`, the last command."""
    match command:
        case "restart":
            keeper.end_libvirtd(signal.SIGTERM)
            keeper.start_libvirtd()
        case "start":
            keeper.start_libvirtd()
        case "kill":
            keeper.end_libvirtd(signal.SIGKILL)
        case "down":
            return False
        case _:
            raise Unavailable(f"the keeper does not know {command!r}; it knows restart, start, kill and down")
    return True


def _serve(keeper: Keeper, control: socket.socket) -> None:
    """Obey commands, reap and purge until the keeper must end."""
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    os.set_blocking(wake_read, False)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    ending = False

    def end(*_: object) -> None:
        nonlocal ending
        ending = True

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, end)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    watched = [control.fileno(), wake_read, 0]
    while not ending:
        ready, _, _ = select.select(watched, [], [], _PURGE_SECONDS)
        keeper.reap()
        if wake_read in ready:
            os.read(wake_read, 4096)
        if 0 in ready:
            if os.read(0, 16) != _STAY:
                return
            watched.remove(0)
        if control.fileno() in ready:
            connection, _ = control.accept()
            with connection:
                ending |= _answer(keeper, connection)
        keeper.purge()


def _answer(keeper: Keeper, connection: socket.socket) -> bool:
    """Read one command, obey it and answer. Returns whether it was the last: after `down` nothing runs, even if files had to stay."""
    connection.settimeout(5.0)
    last = False
    try:
        command = connection.makefile().readline().strip()
        last = not _obey(keeper, command)
        if last:
            keeper.end()
        said = "ok"
    except (PinfoldError, OSError) as error:
        said = str(error)
    with contextlib.suppress(OSError):
        connection.sendall(said.encode() + b"\n")
    return last


def main(path: str, lock_fd: str) -> int:
    """Run the lab in the folder `path` until told to end. Returns the exit status."""
    os.set_inheritable(int(lock_fd), False)
    libvirt.registerErrorHandler(lambda *_: None, None)  # libvirt would print the errors of polling
    keeper = Keeper(LabFolder(Path(path)), int(lock_fd))
    (keeper.folder.path / "keeper.pid").write_text(f"{os.getpid()}\n")
    control = socket.socket(socket.AF_UNIX)
    said = ""
    try:
        keeper.start()
        control.bind(str(keeper.folder.control))
        control.listen()
        print("ready", flush=True)
        _silence_output(keeper.folder)
        _serve(keeper, control)
    except (PinfoldError, OSError) as error:
        said = str(error)
    finally:
        control.close()
    try:
        if not keeper.ended:
            keeper.end()
    except (PinfoldError, OSError) as error:
        said = f"{said or 'the lab ended'}, and was not cleaned up: {error}"
    if said:
        print(said.replace("\n", " "), flush=True)
    return int(bool(said))


def _silence_output(folder: LabFolder) -> None:
    with open(folder.path / "log/keeper.log", "ab") as log:
        for fd in (1, 2):
            os.dup2(log.fileno(), fd)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

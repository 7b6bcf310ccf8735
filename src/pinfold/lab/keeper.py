"""The process that holds one lab: it makes the namespaces, starts the daemons, reaps guests, and cleans up. `daemon.LabHost` starts it.

`python -m pinfold.lab.keeper FOLDER LOCK_FD`. It prints `ready`, or one sentence of what went wrong. While it runs it obeys one-line
commands on the folder's control socket. It ends on `down`, on SIGTERM, and when its standard input ends before it read `stay` there: with
the process that started it, then. It stays in the machine's own
namespaces; a child makes the lab's, and each daemon enters them, so that the clean-up sees the machine as it is.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from importlib import resources
from pathlib import Path
from typing import Final

import libvirt

from pinfold.core.cpuset import CpuSet
from pinfold.core.errors import PinfoldError, Unavailable
from pinfold.lab import cgroup, namespace
from pinfold.lab.folder import LabFolder, LabSpec

_STAY: Final = b"stay\n"
_READY_SECONDS: Final = 30.0
_PURGE_SECONDS: Final = 1.0
_HUGE: Final = "/run/libvirt/huge-"
_SHIM: Final = "/run/libvirt/shim/fakecpu.so"
_PRIVATE: Final = {
    "etc": "/etc/libvirt",
    "run": "/run/libvirt",
    "lib": "/var/lib/libvirt",
    "log": "/var/log/libvirt",
}


class Keeper:
    """One lab's daemons and namespaces."""

    def __init__(self, folder: LabFolder) -> None:
        self.folder = folder
        self.spec = folder.spec()
        self.daemons: dict[str, int] = {}
        self._hierarchies = cgroup.hierarchies() if self.spec.group else ()
        self._namespaces: list[tuple[int, int]] = []
        self._root = -1
        self._run = -1

    def start(self) -> None:
        """Make the lab and return when libvirtd answers. Raises `Unavailable` when it does not, `OSError` for what is not allowed."""
        _write_configuration(self.folder, self.spec)
        namespace.adopt_orphans()
        if self.spec.group:
            cgroup.create(self._hierarchies, self.spec.group)
        self._make_namespaces()
        self._run = os.open(self.folder.run, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._spawn("virtlogd", {})
        self.start_libvirtd()

    def start_libvirtd(self) -> None:
        """Start libvirtd where it does not run, and return when it answers."""
        if "libvirtd" not in self.daemons:
            self._spawn("libvirtd", {"LD_PRELOAD": _SHIM} if self.spec.synthetic else {})
        deadline = time.monotonic() + _READY_SECONDS
        while not _answers(self.folder.uri):
            self.reap()
            if "libvirtd" not in self.daemons:
                raise Unavailable(f"libvirtd ended at once; it said last: {self._last_words()}")
            if time.monotonic() > deadline:
                raise Unavailable(f"libvirtd did not answer within {_READY_SECONDS:.0f} s; it said last: {self._last_words()}")
            time.sleep(0.02)

    def end_libvirtd(self, sent: signal.Signals) -> None:
        """End libvirtd and return when it has ended; guests go on."""
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
        """Collect every child that has ended: daemons, and guests, which are orphans of libvirtd."""
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
        """Forget what was asked for threads that have ended, before their ids are used again."""
        with contextlib.suppress(FileNotFoundError):
            for entry in os.listdir(self.folder.records):
                writer = entry.rpartition(".")[2]  # of a record (its own thread), or of one that was never finished
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
            self.folder.remove()
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
                _mount_private(self.folder, self.spec, self._hierarchies)
                os.write(made_write, b"+")
            except BaseException as error:  # the parent tells; this process only ends
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
        program = _program(name)
        with open(self.folder.path / f"log/{name}.log", "ab") as log:
            try:
                process = subprocess.Popen(
                    [program, "-p", f"/run/libvirt/{name}-lab.pid"],
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
        # Entering a mount namespace leaves a chroot; nothing may start that would see the machine's own /run/libvirt.
        os.fchdir(self._root)
        os.chroot(".")
        if not os.path.samefile("/run/libvirt", self._run):
            raise RuntimeError("the lab's folders are not in place")
        namespace.die_with_parent(signal.SIGTERM)


def _mount_private(folder: LabFolder, spec: LabSpec, found: tuple[cgroup.Hierarchy, ...]) -> None:
    namespace.private_mounts()
    for hierarchy in found:
        for point in (*hierarchy.elsewhere, hierarchy.mount):  # the source lies below the last
            namespace.bind(hierarchy.mount / spec.group, point)
    for name, target in _PRIVATE.items():
        Path(target).mkdir(parents=True, exist_ok=True)
        namespace.bind(folder.path / name, Path(target))
    Path("/var/cache/libvirt").mkdir(parents=True, exist_ok=True)
    namespace.bind(_cache(spec), Path("/var/cache/libvirt"))
    # Without D-Bus libvirt makes cgroups itself, and never asks the machine's systemd for a scope.
    if Path("/run/dbus").is_dir():
        namespace.mount("tmpfs", Path("/run/dbus"), "size=4k,mode=755")
    if not spec.kvm and Path("/dev/kvm").exists():
        # libvirt takes what it may read and write there for a working KVM, so this may not be written.
        nothing = folder.path / "no-kvm"
        nothing.touch()
        namespace.bind(nothing, Path("/dev/kvm"))
        namespace.make_read_only(Path("/dev/kvm"))
    for kib in spec.huge_page_kib:
        path = Path(f"{_HUGE}{kib}")
        path.mkdir()
        if spec.synthetic:
            namespace.mount("tmpfs", path)
        else:
            namespace.mount("hugetlbfs", path, f"pagesize={kib}K")
    if spec.synthetic:
        for part in ("cpu", "node"):
            namespace.bind(folder.path / "sys/devices/system" / part, Path("/sys/devices/system") / part)
        _compile_shim(spec)


def _compile_shim(spec: LabSpec) -> None:
    """Compile the shim onto a file system of its own: `/run` may be mounted noexec."""
    where = Path(_SHIM).parent
    where.mkdir()
    namespace.mount("tmpfs", where, "size=1m,mode=755")
    constants = {"ONLINE": spec.online, "REAL": str(CpuSet(os.sched_getaffinity(0))), "RECORDS": "/run/libvirt/fakecpu", "HUGE": _HUGE}
    defines = [f'-DLAB_{name}="{text}"' for name, text in constants.items()]
    with resources.as_file(resources.files("pinfold.lab") / "shim.c") as source:
        command = ["gcc", "-shared", "-fPIC", "-O1", "-Wall", *defines, "-o", _SHIM, str(source), "-ldl"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unavailable(f"gcc cannot compile the lab's shim: {done.stderr.strip()}")


def _cache(spec: LabSpec) -> Path:
    """What libvirt found out about QEMU, kept between labs: asking anew takes seconds. A lab without KVM has its own."""
    path = LabFolder.named(spec.name).path.parent / (".cache-kvm" if spec.kvm else ".cache-tcg")
    path.mkdir(exist_ok=True)
    return path


def _write_configuration(folder: LabFolder, spec: LabSpec) -> None:
    for name in ("etc/qemu", "run", "lib/qemu", "lib/images", "lib/boot", "log"):
        (folder.path / name).mkdir(parents=True, exist_ok=True)
    if spec.synthetic:
        folder.records.mkdir(exist_ok=True)
    host_uuid = uuid.uuid5(uuid.NAMESPACE_URL, f"{folder.uri}#{uuid.getnode()}")
    _write_lines(
        folder.path / "etc/libvirtd.conf",
        'auth_unix_rw = "none"',
        'unix_sock_rw_perms = "0700"',
        f'host_uuid = "{host_uuid}"',
    )
    qemu = ['user = "root"', 'group = "root"', 'security_driver = "none"', "namespaces = []"]
    if spec.huge_page_kib:
        mounts = ", ".join(f'"{_HUGE}{kib}"' for kib in spec.huge_page_kib)
        qemu.append(f"hugetlbfs_mount = [{mounts}]")
    if not spec.cgroups:
        qemu.append("cgroup_controllers = []")
    _write_lines(folder.path / "etc/qemu.conf", *qemu)
    for name in ("virtlogd.conf", "qemu-lockd.conf"):
        _write_lines(folder.path / "etc" / name)


def _write_lines(path: Path, *lines: str) -> None:
    path.write_text("".join(f"{line}\n" for line in lines))


def _program(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
    if found is None:
        raise Unavailable(f"{name} is not installed; Debian and Ubuntu have it in libvirt-daemon-system")
    return found


def _daemon_environment() -> dict[str, str]:
    keep = ("PATH", "LANG", "TMPDIR")
    return {"PATH": os.defpath, "HOME": "/root", **{name: os.environ[name] for name in keep if name in os.environ}}


def _answers(uri: str) -> bool:
    try:
        connection = libvirt.open(uri)
    except libvirt.libvirtError:
        return False
    connection.close()
    return True


def _obey(keeper: Keeper, command: str) -> bool:
    """Do what one line says. Returns False for the last command there is."""
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
    """Obey commands, reap and purge until told to end."""
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
    """Read one command, obey it and say so. Returns whether it was the last."""
    connection.settimeout(5.0)
    try:
        command = connection.makefile().readline().strip()
        last = not _obey(keeper, command)
        if last:
            keeper.end()
        said = "ok"
    except (PinfoldError, OSError) as error:
        last, said = False, str(error)
    with contextlib.suppress(OSError):
        connection.sendall(said.encode() + b"\n")
    return last


def main(path: str, lock_fd: str) -> int:
    """Keep the lab in the folder `path` until told to end. Returns the exit status."""
    os.set_inheritable(int(lock_fd), False)
    libvirt.registerErrorHandler(lambda *_: None, None)  # it would print what we poll for
    keeper = Keeper(LabFolder(Path(path)))
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
        if keeper.folder.path.exists():
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

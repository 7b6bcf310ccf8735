"""`LabHost`: a private libvirtd with the real topology or a synthetic one, as a context manager. Its process is `keeper`.

A lab needs root for its namespaces. It never touches the machine's own libvirtd: its daemons have their own `/etc/libvirt`,
`/run/libvirt`, `/var/{lib,log,cache}/libvirt` and cgroups, and no D-Bus. In a synthetic lab libvirtd sees the synthetic pCPUs, and a shim
(`shim.c`) records the requested affinities without enforcing them.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from pinfold.core.errors import Unavailable
from pinfold.core.topology import Topology
from pinfold.lab import cgroup, sysfs, witness
from pinfold.lab.folder import LabFolder, reap, remove_dead
from pinfold.lab.record import LabSpec

_COMMAND_SECONDS: Final = 240.0


class LabHost:
    """One lab host. Use it as a context manager, or call `up` and `down`. With `detached` it outlives this process.

    With `topology` it is synthetic and has no cgroups. Without, it has the machine's topology, and cgroups unless switched off.
    `kvm=False` hides `/dev/kvm`, so that guests are emulated (TCG). `topology_text` is the topology shown to people. `fleet` is the common
    name of several hosts that were started together. `spec` is what another process recorded of a lab that it started.
    """

    def __init__(
        self,
        name: str,
        *,
        topology: Topology | None = None,
        topology_text: str = "",
        cgroups: bool = True,
        kvm: bool = True,
        detached: bool = False,
        fleet: str = "",
        spec: LabSpec | None = None,
    ) -> None:
        self.folder = LabFolder.named(name)
        self._topology = topology
        self._detached = detached
        self._process: subprocess.Popen[str] | None = None
        if spec is not None:
            self.spec = spec
            return
        confined = cgroups and topology is None and cgroup.version(cgroup.hierarchies()) != "none"
        if cgroups and topology is None and not confined:
            raise Unavailable("this machine has no cpuset cgroup; use a lab without cgroups")
        self.spec = LabSpec(
            name=name,
            synthetic=topology is not None,
            topology=topology_text or ("synthetic" if topology else "the machine's own"),
            cgroups=confined,
            kvm=kvm and Path("/dev/kvm").exists(),
            online=str(topology.online) if topology else "",
            huge_page_kib=_huge_pages(topology),
            group=f"pinfold-lab-{name}-{os.getpid()}" if confined else "",
            fleet=fleet,
        )

    @classmethod
    def of(cls, folder: LabFolder) -> LabHost:
        """A lab that another process started. Raises `InvalidRequest` if there is none."""
        spec = folder.spec()
        return cls(spec.name, detached=True, spec=spec)

    @property
    def uri(self) -> str:
        """The libvirt URI, for this process and any other on the machine."""
        return self.folder.uri

    @property
    def run_dir(self) -> Path:
        """The folder that the lab's libvirtd sees as `/run/libvirt`."""
        return self.folder.run

    @property
    def keeper(self) -> int:
        """The process id of the keeper."""
        return int((self.folder.path / "keeper.pid").read_text())

    @property
    def synthetic(self) -> bool:
        """Whether its topology is synthetic, so that affinities are recorded and not enforced."""
        return self.spec.synthetic

    @property
    def kvm(self) -> bool:
        """Whether guests may use KVM."""
        return self.spec.kvm

    @property
    def cgroups(self) -> str:
        """The cgroup version that confines guests: `v1`, `v2` or `none`."""
        return cgroup.version(cgroup.hierarchies()) if self.spec.cgroups else "none"

    @property
    def witness(self) -> str:
        """The witness of threads' masks, by its name in the driver port."""
        return witness.SYNTHETIC if self.synthetic else witness.REAL

    def up(self) -> Self:
        """Start the lab and return when it answers. Raises `Conflict` if the name is taken, `Unavailable` if it cannot start."""
        _require_root()
        reap()
        lock = self.folder.begin(self.spec)
        try:
            self._prepare()
            self._start_keeper(lock)
        finally:
            os.close(lock)
        return self

    def down(self) -> None:
        """End the lab and its guests, and remove its folder. A lab that does not exist is no error."""
        if self._process is not None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            self._process.wait(_COMMAND_SECONDS)
            self._process = None
            remove_dead(self.folder)
        else:
            end(self.folder)

    def restart_daemon(self) -> None:
        """Stop libvirtd cleanly and start it again while its guests run."""
        command(self.folder, "restart")

    def kill_daemon(self) -> None:
        """Kill libvirtd with SIGKILL. Guests keep running; nothing answers until `start_daemon`."""
        command(self.folder, "kill")

    def start_daemon(self) -> None:
        """Start libvirtd after `kill_daemon`."""
        command(self.folder, "start")

    def __enter__(self) -> Self:
        return self.up()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.down()

    def _prepare(self) -> None:
        if self._topology is not None:
            sysfs.write(self._topology, self.folder.path / "sys")
        self.folder.run.mkdir()
        mark = {"name": self.spec.name, "synthetic": self.synthetic, "topology": self.spec.topology}
        if self.synthetic:
            mark |= {"records": str(self.folder.records), "sysfs": str(self.folder.path / "sys")}
        (self.folder.run / witness.MARKER).write_text(json.dumps(mark) + "\n")

    def _start_keeper(self, lock: int) -> None:
        process = subprocess.Popen(
            [sys.executable, "-m", "pinfold.lab.keeper", str(self.folder.path), str(lock)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            pass_fds=(lock,),
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, _import_path()))},
        )
        assert process.stdout is not None
        try:
            with process.stdout:
                said = process.stdout.readline().strip()
        except BaseException:  # Ctrl-C: the keeper has its own session and would keep running
            process.terminate()
            process.wait(_COMMAND_SECONDS)
            raise
        if said != "ready":
            process.wait(_COMMAND_SECONDS)
            raise Unavailable(f"lab {self.spec.name!r} did not start: {said or 'its keeper ended'}")
        if self._detached:
            assert process.stdin is not None
            with process.stdin:
                process.stdin.write("stay\n")
            process.returncode = 0  # it outlives this process
        else:
            self._process = process


def command(folder: LabFolder, text: str) -> None:
    """Send one command to a lab's keeper and return when it is done. Raises `Unavailable` with the keeper's error, or if it is away."""
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as control:
        control.settimeout(_COMMAND_SECONDS)
        try:
            control.connect(str(folder.control))
            control.sendall(text.encode() + b"\n")
            said = control.makefile().readline().strip()
        except OSError as error:
            raise Unavailable(f"the keeper of lab {folder.path.name!r} does not answer: {error}") from error
    if said != "ok":
        raise Unavailable(f"lab {folder.path.name!r}: {said or 'its keeper ended'}")


def end(folder: LabFolder) -> None:
    """End the lab in that folder, running or left behind, and its guests. A lab that does not exist is no error.

    Raises `InvalidRequest` for a folder with an untrusted record, `Conflict` if the folder cannot be removed.
    """
    if folder.held():
        command(folder, "down")
    remove_dead(folder)


def missing() -> tuple[str, ...]:
    """What a lab needs and this machine lacks, one sentence each; empty if a lab can be started."""
    found = []
    if os.geteuid() != 0:
        found.append("root, for the namespaces of a lab")
    packages = {
        "libvirtd": "libvirt-daemon-system",
        "virtlogd": "libvirt-daemon-system",
        "qemu-system-x86_64": "qemu-system-x86",
        "gcc": "gcc",
        "objcopy": "binutils",
    }
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    found += [f"{program}, of the package {package}" for program, package in packages.items() if shutil.which(program, path=path) is None]
    return tuple(found)


def _require_root() -> None:
    lacking = missing()
    if lacking:
        raise Unavailable(f"a lab cannot be had here; it needs {'; '.join(lacking)}")


def _import_path() -> list[Path]:
    return [Path(entry) for entry in sys.path if entry]


def _huge_pages(topology: Topology | None) -> tuple[int, ...]:
    if topology is None:
        sizes = Path("/sys/kernel/mm/hugepages").glob("hugepages-*kB")
        return tuple(sorted(int(size.name.removeprefix("hugepages-").removesuffix("kB")) for size in sizes))
    return tuple(sorted({pool.size_kib for cell in topology.cells for pool in cell.pages[1:]}))

"""The inside of a lab: folders, the daemons' configuration, and the mounts that put them where libvirt looks. `keeper` runs processes."""

from __future__ import annotations

import os
import shutil
import subprocess
import uuid
from importlib import resources
from pathlib import Path
from typing import Final

from pinfold.core.cpuset import CpuSet
from pinfold.core.errors import Unavailable
from pinfold.lab import cgroup, namespace
from pinfold.lab.folder import LabFolder
from pinfold.lab.record import LabSpec

DAEMONS: Final = ("virtlogd", "libvirtd")
SHIM: Final = "/run/libvirt/shim/fakecpu.so"

_HUGE: Final = "/run/libvirt/huge-"
_PRIVATE: Final = {
    "etc": "/etc/libvirt",
    "run": "/run/libvirt",
    "lib": "/var/lib/libvirt",
    "log": "/var/log/libvirt",
}


def program(name: str) -> str:
    """The path of a daemon inside the lab.

    It differs from the distribution's path, because AppArmor's profile for that path denies the daemon the lab's folders and does not pass
    the shim on to QEMU.
    """
    return f"/run/libvirt/bin/{name}"


def furnish(folder: LabFolder, spec: LabSpec) -> None:
    """Create the lab's folders and write the daemons' configuration."""
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


def mount(folder: LabFolder, spec: LabSpec, found: tuple[cgroup.Hierarchy, ...]) -> None:
    """Give this process a mount namespace with the lab's folders, cgroups and topology in the places where libvirt looks.

    Raises `OSError` if something is not allowed, `Unavailable` if something is missing.
    """
    namespace.private_mounts()
    for hierarchy in found:
        for point in (*hierarchy.elsewhere, hierarchy.mount):  # the source of the bind mounts is below the last one
            namespace.bind(hierarchy.mount / spec.group, point)
    for name, target in _PRIVATE.items():
        Path(target).mkdir(parents=True, exist_ok=True)
        namespace.bind(folder.path / name, Path(target))
    Path("/var/cache/libvirt").mkdir(parents=True, exist_ok=True)
    namespace.bind(cache(spec), Path("/var/cache/libvirt"))
    for name in DAEMONS:
        (folder.run / "bin").mkdir(exist_ok=True)
        (folder.run / "bin" / name).touch()
        namespace.bind(_installed(name), Path(program(name)))
    # Without D-Bus libvirt creates cgroups itself and does not ask the machine's systemd for a scope.
    if Path("/run/dbus").is_dir():
        namespace.mount("tmpfs", Path("/run/dbus"), "size=4k,mode=755")
    if not spec.kvm and Path("/dev/kvm").exists():
        # libvirt takes a readable and writable file for a working KVM, so this one is not writable.
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
    """Compile the shim onto its own file system, because `/run` may be mounted noexec."""
    where = Path(SHIM).parent
    where.mkdir()
    namespace.mount("tmpfs", where, "size=1m,mode=755")
    constants = {"ONLINE": spec.online, "REAL": str(CpuSet(os.sched_getaffinity(0))), "RECORDS": "/run/libvirt/fakecpu", "HUGE": _HUGE}
    defines = [f'-DLAB_{name}="{text}"' for name, text in constants.items()]
    with resources.as_file(resources.files("pinfold.lab") / "shim.c") as source:
        command = ["gcc", "-shared", "-fPIC", "-O1", "-Wall", *defines, "-o", SHIM, str(source), "-ldl"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unavailable(f"gcc cannot compile the lab's shim: {done.stderr.strip()}")


def cache(spec: LabSpec) -> Path:
    """libvirt's cache of QEMU capabilities, kept between labs because probing takes seconds. Labs without KVM have a separate one.

    Raises `Unavailable` for a link in its place.
    """
    path = LabFolder.named(spec.name).path.parent / (".cache-kvm" if spec.kvm else ".cache-tcg")
    if path.is_symlink():
        raise Unavailable(f"{path} is a link; remove it, so that the lab can keep libvirt's cache there")
    if path.is_symlink():
        raise Unavailable(f"{path} is a link; remove it, so that the lab can keep libvirt's cache there")
    path.mkdir(exist_ok=True)
    return path


def _installed(name: str) -> Path:
    found = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
    if found is None:
        raise Unavailable(f"{name} is not installed; Debian and Ubuntu have it in libvirt-daemon-system")
    return Path(found)

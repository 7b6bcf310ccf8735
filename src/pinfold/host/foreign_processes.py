"""Find the processes of this machine that belong to no guest, and the pCPUs that each of their threads may run on."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Final

import msgspec

from pinfold.core.cpuset import CpuSet
from pinfold.core.drift import Process
from pinfold.core.errors import Unavailable
from pinfold.linux import mount_namespace, procfs

_FOLDER: Final = re.compile(r"(/[^\s\"',]*)/domain-[0-9]+-")
"""The folder of a libvirt in the path of one of its guests' folders."""
_LAB_MARK: Final = "/run/libvirt/pinfold-lab.json"
"""Where the processes of a lab see the lab's description."""
_LAB_MARK_BYTES: Final = 64 * 1024
_LAB_NAME: Final = "^[a-z][a-z0-9-]{0,40}$"


class _LabMark(msgspec.Struct, frozen=True, kw_only=True):
    """A lab's description; its other keys do not matter here."""

    name: Annotated[str, msgspec.Meta(pattern=_LAB_NAME)]
    synthetic: bool


def foreign_processes(guests: Collection[int], *, proc: Path = procfs.PROC) -> tuple[Process, ...]:
    """Every process but the guests' (by process id) and the kernel's threads, ordered by id. Raises `Unavailable` without procfs."""
    try:
        pids = sorted(int(entry.name) for entry in proc.iterdir() if entry.name.isdigit())
    except OSError as error:
        raise Unavailable(f"{proc} cannot be read: {error.strerror}") from error
    found = []
    for pid in pids:
        if pid in guests:
            continue
        threads = [thread for thread in procfs.threads(pid, proc=proc) if not thread.in_kernel]
        if threads:
            machine, folder = _machine(procfs.arguments(pid, proc=proc))
            keeper, folded = _keeper(pid, folder, proc) if machine else ("", False)
            allowed = tuple(thread.allowed for thread in threads)
            found.append(Process(pid=pid, name=threads[0].comm, allowed=allowed, machine=machine, keeper=keeper, folded=folded))
    return tuple(found)


def default_set(processes: Collection[Process]) -> CpuSet:
    """The set that the host gives every process: that of the init process, or the empty set where it is not readable."""
    return next((process.allowed[0] for process in processes if process.pid == 1), CpuSet())


def _machine(arguments: Sequence[str]) -> tuple[str, str]:
    """The virtual machine that a process runs and the folder of its libvirt as the process sees it, from its command line.

    The folder is '' without a libvirt. `('', '')` if it is no virtual machine.

    libvirt passes the guest's name (`-name guest=NAME,…`) and the path of a secret in the guest's folder below libvirt's.

    >>> _machine(["/usr/bin/qemu-system-x86_64", "-name", "guest=web,debug-threads=on", "-object", "/var/lib/libvirt/qemu/domain-1-web/x"])
    ('guest web', '/var/lib/libvirt/qemu')
    >>> _machine(["/usr/bin/kvm", "-id", "104"]), _machine(["/usr/bin/sleep", "9"])
    (('a virtual machine', ''), ('', ''))
    """
    program = arguments[0].rpartition("/")[2] if arguments else ""
    if not (program.startswith("qemu-system-") or program in ("qemu-kvm", "kvm", "qemu")):
        return "", ""
    name = next((value for option, value in pairwise(arguments) if option == "-name"), "")
    called = re.match(r"(?:guest=)?([^,=]{1,200})(?:,|\Z)", name)
    folder = next((match[1] for argument in arguments if (match := _FOLDER.search(argument)) is not None), "")
    return f"guest {called[1]}" if called else "a virtual machine", folder


def _keeper(pid: int, folder: str, proc: Path) -> tuple[str, bool]:
    """Who runs virtual machine `pid`, and whether it is a synthetic lab, which folds its guests onto real CPUs.

    `folder` is named only where it is the same folder to an operator of this machine; a lab's or a container's libvirt has its own.
    """
    if not folder:
        return "no libvirt", False
    if mount_namespace.leads_to_the_same(pid, folder, proc=proc):
        return f"the libvirt that keeps its guests in {folder}", False
    try:
        lab = msgspec.json.decode(mount_namespace.content(pid, _LAB_MARK, most_bytes=_LAB_MARK_BYTES, proc=proc), type=_LabMark)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return "another libvirt, in a mount namespace of its own", False
    return f"lab {lab.name}", lab.synthetic

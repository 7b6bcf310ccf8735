"""Find the processes of this machine that belong to no guest, and the pCPUs that each of their threads may run on."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final

from pinfold.core.cpuset import CpuSet
from pinfold.core.drift import Process
from pinfold.core.errors import Unavailable
from pinfold.linux import procfs

_FOLDER: Final = re.compile(r"(/[^\s\"',]*)/domain-[0-9]+-")
"""The folder of a libvirt in the path of one of its guests' folders."""


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
            machine, keeper = _machine(procfs.arguments(pid, proc=proc))
            allowed = tuple(thread.allowed for thread in threads)
            found.append(Process(pid=pid, name=threads[0].comm, allowed=allowed, machine=machine, keeper=keeper))
    return tuple(found)


def default_set(processes: Collection[Process]) -> CpuSet:
    """The set that the host gives every process: that of the init process, or the empty set where it is not readable."""
    return next((process.allowed[0] for process in processes if process.pid == 1), CpuSet())


def _machine(arguments: Sequence[str]) -> tuple[str, str]:
    """The virtual machine that a process runs and who manages it, from its command line; `('', '')` if it is none.

    libvirt passes the guest's name (`-name guest=NAME,…`) and the path of a secret in the guest's folder below libvirt's.

    >>> _machine(["/usr/bin/qemu-system-x86_64", "-name", "guest=web,debug-threads=on", "-object", "/var/lib/libvirt/qemu/domain-1-web/x"])
    ('guest web', 'the libvirt that keeps its guests in /var/lib/libvirt/qemu')
    >>> _machine(["/usr/bin/kvm", "-id", "104"]), _machine(["/usr/bin/sleep", "9"])
    (('a virtual machine', 'no libvirt'), ('', ''))
    """
    program = arguments[0].rpartition("/")[2] if arguments else ""
    if not (program.startswith("qemu-system-") or program in ("qemu-kvm", "kvm", "qemu")):
        return "", ""
    name = next((value for option, value in pairwise(arguments) if option == "-name"), "")
    called = re.match(r"(?:guest=)?([^,=]{1,200})(?:,|\Z)", name)
    folder = next((match[1] for argument in arguments if (match := _FOLDER.search(argument)) is not None), "")
    keeper = f"the libvirt that keeps its guests in {folder}" if folder else "no libvirt"
    return f"guest {called[1]}" if called else "a virtual machine", keeper

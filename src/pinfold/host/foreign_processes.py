"""Find the processes of this machine that belong to no guest, and the pCPUs that each of their threads may run on."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from msgspec.structs import replace

from pinfold.core.cpuset import CpuSet
from pinfold.core.drift import Process
from pinfold.drivers.registry import machine_of
from pinfold.linux import procfs


def foreign_processes(guests: Collection[int], *, proc: Path = procfs.PROC) -> tuple[Process, ...]:
    """Every process but the guests' (by process id) and the kernel's threads, ordered by id. Raises `Unavailable` without procfs."""
    found = []
    for pid in procfs.process_ids(proc=proc):
        if pid in guests:
            continue
        threads = [thread for thread in procfs.threads(pid, proc=proc) if not thread.in_kernel]
        if threads:
            allowed, machine = tuple(thread.allowed for thread in threads), machine_of(pid, proc=proc)
            process = Process(pid=pid, name=threads[0].comm, allowed=allowed)
            if machine is not None:
                process = replace(process, machine=machine.name, keeper=machine.keeper, folded=machine.folded)
            found.append(process)
    return tuple(found)


def default_set(processes: Collection[Process]) -> CpuSet:
    """The set that the host gives every process: that of the init process, or the empty set where it is not readable."""
    return next((process.allowed[0] for process in processes if process.pid == 1), CpuSet())

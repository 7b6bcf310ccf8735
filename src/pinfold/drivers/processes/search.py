"""Find the QEMU processes of this machine that no reachable libvirt keeps."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import msgspec

from pinfold.drivers.kvm.machine import machine_of_command
from pinfold.drivers.processes import command_line
from pinfold.drivers.processes.command_line import CommandLine
from pinfold.linux import procfs


class Process(msgspec.Struct, frozen=True, kw_only=True):
    """One QEMU process. `start_ticks` says which process `pid` is, because the kernel uses ids again.

    `id` is the guest's id: the one on its command line, or `pid-N` if it has none or another process has the same.
    """

    pid: int
    start_ticks: int
    line: CommandLine
    id: str = ""

    @property
    def name(self) -> str:
        """The guest's name, or its id if it has none."""
        return self.line.name or self.id


def processes(*, proc: Path = procfs.PROC) -> tuple[Process, ...]:
    """Every QEMU process that no reachable libvirt keeps, ordered by process id. Raises `Unavailable` if procfs may not be read."""
    found = [process for pid in procfs.process_ids(proc=proc) if (process := _process(pid, proc)) is not None]
    times = Counter(process.line.uuid for process in found)
    return tuple(
        msgspec.structs.replace(process, id=process.line.uuid if times[process.line.uuid] == 1 and process.line.uuid else _by_pid(process))
        for process in found
    )


def is_still(process: Process, *, proc: Path = procfs.PROC) -> bool:
    """Whether the process still runs, and its id has not been given to another one."""
    return procfs.start_ticks(process.pid, proc=proc) == process.start_ticks


def _by_pid(process: Process) -> str:
    return f"pid-{process.pid}"


def _process(pid: int, proc: Path) -> Process | None:
    """The process, None if it is no QEMU or a libvirt of this machine keeps it."""
    arguments = procfs.arguments(pid, proc=proc)
    machine = machine_of_command(pid, arguments, proc=proc)
    # The guests of a lab are its own libvirt's, which its users reach by a socket.
    if machine is None or machine.reachable or machine.lab:
        return None
    ticks, program = procfs.start_ticks(pid, proc=proc), procfs.program(pid, proc=proc).rpartition("/")[2]
    # A process writes its own command line, but not which file it executes.
    disguised = bool(program) and "qemu" not in program and program != "kvm"
    if ticks is None or disguised:
        return None
    return Process(pid=pid, start_ticks=ticks, line=command_line.read(arguments))

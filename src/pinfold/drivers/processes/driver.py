"""`ProcessesDriver`: the `Driver` of QEMU processes with no libvirt in reach. It observes and moves threads, and starts nothing."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final, NoReturn

from pinfold.core.cpuset import CpuSet
from pinfold.core.drift import ExpectedMasks, Subject
from pinfold.core.drift.steps import Step
from pinfold.core.errors import InvalidRequest, Unavailable
from pinfold.core.guest_questions import Diagnostics
from pinfold.core.identity import GuestId
from pinfold.core.overhead import ObservedThread, ThreadClass
from pinfold.core.request.model import GuestRequest
from pinfold.core.topology import Topology
from pinfold.drivers.kvm import commands, thread_moves, witness
from pinfold.drivers.kvm.process import doing, is_stopped
from pinfold.drivers.port import DefinedPins, Event, GuestShape, GuestSpec, GuestState, HostGuest, Interface, Observation, Record
from pinfold.drivers.processes import search
from pinfold.drivers.processes.search import Process
from pinfold.drivers.processes.threads import Threads
from pinfold.linux import procfs, sysfs, topology

URI: Final = "processes:"
_UNHELD: Final = (ThreadClass.KTHREAD, ThreadClass.THREAD_CONTEXT, ThreadClass.UNKNOWN)


class ProcessesDriver:
    """The `Driver` of this machine's QEMU processes. A guest has no record and no definition, so its pins are its threads' masks."""

    uri = URI
    local = True
    sole_manager = True

    def __init__(self) -> None:
        self._threads = Threads()
        self._known: dict[str, Process] = {}

    def platform_name(self) -> str:
        """Always QEMU."""
        return "QEMU"

    def processor(self) -> str:
        """Nothing: this driver starts no guests."""
        return ""

    def processor_traits(self) -> None:
        """Not known: this driver starts no guests."""
        return

    def features(self) -> tuple[str, ...]:
        """None: this driver starts no guests."""
        return ()

    def hypervisor_version(self) -> int:
        """Always 0: processes may be of several versions."""
        return 0

    def topology(self) -> Topology:
        """This machine as sysfs shows it. Raises `Unavailable`."""
        return topology.topology()

    def guests(self) -> tuple[HostGuest, ...]:
        """Every guest, ordered by id, except those that end while they are read. Raises `Unavailable` if procfs may not be read."""
        self._known = {process.id: process for process in search.processes()}
        self._threads.keep(self._known.values())
        online = sysfs.online()
        read = [(process, self._guest(process, online)) for process in self._known.values()]
        return tuple(sorted((guest for process, guest in read if search.is_still(process)), key=lambda guest: guest.id))

    def definition(self, spec: GuestSpec) -> str:
        """Refused, always with `InvalidRequest`."""
        refuse(f"guest {spec.name} cannot be defined")

    def start(self, spec: GuestSpec) -> HostGuest:
        """Refused, always with `InvalidRequest`."""
        refuse(f"guest {spec.name} cannot be started")

    def has_saved_memory(self, guest: GuestId) -> bool:  # noqa: ARG002  # the port's
        """Always False: nobody saved it."""
        return False

    def restart(self, guest: GuestId, *, fresh: bool = False) -> HostGuest:  # noqa: ARG002  # the port's
        """Refused, always with `InvalidRequest`."""
        refuse(f"guest {guest} cannot be started")

    def redefine(self, guest: GuestId, record: Record, request: GuestRequest) -> HostGuest:  # noqa: ARG002  # the port's
        """Refused, always with `InvalidRequest`."""
        refuse(f"guest {guest} cannot be defined")

    def amend(self, guest: GuestId, record: Record) -> None:  # noqa: ARG002  # the port's
        """Refused, always with `InvalidRequest`."""
        refuse(f"no record can be written into guest {guest}")

    def attach(self, guest: GuestId, interface: Interface) -> None:  # noqa: ARG002  # the port's
        """Refused, always with `InvalidRequest`."""
        refuse(f"no interface can be attached to guest {guest}")

    def detach(self, guest: GuestId, mac: str, *, seconds: float) -> None:  # noqa: ARG002  # the port's
        """Refused, always with `InvalidRequest`."""
        refuse(f"no interface can be detached from guest {guest}")

    def shape(self, guest: GuestId) -> GuestShape:
        """Refused, always with `InvalidRequest`."""
        refuse(f"nothing tells the cells of guest {guest}")

    def diagnostics(self, guest: GuestId) -> Diagnostics:
        """Refused, always with `InvalidRequest`."""
        refuse(f"nothing counts what guest {guest} does")

    def console(self, guest: GuestId) -> Path:
        """Refused, always with `InvalidRequest`."""
        refuse(f"nothing tells the console of guest {guest}")

    def adopt(self, guest: GuestId, record: Record) -> None:  # noqa: ARG002  # the port's
        """Refused, always with `InvalidRequest`."""
        refuse(f"no record can be written into guest {guest}")

    def kept_definition(self, guest: GuestId) -> str:
        """Refused, always with `InvalidRequest`."""
        refuse(f"guest {guest} has no definition")

    def forget(self, guest: GuestId, *, pins_of: str = "") -> None:  # noqa: ARG002  # the port's
        """Refused, always with `InvalidRequest`."""
        refuse(f"guest {guest} has no record")

    def resume(self, guest: GuestId) -> None:
        """Refused, always with `InvalidRequest`."""
        refuse(f"guest {guest} cannot be resumed")

    def pause(self, guest: GuestId) -> None:
        """Refused, always with `InvalidRequest`."""
        refuse(f"guest {guest} cannot be paused")

    def save(self, guest: GuestId) -> None:
        """Refused, always with `InvalidRequest`."""
        refuse(f"guest {guest} cannot be suspended")

    def shut_down(self, guest: GuestId) -> None:
        """Refused, always with `InvalidRequest`."""
        refuse(f"guest {guest} cannot be shut down")

    def stop(self, guest: GuestId, *, remove: bool, graceful_seconds: float = 0.0) -> None:  # noqa: ARG002  # the port's
        """Refused, always with `InvalidRequest`."""
        refuse(f"guest {guest} cannot be stopped")

    def pin(self, guest: GuestId, masks: ExpectedMasks, *, live_only: bool = False) -> None:  # noqa: ARG002  # no definition here
        """Move every thread of known class to `masks`, with the kernel alone. See `Driver.pin`.

        Before each thread is moved, the process id and start time are compared, so that no other process's thread is moved. Raises
        `InvalidRequest` for a set whose pCPUs are all offline and a guest that does not exist, `Unavailable` if a thread is still
        elsewhere.
        """
        live = thread_moves.online_part(masks, sysfs.online())
        process = self._process(guest)
        left = thread_moves.place(lambda: self._threads.look(process).observation, live, partial(_move, process))
        thread_moves.refuse_misplaced(process.name, left, live)

    def observe(self, guest: HostGuest) -> Observation:
        """Every thread of the guest, none if its process has ended. See `Driver.observe`."""
        process = self._find(guest.id)
        return Observation(threads=(), witness=witness.PROCFS) if process is None else self._threads.look(process).observation

    def repair_command(self, subject: Subject, steps: tuple[Step, ...]) -> str:  # noqa: ARG002  # the port's
        """The command that moves the threads. See `Driver.repair_command`."""
        return commands.joined(map(commands.command, steps))

    def events(self, callback: Callable[[Event], None]) -> Callable[[], None]:  # noqa: ARG002  # the port's
        """Nothing is ever heard: the kernel tells nobody that a process starts."""
        return lambda: None

    def close(self) -> None:
        """There is nothing to close."""

    def _find(self, guest: GuestId) -> Process | None:
        known = self._known.get(guest)
        if known is not None and search.is_still(known):
            return known
        return next((process for process in search.processes() if process.id == guest), None)

    def _process(self, guest: GuestId) -> Process:
        process = self._find(guest)
        if process is not None:
            return process
        raise InvalidRequest(f"there is no QEMU process of guest {guest!r} on this host any more", key="guest")

    def _guest(self, process: Process, online: CpuSet) -> HostGuest:
        look = self._threads.look(process)
        threads = look.observation.threads
        seen = {thread.vcpu for thread in threads if thread.thread_class is ThreadClass.VCPU}
        stopped = is_stopped(process.pid)
        return HostGuest(
            id=GuestId(process.id),
            name=process.name,
            state=GuestState.PAUSED if stopped or look.paused else GuestState.RUNNING,
            vcpus=max(process.line.vcpus, len(seen)),
            memory_mib=process.line.memory_mib,
            huge_mib=min(procfs.huge_kib(process.pid) // 1024, process.line.memory_mib),
            persistent=False,
            pid=process.pid,
            pins=_pins(threads, online),
            iothreads=sum(thread.thread_class is ThreadClass.IOTHREAD for thread in threads),
            hangs=f"its QEMU process {process.pid} {doing(process.pid)}" if stopped else "",
        )


def refuse(what: str) -> NoReturn:
    """Raise `InvalidRequest`: no guest is started, stopped or defined here."""
    raise InvalidRequest(f"{what} at {URI} because only threads are watched and moved there; use what starts its QEMU process", key="uri")


def _pins(threads: tuple[ObservedThread, ...], online: CpuSet) -> DefinedPins:
    """The masks of a guest's threads as pins: a vCPU with one pCPU is pinned there, and all others float over what their masks name."""
    pinned = {
        thread.vcpu: thread.allowed
        for thread in threads
        if thread.thread_class is ThreadClass.VCPU and thread.vcpu is not None and len(thread.allowed & online) == 1
    }
    floating = 0
    for thread in threads:
        if thread.thread_class not in _UNHELD and thread.vcpu not in pinned:
            floating |= thread.allowed.mask
    anywhere = CpuSet.from_mask(floating)
    return DefinedPins(vcpus=tuple(sorted(pinned.items())), placement=None if not anywhere or online <= anywhere else anywhere)


def _move(process: Process, thread: ObservedThread, cpus: CpuSet) -> None:
    """Restrict a thread to `cpus`, if it is still one of the process. Raises `Unavailable` if the process is another one by now."""
    if not search.is_still(process):
        raise Unavailable(f"process {process.pid} of guest {process.name} ended while its threads were moved")
    if thread.thread_class in (ThreadClass.KTHREAD, ThreadClass.VHOST) or os.path.exists(f"{procfs.PROC}/{process.pid}/task/{thread.tid}"):
        thread_moves.by_kernel(process.pid, thread, cpus)

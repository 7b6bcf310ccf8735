"""`Threads`: find the class and mask of each thread of a guest, and move misplaced threads."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial
from typing import Any, Final

from pinfold.core.drift import ExpectedMasks
from pinfold.core.overhead import ObservedThread
from pinfold.drivers.driver_kind import Witness
from pinfold.drivers.kvm import qmp, thread_moves, witness
from pinfold.drivers.libvirt import pins, status
from pinfold.drivers.libvirt.connection import Connection, libvirt
from pinfold.drivers.libvirt.guests import Guests
from pinfold.drivers.port import GuestHangs, HostGuest, Observation
from pinfold.linux import procfs

_ASK_SECONDS: Final = 3.0


class Threads:
    """Reads and moves the threads of `guests`. `told` is the witness to use instead of procfs, None for procfs."""

    def __init__(self, connection: Connection, guests: Guests, told: Witness | None) -> None:
        self._connection = connection
        self._guests = guests
        self._told = told
        self._kernel = procfs.KernelThreads()
        self._walks: witness.Walks = {}
        self._iothreads: dict[str, tuple[tuple[int, ...], Mapping[int, int | None]]] = {}

    def keep(self, guests: Collection[HostGuest]) -> None:
        """Forget what is known of all other guests."""
        pids, ids = {guest.pid for guest in guests}, {guest.id for guest in guests}
        for pid in self._walks.keys() - pids:
            self._walks.pop(pid, None)
        for guest in self._iothreads.keys() - ids:
            self._iothreads.pop(guest, None)

    def observation(self, guest: HostGuest) -> Observation:
        """Every thread of the guest. See `Driver.observe`."""
        if not self._connection.address.local:
            return self._unverified(guest)
        # Read it again: the process that `guest` knew may have ended, and its id may belong to another process.
        pid = self._guests.files.pid(guest.name)
        if pid is None:
            return Observation(threads=(), witness=witness.PROCFS if self._told is None else self._told.label)
        return witness.observation(
            pid,
            vcpus=self._vcpu_threads(guest, pid),
            iothreads=lambda: self._iothread_threads(guest, pid),
            witness=self._told,
            kernel=self._kernel,
            walks=self._walks,
        )

    def place(self, guest: HostGuest, wanted: ExpectedMasks, *, kernel_only: bool = False) -> tuple[ObservedThread, ...]:
        """Move misplaced threads and return those still misplaced. With another witness than procfs, the kernel may lack the pCPUs."""
        pid, told, move = guest.pid, self._told, None
        if pid is not None and told is None:
            move = partial(thread_moves.by_kernel, pid)
        elif isinstance(told, witness.ThreadMover):
            move = partial(thread_moves.by_witness, told)
        return thread_moves.place(lambda: self.observation(guest), wanted, move, kernel_only=kernel_only)

    def place_late(self, guest: HostGuest, wanted: ExpectedMasks) -> None:
        """Move the kernel thread that KVM creates only when the guest first runs."""
        if guest.pid is not None and self._told is None and thread_moves.late_kernel_thread(guest.pid):
            self.place(guest, wanted, kernel_only=True)

    def _vcpu_threads(self, guest: HostGuest, pid: int) -> Mapping[int, int]:
        """Thread id -> vCPU, from libvirt's status file, else (only for our guests) from QEMU itself."""
        told = self._guests.files.status(guest.name)
        if told is not None and told.pid == pid and told.vcpus:
            return told.vcpus
        return qmp.vcpu_threads(answer) if (answer := self._ask(guest, "query-cpus-fast")) else {}

    def _iothread_threads(self, guest: HostGuest, pid: int) -> Mapping[int, int | None]:
        """Thread id -> iothread, from QEMU. Asked once per process, because the answer costs time on the emulator threads."""
        if not guest.iothreads:
            return {}
        asked, known = self._iothreads.get(guest.id, ((), {}))
        if asked != (pid, guest.iothreads):
            answer = self._ask(guest, "query-iothreads")
            if not answer:
                return {}
            known = qmp.iothread_threads(answer)
            self._iothreads[guest.id] = ((pid, guest.iothreads), known)
        return known

    def _ask(self, guest: HostGuest, command: str) -> str:
        """QEMU's answer, '' on failure. The query marks the guest as tainted, so foreign guests are never asked."""
        if guest.record is None:
            return ""
        import libvirt_qemu

        def ask(connection: Any) -> str:
            domain = connection.lookupByUUIDString(guest.id)
            answer: str = libvirt_qemu.qemuMonitorCommand(domain, f'{{"execute": "{command}"}}', 0)
            return answer

        try:
            return self._connection.calls.call(guest.id, f"query {command}", _ASK_SECONDS, ask)
        except (libvirt.libvirtError, GuestHangs):
            # The caller falls back to names. A guest that has just ended has no threads.
            return ""

    def _unverified(self, guest: HostGuest) -> Observation:
        """The pins that a remote libvirt reports."""
        with self._connection.translated(f"the pins of guest {guest.name} cannot be read"):
            domain = self._guests.domain(guest.id)
            if not guest.active:
                return Observation(threads=(), witness=witness.UNVERIFIED)
            rows = {row[0]: pins.cpus_of(row[1]) for row in (domain.ioThreadInfo(0) if guest.iothreads else [])}
            threads = status.unverified_threads(
                [pins.cpus_of(row) for row in domain.vcpus()[1]], pins.cpus_of(domain.emulatorPinInfo(0)), rows
            )
        return Observation(threads=threads, witness=witness.UNVERIFIED)

"""`LibvirtDriver`: the `Driver` of one libvirt. `definition` writes and reads XML, and `connection` reaches libvirt."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from msgspec.structs import replace

from pinfold.core import host_features
from pinfold.core.cpu_model import DEFAULT_CPU, CpuMode, CpuModel
from pinfold.core.cpuset import CpuSet
from pinfold.core.drift import ExpectedMasks, Subject
from pinfold.core.drift.steps import Step
from pinfold.core.errors import Conflict, InvalidRequest, PinfoldError, Unavailable
from pinfold.core.fit.answer import Fit
from pinfold.core.guest_questions import Diagnostics
from pinfold.core.identity import GuestId
from pinfold.core.overhead import masks
from pinfold.core.plural import count
from pinfold.core.request.guest_hardware import SecureBoot
from pinfold.core.request.model import GuestRequest
from pinfold.core.topology import Topology
from pinfold.drivers.driver_kind import Witness
from pinfold.drivers.kvm import thread_moves
from pinfold.drivers.libvirt import (
    capabilities,
    commands,
    definition,
    diagnostics,
    domain,
    firmware,
    guest_memory,
    hardware,
    hotplug,
    pins,
    serial_console,
    stop,
)
from pinfold.drivers.libvirt.address import address
from pinfold.drivers.libvirt.capabilities import BuildContext, Platform
from pinfold.drivers.libvirt.connection import Connection
from pinfold.drivers.libvirt.guests import Guests
from pinfold.drivers.libvirt.processors import Processors
from pinfold.drivers.libvirt.threads import Threads
from pinfold.drivers.port import Event, GuestShape, GuestSpec, HostGuest, Interface, Observation, Record
from pinfold.linux import cgroup, kvm, procfs, sysfs

_START_SECONDS: Final = 600.0
"""Allocating a guest's huge pages may take minutes."""
_ASK_SECONDS: Final = 10.0
_CHANGE_SECONDS: Final = 30.0
_SAVE_SECONDS: Final = 3600.0
"""Saving writes the guest's whole memory to disk, and the next start reads it."""


class LibvirtDriver:
    """The `Driver` of one libvirt.

    `run_dir` is the daemon's `/run/libvirt`, taken from the URI's socket unless given. `witness` is another witness than procfs.
    A remote URI is opened read-only. The connection opens at once, and again whenever it was lost; event registrations survive that.
    Raises `Unavailable` if libvirt cannot be reached, `InvalidRequest` for an invalid URI.
    """

    def __init__(
        self, uri: str, *, run_dir: str = "", witness: Witness | None = None, realtime_priority: int = 1, cpu: CpuModel = DEFAULT_CPU
    ) -> None:
        self._connection = Connection(address(uri, run_dir=run_dir, session_dir=os.environ.get("XDG_RUNTIME_DIR", "")))
        self._guests = Guests(self._connection)
        self._threads = Threads(self._connection, self._guests, witness)
        self._procfs_speaks = witness is None
        self._priority = realtime_priority
        self._cpu = cpu
        self._processors = Processors(self._connection, cpu, self._guests.platform, self._domain_capabilities)

    @property
    def uri(self) -> str:
        """The libvirt URI."""
        return self._connection.address.uri

    @property
    def local(self) -> bool:
        """Whether the guests' processes run on this host."""
        return self._connection.address.local

    @property
    def sole_manager(self) -> bool:
        """Always False: libvirt's guests have definitions, and whoever wrote them manages their pins."""
        return False

    def platform_name(self) -> str:
        """Always QEMU: it is the only hypervisor whose definitions this driver writes."""
        return "QEMU"

    def hypervisor_version(self) -> int:
        """QEMU's version as libvirt's number: 7002011 for 7.2.11. Raises `Unavailable`."""
        with self._connection.translated("the hypervisor's version cannot be read"):
            return int(self._connection.live().getVersion())

    def topology(self) -> Topology:
        """The host as libvirtd sees it now. Raises `Unavailable`."""
        with self._connection.translated("the host's topology cannot be read"):
            connection = self._connection.live()
            text, (_, online, _) = connection.getCapabilities(), connection.getCPUMap(0)
        # libvirt's map does not tell absent pCPUs from offline ones. This host's sysfs does, unless the daemon sees another host (a lab).
        seen = self.local and self._procfs_speaks
        return capabilities.topology(text, offline=sysfs.offline() if seen else pins.cpus_of(not up for up in online))

    def guests(self) -> tuple[HostGuest, ...]:
        """Every guest, ordered by id, except those that end while they are read. Raises `Unavailable`."""
        found = self._guests.all()
        self._threads.keep(found)
        return found

    def definition(self, spec: GuestSpec) -> str:
        """The domain XML that `start` would use. Raises `InvalidRequest`."""
        platform = self._guests.platform()
        make = BuildContext(platform=platform, realtime_priority=self._priority, cpu=self._cpu)
        if not spec.template and self._cpu.mode is not CpuMode.NONE:
            make = replace(make, host_cpu=self._processors.host_cpu(spec.virt_type or platform.best_virt_type))
        if spec.request.wants.secure_boot is SecureBoot.OPTIONAL:
            make = replace(make, secure_boot=host_features.SECURE_BOOT in self._offered(platform))
        return definition.definition(spec, make)

    def processor(self) -> str:
        """The processor of a new guest, compared with what the hypervisor can give. See `Driver.processor`."""
        return self._processors.words()

    def processor_traits(self) -> tuple[str, ...] | None:
        """The traits of what libvirt calls the features of a new guest's processor. See `Driver.processor_traits`.

        Those of a remote host are not known: libvirt does not tell who only reads.
        """
        return self._processors.traits() if self.local else None

    def features(self) -> tuple[str, ...]:
        """The machines, firmware and TPMs, and what can be shared, limited and changed. See `Driver.features`."""
        platform = self._guests.platform()
        found = [host_features.HARDWARE, host_features.INTERFACES, host_features.MULTIQUEUE, *self._offered(platform)]
        found += map(host_features.machine, platform.machines)
        if self.local and cgroup.has_cpu_controller():
            found.append(host_features.CPU_CONTROLLER)
        return tuple(sorted(found))

    def _offered(self, platform: Platform) -> frozenset[str]:
        """What libvirt says that guests can have here now: firmware, TPMs and memory that is shared. Secure boot under KVM also needs its
        System Management Mode. Raises `Unavailable`.
        """
        if not platform.virt_types:
            return frozenset()
        text = self._domain_capabilities(platform, platform.best_virt_type)
        found = firmware.of_default_machine(text) | {host_features.cd_rom(bus) for bus in hardware.cd_rom_buses(text)}
        if guest_memory.can_be_shared(text):
            found |= {host_features.SHARED_MEMORY}
        if "q35" in platform.machines:
            found |= firmware.of_q35(self._domain_capabilities(platform, platform.best_virt_type, "q35"))
        if self.local and platform.best_virt_type == "kvm" and kvm.has_system_management_mode() is False:
            found -= {host_features.SECURE_BOOT}  # libvirt only looks at the firmware's files; the start would fail
        return found

    def _domain_capabilities(self, platform: Platform, virt_type: str, machine: str | None = None) -> str:
        """What guests of that machine can have, as libvirt's XML. Raises `Unavailable`."""
        with self._connection.translated("what guests can have cannot be read"):
            text: str = self._connection.live().getDomainCapabilities(platform.emulator or None, platform.arch, machine, virt_type)
            return text

    def start(self, spec: GuestSpec) -> HostGuest:
        """Define the guest, start it paused, move KVM's own threads. See `Driver.start`."""
        self._refuse_remote()
        wanted = masks(spec.record.fit)
        self._refuse_absent(wanted)
        text = self.definition(spec)
        self._guests.refuse_existing(spec)
        defined = False
        try:
            what = f"guest {spec.name} cannot be started"
            self._guests.act(spec.id, "definition", what, _CHANGE_SECONDS, lambda connection: connection.defineXML(text))
            defined = True
            widened = self._start_paused(spec.id, what, spec.record.fit)
            guest = self._placed(spec.id, spec.record.fit, widened=widened)
        except PinfoldError as error:
            if not (defined or isinstance(error, Unavailable)) or isinstance(error, Conflict):
                raise
            left = stop.remove_remains(self._connection, self._guests, spec.id)
            if not left:
                raise
            raise type(error)(f"{error}; {left}") from error
        return guest

    def has_saved_memory(self, guest: GuestId) -> bool:
        """Whether libvirt has a managed save of the guest. See `Driver.has_saved_memory`."""
        what = f"the saved memory of guest {guest} cannot be looked for"
        return self._guests.act(
            guest, "reading", what, _ASK_SECONDS, lambda connection: bool(self._guests.domain(guest, connection).hasManagedSaveImage())
        )

    def restart(self, guest: GuestId, *, fresh: bool = False) -> HostGuest:
        """Start a stopped guest, paused. See `Driver.restart`."""
        self._refuse_remote()
        known = self._guests.one(guest)
        if known.active:
            raise InvalidRequest(f"guest {known.name} is {known.state.value} already", key="guest")
        if known.record is not None:
            self._refuse_absent(masks(known.record.fit))
        fit = None if known.record is None else known.record.fit
        seconds = _START_SECONDS if fresh or not self.has_saved_memory(guest) else _SAVE_SECONDS
        widened = self._start_paused(guest, f"guest {known.name} cannot be started", fit, fresh=fresh, seconds=seconds)
        return self._guests.one(guest) if fit is None else self._placed(guest, fit, widened=widened)

    def redefine(self, guest: GuestId, record: Record, request: GuestRequest) -> HostGuest:
        """Write new places and a new record into the definition of a guest that does not run. See `Driver.redefine`."""
        self._refuse_remote()
        self._refuse_absent(masks(record.fit))
        known = self._guests.one(guest)
        if known.active:
            raise InvalidRequest(f"guest {known.name} is {known.state.value}; only a stopped guest's definition is rewritten", key="guest")

        def define(connection: Any) -> None:
            found = self._guests.domain(guest, connection)
            if found.hasManagedSaveImage():
                raise InvalidRequest(
                    f"guest {known.name} has a saved state, which comes back on the pCPUs that it was saved on; its definition is left",
                    key="guest",
                )
            spec = GuestSpec(name=known.name, request=request, record=record, template=domain.definition(found))
            connection.defineXML(self.definition(spec))

        self._guests.act(guest, "definition", f"guest {known.name} cannot be defined", _CHANGE_SECONDS, define)
        return self._guests.one(guest)

    def amend(self, guest: GuestId, record: Record) -> None:
        """Write a new record into a guest's metadata, live and in its definition. See `Driver.amend`."""
        self._refuse_remote()
        what = f"the record of guest {guest} cannot be written"
        self._guests.act(
            guest, "record", what, _CHANGE_SECONDS, lambda connection: domain.amend(self._guests.domain(guest, connection), record)
        )

    def attach(self, guest: GuestId, interface: Interface) -> None:
        """Attach an interface to a guest, running or not. See `Driver.attach`."""
        self._refuse_remote()
        hotplug.attach(self._guests, guest, interface)
        known = self._guests.one(guest)
        if known.active and known.record is not None:
            self._threads.place(known, masks(known.record.fit), kernel_only=True)

    def detach(self, guest: GuestId, mac: str, *, seconds: float) -> None:
        """Detach an interface from a guest, running or not. See `Driver.detach`."""
        self._refuse_remote()
        hotplug.detach(self._guests, guest, mac, seconds)

    def shape(self, guest: GuestId) -> GuestShape:
        """The cells and the memory of a guest. See `Driver.shape`."""
        return self._guests.shape(guest)

    def diagnostics(self, guest: GuestId) -> Diagnostics:
        """What libvirt counts of a guest. See `Driver.diagnostics`."""
        known = self._guests.one(guest)
        if not known.active:
            raise InvalidRequest(f"guest {known.name} is {known.state.value}; only a running guest has diagnostics", key="guest")
        what = f"the diagnostics of guest {known.name} cannot be read"

        def read(connection: Any) -> tuple[dict[str, Any], str]:
            found = self._guests.domain(guest, connection)
            return domain.stats(connection, found), found.XMLDesc(0)

        counted, text = self._guests.act(guest, "diagnostics", what, _ASK_SECONDS, read)
        age = None if known.pid is None else procfs.age_seconds(known.pid)
        return diagnostics.of(counted, text, known, uptime_seconds=age or 0)

    def console(self, guest: GuestId) -> Path:
        """The terminal of a guest's serial console. See `Driver.console`."""
        self._refuse_remote()
        known = self._guests.one(guest)
        if not known.active:
            raise InvalidRequest(f"guest {known.name} is {known.state.value}; only a running guest has a console", key="guest")
        what = f"the console of guest {known.name} cannot be found"
        text = self._guests.act(guest, "console", what, _ASK_SECONDS, lambda connection: self._guests.domain(guest, connection).XMLDesc(0))
        terminal = serial_console.terminal(text)
        if terminal is None:
            raise InvalidRequest(f"guest {known.name} has no serial console in a terminal: its definition says otherwise", key="guest")
        return terminal

    def adopt(self, guest: GuestId, record: Record) -> None:
        """Write a record into a guest without one, and its pins into the definition. See `Driver.adopt`."""
        self._refuse_remote()
        wanted = masks(record.fit)

        def write(connection: Any) -> None:
            found = self._guests.domain(guest, connection)
            domain.amend(found, record)
            domain.pin_definition(connection, found, wanted, ours=True)

        self._guests.act(guest, "record", f"the record of guest {guest} cannot be written", _CHANGE_SECONDS, write)

    def kept_definition(self, guest: GuestId) -> str:
        """The guest's persistent definition, passwords included. See `Driver.kept_definition`."""
        self._refuse_remote()

        def read(connection: Any) -> str:
            found = self._guests.domain(guest, connection)
            return domain.definition(found) if found.isPersistent() else ""

        return self._guests.act(guest, "definition", f"the definition of guest {guest} cannot be read", _ASK_SECONDS, read)

    def forget(self, guest: GuestId, *, pins_of: str = "") -> None:
        """Remove our record from a guest's definitions. See `Driver.forget`."""
        self._refuse_remote()

        def forget(connection: Any) -> None:
            found = self._guests.domain(guest, connection)
            domain.forget(found)
            if pins_of and found.isPersistent():
                domain.restore_pins(connection, found, pins_of)

        self._guests.act(guest, "record", f"the record of guest {guest} cannot be removed", _CHANGE_SECONDS, forget)

    def resume(self, guest: GuestId) -> None:
        """Let a paused guest run, and move the thread that KVM creates only now. See `Driver.resume`."""
        self._refuse_remote()
        what = f"guest {guest} cannot be resumed"
        self._guests.act(guest, "resume", what, _CHANGE_SECONDS, lambda connection: self._guests.domain(guest, connection).resume())
        known = self._guests.one(guest)
        if known.record is not None:
            self._threads.place_late(known, masks(known.record.fit))

    def pause(self, guest: GuestId) -> None:
        """Stop the vCPUs of a running guest. See `Driver.pause`."""
        self._refuse_remote()
        what = f"guest {guest} cannot be paused"
        self._guests.act(guest, "pause", what, _CHANGE_SECONDS, lambda connection: self._guests.domain(guest, connection).suspend())

    def save(self, guest: GuestId) -> None:
        """Save a guest's memory as libvirt's managed save does. See `Driver.save`."""
        self._refuse_remote()
        what = f"guest {guest} cannot be suspended"
        self._guests.act(guest, "save", what, _SAVE_SECONDS, lambda connection: self._guests.domain(guest, connection).managedSave())

    def shut_down(self, guest: GuestId) -> None:
        """Press the guest's power button. See `Driver.shut_down`."""
        self._refuse_remote()
        stop.shut_down(self._guests, guest)

    def stop(self, guest: GuestId, *, remove: bool, graceful_seconds: float = 0.0) -> None:
        """End the guest's process and, with `remove`, its definition. See `Driver.stop`."""
        self._refuse_remote()
        stop.stop(self._connection, self._guests, guest, remove=remove, graceful_seconds=graceful_seconds)

    def pin(self, guest: GuestId, masks: ExpectedMasks, *, live_only: bool = False) -> None:
        """Move every thread of a running guest, live and in its definition. See `Driver.pin`.

        1. Set libvirt's live pins, thread class by class, to those pCPUs that are online.
        2. Replace the pins in the definition, and in a guest of ours the default set for iothreads added later. Not with `live_only`.
        3. Move the threads that did not follow, one by one. New threads inherit the main thread's mask, so this ends.
        Raises `InvalidRequest` for a set whose pCPUs are all offline or a guest that does not run, `Unavailable` if a thread is still
        elsewhere.
        """
        self._refuse_remote()
        live = thread_moves.online_part(masks, self._online())
        known = self._guests.one(guest)
        if not known.active:
            raise InvalidRequest(f"guest {known.name} is {known.state.value}; only a running guest's threads can be moved", key="guest")
        if len(masks.vcpus) != known.vcpus:
            has = count(known.vcpus, "vCPU")
            raise InvalidRequest(f"guest {known.name} has {has}, pins for {len(masks.vcpus)} were given", key="guest")

        def pin(connection: Any) -> None:
            found = self._guests.domain(guest, connection)
            domain.pin_live(found, live)
            if not live_only:
                domain.pin_definition(connection, found, masks, ours=known.record is not None)

        self._guests.act(guest, "pin", f"guest {known.name} cannot be pinned", _CHANGE_SECONDS, pin)
        thread_moves.refuse_misplaced(known.name, self._threads.place(known, live), live)

    def observe(self, guest: HostGuest) -> Observation:
        """Every thread of the guest. See `Driver.observe`."""
        return self._threads.observation(guest)

    def repair_command(self, subject: Subject, steps: tuple[Step, ...]) -> str:
        """The command that takes the steps of a finding. See `Driver.repair_command`."""
        return commands.repair_command(self.uri, subject, steps, local=self.local)

    def events(self, callback: Callable[[Event], None]) -> Callable[[], None]:
        """Call back for each event until the returned function is called. See `Driver.events`."""
        return self._connection.events(callback)

    def close(self) -> None:
        """Close the connection to libvirt. A closed driver raises `Unavailable`."""
        self._connection.close()

    def _refuse_remote(self) -> None:
        if not self.local:
            raise InvalidRequest(f"{self.uri} is remote and read-only; act on the host itself", key="uri")

    def _refuse_absent(self, wanted: ExpectedMasks) -> None:
        """Raises `InvalidRequest` for pCPUs that this host has not online."""
        thread_moves.refuse_absent(wanted, self._online())

    def _online(self) -> CpuSet:
        """The pCPUs that libvirtd sees online. Raises `Unavailable`."""
        with self._connection.translated("the online pCPUs cannot be read"):
            _, online, _ = self._connection.live().getCPUMap(0)
        return pins.cpus_of(online)

    def _start_paused(self, guest: GuestId, what: str, fit: Fit | None, *, fresh: bool = True, seconds: float | None = None) -> bool:
        """Start the guest so that QEMU can allocate its memory. Returns whether its emulator threads may now run on more than their pin.

        libvirt (9.0) puts QEMU into a cpuset of the emulator threads' pCPUs before QEMU runs. QEMU (since 7.2) binds the thread that
        allocates a cell's memory to that host cell; the kernel refuses if the cpuset has none of its pCPUs. So the guest starts with its
        own pCPUs added to the cpuset.
        """
        small = self._guests.platform().small_page_kib

        def start(connection: Any) -> bool:
            found = self._guests.domain(guest, connection)
            own = guest_memory.allocating(fit, small, at_once=guest_memory.is_made_at_once(domain.definition(found))) if fit else CpuSet()
            if fresh:
                domain.forget_saved_memory(found)
            if fit and own - fit.emulator:
                domain.start_paused_with_emulator_on(connection, found, fit.emulator | own)
                return True
            domain.start_paused(found)
            return False

        return self._guests.act(guest, "start", what, _START_SECONDS if seconds is None else seconds, start)

    def _placed(self, guest: GuestId, fit: Fit, *, widened: bool) -> HostGuest:
        """A guest that `_start_paused` started, after moving the threads that libvirt did not place."""
        if widened:
            self.pin(guest, masks(fit))
            return self._guests.one(guest)
        started = self._guests.one(guest)
        self._threads.place(started, masks(fit), kernel_only=True)
        return started

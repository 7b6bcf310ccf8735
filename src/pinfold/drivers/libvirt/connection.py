"""`LibvirtDriver`, in the only module that imports libvirt. What XML means does not belong here (`emit`, `status`).

libvirt-python has no types, so it is `Any` from one line on. Its errors are translated in one place. Its event loop runs in one daemon
thread for the whole process, and is registered before the first connection is opened.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Any, Final

import libvirt as _untyped

from pinfold.core.drift import expected
from pinfold.core.errors import Conflict, InvalidRequest, PinfoldError, Unavailable
from pinfold.core.overhead import Masks, ObservedThread, masks
from pinfold.core.topology import Topology
from pinfold.drivers.libvirt import capabilities, emit, errors, events, moves, process, status, template, waiting, witness
from pinfold.drivers.libvirt.address import address
from pinfold.drivers.libvirt.elements import Make
from pinfold.drivers.libvirt.witness import AffinityWitness
from pinfold.drivers.port import Event, GuestSpec, HostGuest, Sight
from pinfold.linux import procfs, sysfs

libvirt: Any = _untyped

_OPEN_SECONDS: Final = 10.0
_KEEPALIVE_SECONDS: Final = 5
_KEEPALIVE_COUNT: Final = 3
_CLEANUP_SECONDS: Final = 3.0


class LibvirtDriver:
    """The `Driver` of one libvirt.

    `run_dir` is the daemon's `/run/libvirt`, taken from the URI's socket unless given. `affinity` is another witness than procfs.
    A remote URI is opened read-only. The connection is opened at once, and again whenever it was lost; events survive that.
    Raises `Unavailable` when libvirt cannot be reached, `InvalidRequest` for a URI that cannot be.
    """

    def __init__(self, uri: str, *, run_dir: str = "", witness: AffinityWitness | None = None, realtime_priority: int = 1) -> None:
        self._address = address(uri, run_dir=run_dir, session_dir=os.environ.get("XDG_RUNTIME_DIR", ""))
        self._witness = witness
        self._priority = realtime_priority
        self._lock = threading.RLock()
        self._callbacks = events.Callbacks()
        self._kernel = procfs.KernelThreads()
        self._iothreads: dict[str, tuple[tuple[int, ...], Mapping[int, int]]] = {}
        self._host: tuple[capabilities.Platform, status.HostPages] | None = None
        self._open: Any = None
        self._registered: tuple[int, ...] = ()
        self._closed = False
        _start_event_loop()
        self._connection()

    @property
    def uri(self) -> str:
        """The address that was given."""
        return self._address.uri

    @property
    def local(self) -> bool:
        """Whether the guests' processes are this host's."""
        return self._address.local

    def topology(self) -> Topology:
        """The host as libvirtd sees it now. Raises `Unavailable`."""
        with self._translated("the host's topology cannot be read"):
            connection = self._connection()
            text, (_, online, _) = connection.getCapabilities(), connection.getCPUMap(0)
        # libvirt's map cannot tell an absent pCPU from an offline one; this host's sysfs can, unless the daemon sees another (in a lab).
        seen = self.local and self._witness is None
        return capabilities.topology(text, offline=sysfs.offline() if seen else status.cpus_of(not up for up in online))

    def guests(self) -> tuple[HostGuest, ...]:
        """Every guest, ordered by id; one that ends while it is read is left out. Raises `Unavailable`."""
        with self._translated("the guests cannot be listed"):
            connection = self._connection()
            domains = connection.listAllDomains(0)
        found = (self._seen(domain) for domain in domains)
        return tuple(sorted((guest for guest in found if guest is not None), key=lambda guest: guest.id))

    def definition(self, spec: GuestSpec) -> str:
        """The domain XML that `start` would use. Raises `InvalidRequest`."""
        return emit.definition(spec, Make(platform=self._known_host()[0], realtime_priority=self._priority))

    def start(self, spec: GuestSpec) -> HostGuest:
        """Define the guest, start it paused, place KVM's own threads. See `Driver.start`."""
        self._refuse_remote()
        wanted = masks(spec.record.fit)
        self._refuse_absent(wanted)
        text = self.definition(spec)
        self._refuse_existing(spec)
        defined = False
        try:
            with self._translated(f"guest {spec.name} cannot be started"):
                domain = self._connection().defineXML(text)
                defined = True
                domain.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)
            guest = self._guest(spec.id)
            self._place(guest, wanted, kernel_only=True)
        except PinfoldError as error:
            if not (defined or isinstance(error, Unavailable)) or isinstance(error, Conflict):
                raise
            left = self._remove_remains(spec)
            if not left:
                raise
            raise type(error)(f"{error}; {left}") from error
        return guest

    def restart(self, guest: str) -> HostGuest:
        """Start a stopped guest, paused. See `Driver.restart`."""
        self._refuse_remote()
        known = self._guest(guest)
        if known.active:
            raise InvalidRequest(f"guest {known.name} is {known.state.value} already", key="guest")
        if known.record is not None:
            self._refuse_absent(masks(known.record.fit))
        with self._translated(f"guest {known.name} cannot be started"):
            self._domain(guest).createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)
        started = self._guest(guest)
        if started.record is not None:
            self._place(started, masks(started.record.fit), kernel_only=True)
        return started

    def resume(self, guest: str) -> None:
        """Let a paused guest run, and place the thread that KVM makes only now. See `Driver.resume`."""
        self._refuse_remote()
        with self._translated(f"guest {guest} cannot be resumed"):
            self._domain(guest).resume()
        known = self._guest(guest)
        if known.record is not None and known.pid is not None and self._witness is None and moves.late_kernel_thread(known.pid):
            self._place(known, masks(known.record.fit), kernel_only=True)

    def stop(self, guest: str, *, remove: bool, graceful_seconds: float = 0.0) -> None:
        """End the guest's process and, with `remove`, its definition. See `Driver.stop`."""
        self._refuse_remote()
        try:
            known = self._guest(guest)
        except InvalidRequest:
            return
        if known.active:
            self._end(known, graceful_seconds)
        if remove:
            with self._translated(f"guest {known.name} cannot be undefined"), _absent_is_fine():
                domain = self._connection().lookupByUUIDString(guest)
                domain.undefineFlags(_UNDEFINE | (_FORGET_NVRAM if status.has_own_nvram(domain.XMLDesc(0)) else _KEEP_NVRAM))

    def pin(self, guest: str, masks: Masks) -> None:
        """Move every thread of a running guest, live and in its definition. See `Driver.pin`.

        1. Libvirt's own live pins, thread class by class.
        2. What they left behind is moved thread by thread; new threads inherit the main thread's mask, so this ends.
        3. The definition's pins are replaced whole, with the default set that later iothreads take.
        Raises `InvalidRequest` for an absent pCPU or a guest that does not run, `Unavailable` when a thread is still elsewhere.
        """
        self._refuse_remote()
        self._refuse_absent(masks)
        known = self._guest(guest)
        if not known.active:
            raise InvalidRequest(f"guest {known.name} is {known.state.value}; only a running guest's threads can be moved", key="guest")
        if len(masks.vcpus) != known.vcpus:
            raise InvalidRequest(f"guest {known.name} has {known.vcpus} vCPUs, pins for {len(masks.vcpus)} were given", key="guest")
        with self._translated(f"guest {known.name} cannot be pinned"):
            domain = self._domain(guest)
            self._pin_live(domain, masks)
            self._pin_definition(domain, masks)
        left = self._place(known, masks)
        if left:
            thread = left[0]
            raise Unavailable(
                f"thread {thread.tid} ({thread.name}) of guest {known.name} may run on {thread.allowed} after the pin, "
                f"{expected(masks, thread)} was asked"
            )

    def observe(self, guest: HostGuest) -> Sight:
        """Every thread of the guest. See `Driver.observe`."""
        if not self.local:
            return self._told(guest)
        # Read anew, since the process that `guest` knew may have ended and its id be another's.
        pid = process.pid_of(self._address.state_dir, guest.name)
        if pid is None:
            return Sight(threads=(), witness=witness.PROCFS if self._witness is None else self._witness.label)
        return witness.sight(
            pid,
            vcpus=self._vcpu_threads(guest, pid),
            iothreads=lambda: self._iothread_threads(guest, pid),
            witness=self._witness,
            kernel=self._kernel,
        )

    def events(self, callback: Callable[[Event], None]) -> Callable[[], None]:
        """Call back for each event until the returned function is called. See `Driver.events`."""
        return self._callbacks.add(callback)

    def close(self) -> None:
        """Let go of libvirt. A closed driver raises `Unavailable`."""
        with self._lock:
            self._closed = True
            self._callbacks.clear()
            connection, self._open = self._open, None
        if connection is not None:
            self._release(connection)

    # The connection

    def _connection(self) -> Any:
        with self._lock:
            if self._closed:
                raise Unavailable(f"the connection to {self.uri} was closed")
            if not self._lost():
                return self._open
            if self._open is not None:
                self._release(self._open)
                self._open = None
            try:
                fresh = self._opened()
                self._watch(fresh)
            except (libvirt.libvirtError, TimeoutError) as error:
                raise Unavailable(f"libvirt at {self.uri} cannot be reached: {errors.sentence(str(error))}") from error
            self._open = fresh
            return fresh

    def _opened(self) -> Any:
        if not self.local:
            return libvirt.openReadOnly(self.uri)
        # A daemon that takes the call but never answers would hold it up for good. (A remote one may ask a person for a password.)
        return waiting.within(_OPEN_SECONDS, lambda: libvirt.open(self.uri))

    def _watch(self, connection: Any) -> None:
        """Keepalive and events, where the connection's driver has them."""
        with suppress(libvirt.libvirtError):
            connection.setKeepAlive(_KEEPALIVE_SECONDS, _KEEPALIVE_COUNT)
        with suppress(libvirt.libvirtError):
            connection.registerCloseCallback(self._on_close, None)
        self._registered = (
            connection.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, self._on_lifecycle, None),
            connection.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_TUNABLE, self._on_tunable, None),
        )

    def _release(self, connection: Any) -> None:
        """Close a connection, dead or alive; each registration would hold it open."""
        for number in self._registered:
            with suppress(libvirt.libvirtError):
                connection.domainEventDeregisterAny(number)
        with suppress(libvirt.libvirtError):
            connection.unregisterCloseCallback()
        with suppress(libvirt.libvirtError):
            connection.close()

    @contextmanager
    def _translated(self, what: str) -> Iterator[None]:
        """The one place where libvirt's errors become ours."""
        try:
            yield
        except libvirt.libvirtError as error:
            raise errors.translated(what, error.get_error_code(), str(error), lost=self._lost()) from error

    def _lost(self) -> bool:
        connection = self._open
        try:
            return connection is None or connection.isAlive() != 1
        except libvirt.libvirtError:
            return True

    # Events

    def _on_lifecycle(self, _connection: Any, domain: Any, event: int, detail: int, _opaque: object) -> None:
        self._callbacks.emit(events.lifecycle(domain.UUIDString(), event, detail))

    def _on_tunable(self, _connection: Any, domain: Any, changed: Mapping[str, object], _opaque: object) -> None:
        self._callbacks.emit(events.tunable(domain.UUIDString(), changed))

    def _on_close(self, _connection: Any, reason: int, _opaque: object) -> None:
        self._callbacks.emit(events.closed(reason))

    # Guests

    def _known_host(self) -> tuple[capabilities.Platform, status.HostPages]:
        """What never changes while a host is up: the platform, the cells, the default huge page."""
        if self._host is None:
            with self._translated("the host's capabilities cannot be read"):
                text = self._connection().getCapabilities()
            cells = tuple(cell.id for cell in capabilities.topology(text).cells)
            huge = procfs.default_huge_page_kib() if self.local else None
            self._host = (capabilities.platform(text), status.HostPages(cells=cells, default_huge_kib=huge or 2048))
        return self._host

    def _domain(self, guest: str) -> Any:
        try:
            return self._connection().lookupByUUIDString(guest)
        except libvirt.libvirtError as error:
            if error.get_error_code() in (errors.NO_DOMAIN, errors.INVALID_ARGUMENT):
                raise InvalidRequest(f"there is no guest with the id {guest!r} at {self.uri}", key="guest") from error
            raise

    def _guest(self, guest: str) -> HostGuest:
        with self._translated(f"guest {guest} cannot be read"):
            domain = self._domain(guest)
        seen = self._seen(domain)
        if seen is None:
            raise InvalidRequest(f"guest {guest} has just gone from {self.uri}", key="guest")
        return seen

    def _seen(self, domain: Any) -> HostGuest | None:
        with self._translated("a guest cannot be read"), _absent_is_fine():
            state, reason = domain.state()
            text = domain.XMLDesc(0)
            persistent = bool(domain.isPersistent())
            try:
                guest = status.host_guest(
                    text, state=status.state_of(state, reason), persistent=persistent, pid=None, pages=self._known_host()[1]
                )
            except InvalidRequest as error:
                raise InvalidRequest(f"guest {domain.name()} cannot be read: {error}", key="guest") from error
            return replace(guest, pid=process.pid_of(self._address.state_dir, guest.name)) if guest.active else guest
        return None

    # Threads

    def _vcpu_threads(self, guest: HostGuest, pid: int) -> Mapping[int, int]:
        """Thread id -> vCPU from libvirt's status file, else (for guests of ours) from QEMU itself."""
        told = process.status_of(self._address.state_dir, guest.name)
        if told is not None and told.pid == pid and told.vcpus:
            return told.vcpus
        return status.qmp_vcpus(answer) if (answer := self._ask(guest, "query-cpus-fast")) else {}

    def _iothread_threads(self, guest: HostGuest, pid: int) -> Mapping[int, int]:
        """Thread id -> iothread from QEMU, asked once a process: the question runs on the very threads that should be left in peace."""
        if not guest.iothreads:
            return {}
        asked, known = self._iothreads.get(guest.id, ((), {}))
        if asked != (pid, guest.iothreads):
            answer = self._ask(guest, "query-iothreads")
            if not answer:
                return {}
            known = status.qmp_iothreads(answer)
            self._iothreads[guest.id] = ((pid, guest.iothreads), known)
        return known

    def _ask(self, guest: HostGuest, command: str) -> str:
        """QEMU's answer, '' where it cannot be had. It marks the guest as tainted, so that guests of others are not asked."""
        if guest.record is None:
            return ""
        import libvirt_qemu

        try:
            answer: str = libvirt_qemu.qemuMonitorCommand(self._domain(guest.id), f'{{"execute": "{command}"}}', 0)
        except libvirt.libvirtError:
            # Names are left then; a guest that has just ended has no threads to ask about.
            return ""
        return answer

    def _told(self, guest: HostGuest) -> Sight:
        """What a remote libvirt says of its own pins."""
        with self._translated(f"the pins of guest {guest.name} cannot be read"):
            domain = self._domain(guest.id)
            if not guest.active:
                return Sight(threads=(), witness=witness.UNVERIFIED)
            rows = {row[0]: status.cpus_of(row[1]) for row in (domain.ioThreadInfo(0) if guest.iothreads else [])}
            threads = status.told([status.cpus_of(row) for row in domain.vcpus()[1]], status.cpus_of(domain.emulatorPinInfo(0)), rows)
        return Sight(threads=threads, witness=witness.UNVERIFIED)

    def _place(self, guest: HostGuest, wanted: Masks, *, kernel_only: bool = False) -> tuple[ObservedThread, ...]:
        """Move what is misplaced and return what still is. Where another witness speaks the kernel may lack the pCPUs."""
        pid, told, move = guest.pid, self._witness, None
        if pid is not None and told is None:
            move = partial(moves.by_kernel, pid)
        elif isinstance(told, witness.ThreadMover):
            move = partial(moves.by_witness, told)
        return moves.place(lambda: self.observe(guest), wanted, move, kernel_only=kernel_only)

    # Pins

    def _pin_live(self, domain: Any, wanted: Masks) -> None:
        live = libvirt.VIR_DOMAIN_AFFECT_LIVE
        size = 1 + max(moves.asked(wanted))
        domain.pinEmulator(status.row(wanted.overhead, size), live)
        for row in domain.ioThreadInfo(live):
            domain.pinIOThread(row[0], status.row(wanted.overhead, size), live)
        for index, cpus in enumerate(wanted.vcpus):
            domain.pinVcpuFlags(index, status.row(cpus, size), live)

    def _pin_definition(self, domain: Any, wanted: Masks) -> None:
        if not domain.isPersistent():
            return
        text = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE)
        self._connection().defineXML(template.repinned(text, wanted))

    # Beginning and end

    def _refuse_remote(self) -> None:
        if not self.local:
            raise InvalidRequest(f"{self.uri} is remote and read-only; act on the host itself", key="uri")

    def _refuse_absent(self, wanted: Masks) -> None:
        """libvirt trims absent pCPUs from a mask without a word, so that they never reach it."""
        absent = moves.asked(wanted) - self.topology().online
        if absent:
            raise InvalidRequest(f"pCPU {absent} is not online on this host", key="pins")

    def _refuse_existing(self, spec: GuestSpec) -> None:
        for lookup, value, what in (("lookupByUUIDString", spec.id, "id"), ("lookupByName", spec.name, "name")):
            with self._translated(f"guest {spec.name} cannot be looked up"), _absent_is_fine():
                getattr(self._connection(), lookup)(value)
                raise Conflict(f"a guest with the {what} {value} exists at {self.uri} already")

    def _end(self, guest: HostGuest, graceful_seconds: float) -> None:
        ticks = None if guest.pid is None else procfs.start_ticks(guest.pid)
        with self._translated(f"guest {guest.name} cannot be stopped"), _absent_is_fine():
            domain = self._connection().lookupByUUIDString(guest.id)
            if graceful_seconds > 0:
                with suppress(libvirt.libvirtError):
                    domain.shutdown()
                waiting.until(lambda: not domain.isActive(), graceful_seconds, pause=0.05)
            if domain.isActive():
                _destroy(domain)
        pid = guest.pid
        if pid is not None and ticks is not None and not process.ended(pid, ticks):
            raise Unavailable(f"process {pid} of guest {guest.name} does not end")

    def _remove_remains(self, spec: GuestSpec) -> str:
        """Undo a start that failed, and return what to add to its error: '' when nothing is left.

        A daemon that died takes a moment to come back, if it does. If it does not, the guest's process is ended without it.
        """
        until = time.monotonic() + _CLEANUP_SECONDS
        while True:
            try:
                self.stop(spec.id, remove=True)
            except Unavailable:
                if time.monotonic() < until:
                    time.sleep(0.2)
                    continue
                process.kill(spec.id)
                return f"its process was ended, but its definition may be left: virsh -c {self.uri} undefine {spec.name}"
            return ""


_UNDEFINE: Final[int] = (
    libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
    | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
    | libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
)
_FORGET_NVRAM: Final[int] = libvirt.VIR_DOMAIN_UNDEFINE_NVRAM
_KEEP_NVRAM: Final[int] = libvirt.VIR_DOMAIN_UNDEFINE_KEEP_NVRAM


@contextmanager
def _absent_is_fine() -> Iterator[None]:
    """A guest that is gone is no error within."""
    try:
        yield
    except libvirt.libvirtError as error:
        if error.get_error_code() != errors.NO_DOMAIN:
            raise


def _destroy(domain: Any) -> None:
    try:
        domain.destroy()
    except libvirt.libvirtError as error:
        # It may have ended by itself in between.
        if error.get_error_code() not in (errors.OPERATION_INVALID, errors.NO_DOMAIN):
            raise


_LOOP = threading.Lock()
_loop_thread: threading.Thread | None = None


def _start_event_loop() -> None:
    """Register libvirt's event loop and run it, once in a process."""
    global _loop_thread
    with _LOOP:
        if _loop_thread is not None:
            return
        libvirt.registerErrorHandler(lambda *_: None, None)
        libvirt.virEventRegisterDefaultImpl()
        _loop_thread = threading.Thread(target=_run_event_loop, name="libvirt events", daemon=True)
        _loop_thread.start()


def _run_event_loop() -> None:
    while True:
        libvirt.virEventRunDefaultImpl()

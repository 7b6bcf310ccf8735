"""`Driver`: what pinfold asks of a hypervisor on one host, and the values that pass. How a hypervisor does it does not belong here.

The Protocol is small on purpose, so that another hypervisor fits: Xen, whose emulator is a stub domain with pins of its own, has the same
topology, start, pin, observe and events; only its witness is not procfs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from pinfold.core.cpuset import CpuSet
from pinfold.core.errors import Unavailable
from pinfold.core.fit.model import Fit
from pinfold.core.ledger import ForeignMemory
from pinfold.core.overhead import Masks, ObservedThread
from pinfold.core.request.model import EmulatorPolicy, GuestRequest
from pinfold.core.topology import Topology


class GuestHangs(Unavailable):
    """One guest does not answer: its hypervisor process is stopped, or waits for something. Other guests are not touched by it."""

    def __init__(self, message: str, *, guest: str = "") -> None:
        super().__init__(message)
        self.guest = guest


class GuestState(Enum):
    """What a guest is doing, as the hypervisor says."""

    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"
    CRASHED = "crashed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What pinfold writes into a guest's own definition, so that a host is read back with no database.

    `guest` is the id (UUID text), `policy` what was asked of the emulator threads, `fit` what was decided, `revision` the ledger's count
    it was decided on, `flavor` and `owner` names for people (`owner` is `pinfold` for a guest started straight on the host, else the
    service). `request` is what was asked, None in the record of an earlier pinfold.
    """

    guest: str
    policy: EmulatorPolicy
    fit: Fit
    revision: int = 0
    flavor: str = ""
    owner: str = "pinfold"
    request: GuestRequest | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Boot:
    """What a guest starts from: a ROM, a kernel, a disk, any mix of them, or nothing at all. Paths are absolute on the host.

    `disk_format` is `raw` or `qcow2`. Networks come with a template.
    """

    rom: str = ""
    kernel: str = ""
    initrd: str = ""
    cmdline: str = ""
    disk: str = ""
    disk_format: str = "raw"
    serial_log: str = ""
    iothreads: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestSpec:
    """One guest to be defined: what was asked, what was decided, what it boots, and the user's own definition as template or ''.

    `virt_type` is `kvm`, `qemu` (emulated, TCG) or '' for the best the host has.
    """

    id: str
    name: str
    request: GuestRequest
    record: Record
    boot: Boot = Boot()
    template: str = ""
    virt_type: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DefinedPins:
    """The pins that a definition asks for, as the hypervisor repeats them; None where it says nothing (then the default holds).

    `vcpus` and `iothreads` are `(index, set)` pairs, ascending; `realtime` the vCPUs with a realtime scheduler.
    `placement` is the definition's own default set (libvirt's `<vcpu cpuset=…>`), used by whatever has no pin.
    """

    vcpus: tuple[tuple[int, CpuSet], ...] = ()
    emulator: CpuSet | None = None
    iothreads: tuple[tuple[int, CpuSet], ...] = ()
    placement: CpuSet | None = None
    realtime: CpuSet = CpuSet()


@dataclass(frozen=True, slots=True, kw_only=True)
class NovaRecord:
    """What Nova's own metadata in a domain tells: the flavor's name, size and extra specs, the image's properties, the server's name.

    Extra specs and properties are None where Nova did not write them; empty ones were written, and say that there are none.
    """

    flavor: str
    vcpus: int
    memory_mib: int
    extra_specs: tuple[tuple[str, str], ...] | None = None
    image_properties: tuple[tuple[str, str], ...] | None = None
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostGuest:
    """One guest that the hypervisor knows, ours (`record` is set) or somebody else's.

    `pid` is the hypervisor's process (None when it does not run, or is out of reach). `pages` and `memory_mib` are what its definition
    takes of huge pages per cell and of small-page memory; `huge_mib` is what those huge pages hold. `pins` are those of the definition
    that it runs by, or will start by; `kept` those of the persistent definition of a guest that runs, None where it has none; `kept_first`
    says that this one was last written before the guest started, so that what differs was changed live. `disks` and `nics` are how many
    devices it has. `problem` says why a record of ours could not be read; such a guest counts as foreign. `hangs` says
    in a sentence that the guest does not answer, and '' where nothing is known of that; what is told of a guest that cannot even be read is
    what was read last.
    """

    id: str
    name: str
    state: GuestState
    vcpus: int
    memory_mib: int
    persistent: bool = True
    pid: int | None = None
    record: Record | None = None
    nova: NovaRecord | None = None
    pins: DefinedPins = DefinedPins()
    kept: DefinedPins | None = None
    kept_first: bool = False
    pages: tuple[ForeignMemory, ...] = ()
    iothreads: int = 0
    disks: int = 0
    nics: int = 0
    problem: str = ""
    hangs: str = ""
    huge_mib: int = 0

    @property
    def whole_memory_mib(self) -> int:
        """The guest's memory in all, on small pages and on huge ones."""
        return self.memory_mib + self.huge_mib

    @property
    def active(self) -> bool:
        """Whether a hypervisor process runs it, paused or not."""
        return self.state in (GuestState.RUNNING, GuestState.PAUSED)


class EventKind(Enum):
    """What happened to a guest, or to the connection itself."""

    STARTED = "started"
    STOPPED = "stopped"
    PAUSED = "paused"
    RESUMED = "resumed"
    DEFINED = "defined"
    UNDEFINED = "undefined"
    PINS_CHANGED = "pins changed"
    DISCONNECTED = "disconnected"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event; `guest` is '' for the connection's own."""

    kind: EventKind
    guest: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What `observe` saw of one guest. `witness` names the source of truth: `procfs`,
    or `lab records (synthetic)`, or `hypervisor's word (unverified)`.

    Threads are ordered by id. `stable` is False when threads kept appearing until the walk gave up.
    """

    threads: tuple[ObservedThread, ...]
    witness: str
    stable: bool = True


class Driver(Protocol):
    """One hypervisor on one host. Every method raises `Unavailable` when the hypervisor is away, and those that are about one guest
    `GuestHangs` when that guest does not answer in time.
    """

    @property
    def uri(self) -> str:
        """The address that this driver is connected to."""
        ...

    @property
    def local(self) -> bool:
        """Whether the host's own procfs is ours to read; a remote one is read-only and unverified."""
        ...

    def hypervisor_version(self) -> int:
        """The hypervisor's version as one number: 7002011 for 7.2.11."""
        ...

    def topology(self) -> Topology:
        """The host's cells, cores and pages, as the hypervisor sees them now."""
        ...

    def guests(self) -> tuple[HostGuest, ...]:
        """Every guest that is defined or running, ordered by id."""
        ...

    def definition(self, spec: GuestSpec) -> str:
        """The definition (libvirt: domain XML) that `start` would use. Pure. Raises `InvalidRequest` for a template that cannot be used."""
        ...

    def start(self, spec: GuestSpec) -> HostGuest:
        """Define the guest, start it paused, and return it.

        Nothing is left behind on failure. Raises `InvalidRequest` when the hypervisor refuses the definition, `Conflict` when the id or
        name exists, `Unavailable` when it went away in the middle.
        """
        ...

    def restart(self, guest: str) -> HostGuest:
        """Start, paused, a guest that is defined and stopped. Raises `InvalidRequest` when there is none."""
        ...

    def redefine(self, guest: str, record: Record, request: GuestRequest) -> HostGuest:
        """Write the places of `record`, and the record, into the definition of a guest that does not run; the rest of it stays.

        The old definition stays when this fails. Raises `InvalidRequest` for a guest that runs, has a saved state, or is not there, and
        when the hypervisor refuses the definition.
        """
        ...

    def resume(self, guest: str) -> None:
        """Let a paused guest run."""
        ...

    def shut_down(self, guest: str) -> None:
        """Ask a guest to shut down, as a press of its power button does, and return at once. One that is not there is no error."""
        ...

    def stop(self, guest: str, *, remove: bool, graceful_seconds: float = 0.0) -> None:
        """End the guest's process (asking it first, for so long, where asked for); with `remove`, forget its definition too.

        Returns when no process is left. A guest that is not there is no error.
        """
        ...

    def pin(self, guest: str, masks: Masks) -> None:
        """Move every thread of a running guest to `masks`, and make the definition say so."""
        ...

    def observe(self, guest: HostGuest) -> Observation:
        """Every thread of the guest's process and its kernel threads, walked until stable."""
        ...

    def events(self, callback: Callable[[Event], None]) -> Callable[[], None]:
        """Call back (from a thread of the driver's) for each event until the returned function is called."""
        ...

    def close(self) -> None:
        """Let go of the hypervisor. Guests are not touched."""
        ...

"""`Driver`: the interface to a hypervisor on one host, and its values. Each hypervisor implements it in a package of its own.

The Protocol is small on purpose, so that another hypervisor fits: Xen, whose emulator is a stub domain with pins of its own, has the same
topology, start, pin, observe and events; only its witness is not procfs.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Annotated, Final, Protocol

from msgspec import Meta, Struct, field

from pinfold.core.bounds import CellIndex, ClaimUuid, MemoryMib, Revision
from pinfold.core.cpuset import CpuSet
from pinfold.core.drift import ExpectedMasks, Subject
from pinfold.core.drift.steps import Step
from pinfold.core.errors import InvalidRequest, Unavailable
from pinfold.core.fit.answer import Fit
from pinfold.core.guest_questions import Diagnostics
from pinfold.core.host import ForeignMemory
from pinfold.core.identity import GuestId
from pinfold.core.networks import HostNetwork
from pinfold.core.overhead import ObservedThread
from pinfold.core.request.model import EmulatorPolicy, GuestCpuTopology, GuestRequest
from pinfold.core.topology import Topology

MAX_RECORD_NAME: Final = 1024
RecordName = Annotated[str, Meta(max_length=MAX_RECORD_NAME)]
"""A name in a record."""
RecordGuest = Annotated[GuestId, Meta(max_length=MAX_RECORD_NAME)]
"""The guest of a record. Records of a hand-written domain are read too, so it need not be a UUID."""


class GuestHangs(Unavailable):
    """One guest does not answer: its hypervisor process is stopped or waits for something. Other guests are not affected."""

    def __init__(self, message: str, *, guest: str = "") -> None:
        super().__init__(message)
        self.guest = guest


class GuestState(Enum):
    """The state of a guest, as the hypervisor reports it."""

    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"
    CRASHED = "crashed"


class Record(Struct, frozen=True, kw_only=True):
    """The record that pinfold writes into a guest's own definition, so that a host can be read back without a database.

    `guest` is the id (UUID text), `policy` the requested emulator policy, `fit` the decision. `claim` is the id of the claim, None in the
    record of an older pinfold; `revision` is the claim's last one. `flavor` and `owner` are names for people; `owner` is `pinfold` for a
    guest started directly on the host, else the service. `request` is the request, None in the record of an older pinfold. `server` is the
    name of the service's server when the guest was started, '' without one and in the record of an older pinfold.
    """

    guest: RecordGuest
    policy: EmulatorPolicy
    fit: Fit
    claim: ClaimUuid | None = None
    revision: Revision = 0
    flavor: RecordName = ""
    owner: RecordName = "pinfold"
    request: GuestRequest | None = None
    server: RecordName = ""


class Boot(Struct, frozen=True, kw_only=True):
    """What a guest boots from: any of a ROM, a kernel and a disk, or nothing. Paths are absolute on the host.

    `disk_format` is `raw` or `qcow2`. `config_drive` is an ISO image in a CD-ROM drive. What the serial console prints is appended to
    `serial_log`, '' for no serial console.
    """

    rom: str = ""
    kernel: str = ""
    initrd: str = ""
    cmdline: str = ""
    disk: str = ""
    disk_format: str = "raw"
    config_drive: str = ""
    serial_log: str = ""
    iothreads: int = 0


class Interface(Struct, frozen=True, kw_only=True):
    """One network interface of a guest, with so many `queues`. `port` is the id of its port, by which Open vSwitch knows it."""

    network: HostNetwork
    mac: str
    port: str
    queues: int = 1


class GuestSpec(Struct, frozen=True, kw_only=True):
    """One guest to define: record, request, boot sources, interfaces, and the user's own definition as template, or ''.

    `virt_type` is `kvm`, `qemu` (emulated, TCG) or '' for the best that the host has.
    """

    name: str
    request: GuestRequest
    record: Record
    boot: Boot = Boot()
    interfaces: tuple[Interface, ...] = ()
    template: str = ""
    virt_type: str = ""

    @property
    def id(self) -> GuestId:
        """The guest's id."""
        return self.record.guest


class DefinedPins(Struct, frozen=True, kw_only=True):
    """The pins in a definition, as the hypervisor reports them. None means no pin, and then the default applies.

    `vcpus` and `iothreads` are `(index, set)` pairs, ascending; `realtime` the vCPUs with a realtime scheduler.
    `placement` is the definition's own default set (libvirt's `<vcpu cpuset=…>`), used by whatever has no pin.
    """

    vcpus: tuple[tuple[int, CpuSet], ...] = ()
    emulator: CpuSet | None = None
    iothreads: tuple[tuple[int, CpuSet], ...] = ()
    placement: CpuSet | None = None
    realtime: CpuSet = CpuSet()


class ShapeCell(Struct, frozen=True, kw_only=True):
    """One cell of a guest by its definition. `page_kib` is 0 for the host's small pages. `host_cells` are those that its memory is strictly
    bound to, empty if it is not bound.
    """

    id: CellIndex
    vcpus: CpuSet
    memory_mib: MemoryMib
    page_kib: int = 0
    host_cells: CpuSet = CpuSet()


class GuestShape(Struct, frozen=True, kw_only=True):
    """What a definition says about a guest's cells and memory. `numa`: the guest sees its cells; else one cell stands for all of it.

    `unplugged` counts the vCPUs that the guest may get later and does not have now. `shared`: other processes of the host can map
    its memory.
    """

    cells: tuple[ShapeCell, ...]
    unplugged: int = 0
    numa: bool = False
    cpu_topology: GuestCpuTopology | None = None
    locked: bool = False
    shared: bool = False


class NovaRecord(Struct, frozen=True, kw_only=True):
    """Nova's metadata in a domain: the flavor's name, size and extra specs, the image's properties, the server's name.

    Extra specs and properties are None if Nova did not write them, and empty if Nova wrote that there are none.
    """

    flavor: str
    vcpus: int
    memory_mib: int
    extra_specs: tuple[tuple[str, str], ...] | None = None
    image_properties: tuple[tuple[str, str], ...] | None = None
    name: str = ""


class HostGuest(Struct, frozen=True, kw_only=True):
    """One guest that the hypervisor knows: ours (`record` is set) or foreign.

    `memory_mib` is all its memory; `huge_mib` of it is in huge pages, which `pages` counts by cell. `pid` is the hypervisor's process, None
    if it does not run or cannot be read. `pins` are the pins of the live definition, or of the next start's if it is stopped. `kept` are
    the pins of a running guest's persistent definition, None if it has none. `kept_first` means that `kept` was last written before the
    guest started, so differences were made live. `disks` counts its disks, `nics` the queues of its interfaces. `macs` are the MAC
    addresses of its interfaces in that definition, `kept_macs` in the persistent one of a running guest, None if it has none. `problem`
    says why our record could not be read; such a guest counts as foreign. `hangs` is a sentence that the guest does not answer, '' if that
    is not known; a guest that cannot be read is shown as last read.
    """

    id: GuestId
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
    huge_mib: int = 0
    pages: tuple[ForeignMemory, ...] = field(default=(), name="huge_pages")
    iothreads: int = 0
    disks: int = 0
    nics: int = 0
    macs: tuple[str, ...] = ()
    kept_macs: tuple[str, ...] | None = None
    problem: str = ""
    hangs: str = ""

    @property
    def small_mib(self) -> int:
        """The guest's memory in small pages."""
        return self.memory_mib - self.huge_mib

    @property
    def server(self) -> str:
        """The name of the server that the guest is for pinfold's service or for Nova; '' if there is none."""
        if self.record is not None:
            return self.record.server
        return "" if self.nova is None else self.nova.name

    @property
    def macs_everywhere(self) -> frozenset[str]:
        """The MAC addresses of the interfaces that each of its definitions has."""
        return frozenset(self.macs) if self.kept_macs is None else frozenset(self.macs) & frozenset(self.kept_macs)

    @property
    def macs_anywhere(self) -> frozenset[str]:
        """The MAC addresses of the interfaces that any of its definitions has."""
        return frozenset(self.macs) | frozenset(self.kept_macs or ())

    @property
    def active(self) -> bool:
        """Whether it has a hypervisor process, running or paused."""
        return self.state in (GuestState.RUNNING, GuestState.PAUSED)


class EventKind(Enum):
    """What happened to a guest or to the connection."""

    STARTED = "started"
    STOPPED = "stopped"
    PAUSED = "paused"
    RESUMED = "resumed"
    DEFINED = "defined"
    UNDEFINED = "undefined"
    PINS_CHANGED = "pins changed"
    DISCONNECTED = "disconnected"


class Event(Struct, frozen=True, kw_only=True):
    """One event. `guest` is '' for an event of the connection."""

    kind: EventKind
    guest: GuestId = GuestId("")
    detail: str = ""


class Observation(Struct, frozen=True, kw_only=True):
    """The threads of one guest, from `observe`. `witness` names the source: `procfs`, `lab records (synthetic)` or `hypervisor's word
    (unverified)`.

    Threads are ordered by id. `stable` is False if new threads kept appearing until the walk gave up.
    """

    threads: tuple[ObservedThread, ...]
    witness: str
    stable: bool = True


class Driver(Protocol):
    """One hypervisor on one host.

    Every method raises `Unavailable` if the hypervisor is away. Methods about one guest raise `GuestHangs` if it does not answer in time.
    """

    @property
    def uri(self) -> str:
        """The address that this driver is connected to."""
        ...

    @property
    def local(self) -> bool:
        """Whether the hypervisor runs on this machine, so that procfs shows its threads. A remote one is read-only and unverified."""
        ...

    @property
    def sole_manager(self) -> bool:
        """Whether pinfold alone moves the guests' threads. Then a repair moves those of any guest, else only those of guests of ours."""
        ...

    def platform_name(self) -> str:
        """The hypervisor's name for people, such as `QEMU`."""
        ...

    def hypervisor_version(self) -> int:
        """The hypervisor's version as one number: 7002011 for 7.2.11."""
        ...

    def processor(self) -> str:
        """The processor that a new guest gets, in words. Raises `InvalidRequest` if the hypervisor cannot give what is configured; the
        sentence names the features that are missing, where the hypervisor tells.
        """
        ...

    def processor_traits(self) -> tuple[str, ...] | None:
        """The traits of the processor that a new guest gets, ascending, as `core.processor_traits` names them. None of those that depend on
        the hypervisor's defaults, and none where the hypervisor cannot give what is configured. None if this driver does not know them.
        """
        ...

    def features(self) -> tuple[str, ...]:
        """What guests can have here beyond CPUs, memory and devices that every host has, as `core.host_features` names it. Raises
        `Unavailable`.
        """
        ...

    def topology(self) -> Topology:
        """The host's cells, cores and pages, as the hypervisor sees them now."""
        ...

    def guests(self) -> tuple[HostGuest, ...]:
        """Every guest that is defined or running, ordered by id."""
        ...

    def definition(self, spec: GuestSpec) -> str:
        """The definition (libvirt: domain XML) that `start` would use. Pure. Raises `InvalidRequest` for an unusable template."""
        ...

    def start(self, spec: GuestSpec) -> HostGuest:
        """Define the guest, start it paused, and return it.

        A failed start leaves nothing behind. Raises `InvalidRequest` if the hypervisor refuses the definition, `Conflict` if the id or
        name exists, `Unavailable` if the hypervisor went away in the middle.
        """
        ...

    def has_saved_memory(self, guest: GuestId) -> bool:
        """Whether the memory of a stopped guest is saved, so that a start that is not fresh goes on from there."""
        ...

    def restart(self, guest: GuestId, *, fresh: bool = False) -> HostGuest:
        """Start a stopped guest, paused: from its saved memory if it has one and the start is not `fresh`, which forgets it.

        Raises `InvalidRequest` if there is none.
        """
        ...

    def redefine(self, guest: GuestId, record: Record, request: GuestRequest) -> HostGuest:
        """Write `record` and its pins into the definition of a stopped guest. The rest of the definition stays.

        On failure the old definition stays. Raises `InvalidRequest` if the guest runs, has a saved state or does not exist, and if the
        hypervisor refuses the definition.
        """
        ...

    def amend(self, guest: GuestId, record: Record) -> None:
        """Write `record` in place of the guest's, in its running definition and in the kept one. Its pins stay.

        Raises `InvalidRequest` if there is no such guest.
        """
        ...

    def attach(self, guest: GuestId, interface: Interface) -> None:
        """Attach an interface to a guest, running or not, in each of its definitions that lacks it, and place the threads that serve it.

        Raises `InvalidRequest` if the hypervisor refuses; then the interface may be in a part of the definitions.
        """
        ...

    def detach(self, guest: GuestId, mac: str, *, seconds: float) -> None:
        """Detach the interface with that MAC address from a guest, running or not, in each of its definitions. One that is not there is no
        error.

        A running guest has to let go of it. Raises `InvalidRequest` if it has not within `seconds`; the interface then stays.
        """
        ...

    def shape(self, guest: GuestId) -> GuestShape:
        """The cells and the memory of a guest, of the running definition if it runs. Raises `InvalidRequest` if there is no such guest."""
        ...

    def diagnostics(self, guest: GuestId) -> Diagnostics:
        """What the hypervisor counts of a guest. Raises `InvalidRequest` if there is no such guest or it does not run."""
        ...

    def console(self, guest: GuestId) -> Path:
        """The terminal of a guest's serial console on this host. Raises `InvalidRequest` if the guest does not run or has none."""
        ...

    def adopt(self, guest: GuestId, record: Record) -> None:
        """Write `record` into a guest without one, and its pins into the kept definition. No thread moves. See `amend`."""
        ...

    def kept_definition(self, guest: GuestId) -> str:
        """The definition that the guest's next start uses, in the hypervisor's own form; '' if it has none. `forget` takes it."""
        ...

    def forget(self, guest: GuestId, *, pins_of: str = "") -> None:
        """Remove our record from a guest's definitions. No record is no error.

        Its pins stay. With `pins_of`, an earlier `kept_definition`, the kept definition gets the pins of that one; no thread moves.
        """
        ...

    def resume(self, guest: GuestId) -> None:
        """Let a paused guest run."""
        ...

    def pause(self, guest: GuestId) -> None:
        """Stop the vCPUs of a running guest. Its process and its memory stay."""
        ...

    def save(self, guest: GuestId) -> None:
        """Save the memory of a guest to disk and end its process. Raises `InvalidRequest` if it cannot be saved; it then goes on."""
        ...

    def shut_down(self, guest: GuestId) -> None:
        """Press the guest's power button and return at once. A guest that does not exist is no error."""
        ...

    def stop(self, guest: GuestId, *, remove: bool, graceful_seconds: float = 0.0) -> None:
        """End the guest's process, after asking it to shut down if a time for that is given. With `remove`, remove its definition too.

        Returns when no process is left. A guest that does not exist is no error.
        """
        ...

    def pin(self, guest: GuestId, masks: ExpectedMasks, *, live_only: bool = False) -> None:
        """Move the threads of a running guest to `masks`, and write the pins into its definition, unless `live_only`.

        vCPUs with an empty set stay. Threads move to the online pCPUs of their set; the definition gets the whole set. Raises
        `InvalidRequest`, before anything moves, if all pCPUs of a set are offline.
        """
        ...

    def observe(self, guest: HostGuest) -> Observation:
        """Observe every thread of the guest's process and its kernel threads, reading until the list is stable."""
        ...

    def repair_command(self, subject: Subject, steps: tuple[Step, ...]) -> str:
        """The shell command that takes the steps of a finding about `subject`; '' if no command can, from here. Pure."""
        ...

    def events(self, callback: Callable[[Event], None]) -> Callable[[], None]:
        """Call back for each event, from a thread of the driver, until the returned function is called."""
        ...

    def close(self) -> None:
        """Close the connection to the hypervisor. Guests are not affected."""
        ...


def refuse_remote(driver: Driver, rule: str, *, key: str = "uri") -> None:
    """Raise `InvalidRequest` if the driver's host is another one. `rule` says what is done where: `a guest is started on its own host`."""
    if not driver.local:
        raise InvalidRequest(f"{rule} alone; {driver.uri} is remote and read-only", key=key)

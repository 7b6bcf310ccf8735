"""Plan the adoption of a running guest that pinfold did not start: its record, the threads to move, or the conflicts. Pure.

The guest keeps the pCPUs of its pinned vCPUs, and its memory. Its other threads move to where a guest of ours with the same policy has
them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from msgspec import UNSET, Struct
from msgspec.structs import replace

from pinfold.core.cpuset import CpuSet
from pinfold.core.drift import InferredMasks, Severity, out_of_place
from pinfold.core.drift.remedy import OWNER
from pinfold.core.fit.answer import EmulatorPlacement, Fit, FitCell
from pinfold.core.fit.check import violations
from pinfold.core.fit.invariants import broken
from pinfold.core.host import HostState, Ledger
from pinfold.core.identity import ClaimId
from pinfold.core.overhead import Masks, ThreadClass, masks, table
from pinfold.core.overhead.booking import PoolBooking, book, free_millicpu
from pinfold.core.overhead.evidence import inferred_policy, is_alone
from pinfold.core.overhead.pool import pool_of
from pinfold.core.plural import pcpus
from pinfold.core.printable import shell_word
from pinfold.core.reasons import Kind, Reason
from pinfold.core.request.guest_hardware import GuestHardware
from pinfold.core.request.model import CpuPolicy, EmulatorPolicy, GuestCell, GuestRequest, PageKind, PageRequest, ThreadPolicy
from pinfold.core.settings import HostSettings
from pinfold.drivers.port import GuestShape, HostGuest, Observation, Record, ShapeCell
from pinfold.host.claims import contested, reading_of, subject_of
from pinfold.host.survey import Survey

NOVAS = (
    "Nova wrote this guest: as long as Nova manages it, its next hard reboot or migration writes Nova's own definition, without the record"
)


class Adoption(Struct, frozen=True, kw_only=True):
    """What adopting a guest means. `record` is None if something conflicts.

    `before` is where its threads may run now; the set of a vCPU or an iothread is what its thread shows. `notes` are sentences about what
    else to know.
    """

    guest: HostGuest
    before: InferredMasks
    record: Record | None = None
    conflicts: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def after(self) -> Masks | None:
        """Where its threads will run."""
        return None if self.record is None else masks(self.record.fit)


def adoption(
    settings: HostSettings,
    seen: Survey,
    guest: HostGuest,
    shape: GuestShape,
    observation: Observation | None,
    *,
    policy: EmulatorPolicy | None,
    claim: ClaimId,
) -> Adoption:
    """The record of a guest without one, from its pins, its cells and its memory.

    1. A vCPU with a single pCPU, by its definition or else by its thread, keeps that pCPU, unless that is only in the shared pool. The
       other vCPUs float over the shared pool.
    2. Each guest cell lies on the host cell of its pCPUs; its memory must be bound there.
    3. `policy` is the emulator policy. None: the one that Nova wrote, or that puts the emulator threads where they are pinned; failing
       that `share` where the host has an overhead pool.
    """
    state = _without(seen.state, guest)
    before = _before(guest, observation, state.topology.online)
    work = _Work(settings, seen, state, guest, shape, before, policy)
    fit = work.fit()
    notes = (NOVAS,) if guest.nova is not None else ()
    if fit is None or work.conflicts:
        return Adoption(guest=guest, before=before, conflicts=tuple(dict.fromkeys(work.conflicts)), notes=notes)
    record = Record(
        guest=guest.id,
        policy=work.policy,
        fit=fit,
        claim=claim,
        flavor=guest.nova.flavor if guest.nova is not None else "",
        owner=OWNER,
        request=work.request(),
        server=guest.server,
    )
    work.check(record)
    return Adoption(
        guest=guest, before=before, record=None if work.conflicts else record, conflicts=tuple(dict.fromkeys(work.conflicts)), notes=notes
    )


def _without(state: HostState, guest: HostGuest) -> HostState:
    """The host without what the guest holds as a foreign one."""
    others = tuple(other for other in state.ledger.foreign if other.name != guest.name)
    return replace(state, ledger=Ledger(claims=state.ledger.claims, foreign=others))


def _before(guest: HostGuest, observation: Observation | None, online: CpuSet) -> InferredMasks:
    placement = online if guest.pins.placement is None else guest.pins.placement
    defined = dict(guest.pins.vcpus)
    seen = {} if observation is None else {one.vcpu: one.allowed for one in observation.threads if one.thread_class is ThreadClass.VCPU}
    vcpus = tuple(seen.get(vcpu) or defined.get(vcpu, placement) for vcpu in range(guest.vcpus))
    threads = () if observation is None else observation.threads
    iothreads = {one.iothread: one.allowed for one in threads if one.thread_class is ThreadClass.IOTHREAD and one.iothread is not None}
    return InferredMasks(
        vcpus=vcpus,
        overhead=placement if guest.pins.emulator is None else guest.pins.emulator,
        iothreads=tuple(sorted((dict(guest.pins.iothreads) | iothreads).items())),
    )


class _Work:
    """Works out one guest's fit, and gathers what conflicts."""

    def __init__(
        self,
        settings: HostSettings,
        seen: Survey,
        state: HostState,
        guest: HostGuest,
        shape: GuestShape,
        before: InferredMasks,
        policy: EmulatorPolicy | None,
    ) -> None:
        self.settings, self.seen, self.state, self.guest, self.shape = settings, seen, state, guest, shape
        self.conflicts: list[str] = []
        self.realtime = guest.pins.realtime
        self.pins = self._pins(before)
        self.cells = shape.cells if shape.numa or self.pins else ()
        self.emulator = before.overhead & state.topology.online
        own = CpuSet(pcpu for vcpu, pcpu in self.pins.items() if vcpu not in self.realtime)
        floating = guest.vcpus - len(self.pins)
        self.own = own | state.pools.shared if floating else own
        self.policy = self._policy(policy)
        self.threads = self._thread_policy()

    def fit(self) -> Fit | None:
        """The fit that the guest has, None if it has none. What is wrong is in `conflicts`."""
        if not self.guest.persistent:
            self.conflicts.append(
                "it has no persistent definition, so its record and its pins would be gone when it ends; `virsh define` it first"
            )
        if self.shape.unplugged:
            plugged = self.guest.vcpus - self.shape.unplugged
            self.conflicts.append(
                f"only {plugged} of its {self.guest.vcpus} vCPUs are plugged in, and a guest of pinfold's has all of them"
            )
        shared = self.state.pools.shared
        floats = CpuSet(range(self.guest.vcpus)) - CpuSet(self.pins)
        if floats and not shared:
            self.conflicts.append(f"vCPU {floats} is not pinned to a single pCPU, and there is no shared pool that it could float over")
            return None
        cells = tuple(cell for shape in self.cells for cell in self._cell(shape))
        if len(cells) != len(self.cells) or self.conflicts:
            return None
        fit = Fit(
            vcpus=self.guest.vcpus,
            memory_mib=self.memory_mib,
            cells=cells,
            float_vcpus=CpuSet() if cells else floats,
            float_set=CpuSet() if cells else shared,
            realtime=self.realtime,
        )
        return self._with_overhead(fit)

    @property
    def memory_mib(self) -> int:
        return sum(cell.memory_mib for cell in self.shape.cells)

    def request(self) -> GuestRequest:
        """What a guest like this would have been asked for."""
        pinned, vcpus = CpuSet(self.pins), CpuSet(range(self.guest.vcpus))
        kind = CpuPolicy.SHARED if not pinned else CpuPolicy.DEDICATED if pinned == vcpus else CpuPolicy.MIXED
        pages = {cell.page_kib for cell in self.cells}
        size = pages.pop() if len(pages) == 1 else 0
        return GuestRequest(
            vcpus=self.guest.vcpus,
            memory_mib=self.memory_mib,
            cpu_policy=kind,
            thread_policy=self.threads,
            emulator_policy=self.policy,
            realtime=self.realtime,
            cells=tuple(
                GuestCell(id=cell.id, vcpus=cell.vcpus, dedicated=cell.vcpus & pinned, memory_mib=cell.memory_mib) for cell in self.cells
            ),
            page=PageRequest(kind=PageKind.EXPLICIT, size_kib=size)
            if size
            else PageRequest(kind=PageKind.ANY if pages else PageKind.SMALL),
            explicit_page=bool(size),
            locked_memory=self.shape.locked,
            cpu_topology=self.shape.cpu_topology,
            disks=self.guest.disks,
            nics=self.guest.nics,
            hardware=GuestHardware(shared_memory=True) if self.shape.shared else UNSET,
        )

    def check(self, record: Record) -> None:
        """Gather what is wrong with the record on this host: other owners, places outside the pools, then all other rules."""
        there = replace(self.guest, record=record, nova=None, problem="")
        others = tuple(there if other.id == there.id else other for other in self.seen.guests)
        lost = contested(replace(self.seen, guests=others), there.id)
        outside = out_of_place(subject_of(self.settings, self.guest), record.fit, self.state.pools, self.state.topology.online)
        self.conflicts += [finding.sentence() for finding in (*lost, *outside) if finding.severity is Severity.DRIFT]
        if wrong := broken(record.fit):
            self.conflicts.append(f"its place {wrong}")
        if not self.conflicts and record.request is not None:
            self.conflicts += violations(record.request, self.state, record.fit)

    def _pins(self, before: InferredMasks) -> dict[int, int]:
        """The pCPU of each vCPU that has one of its own."""
        online, pools = self.state.topology.online, self.state.pools
        defined, pins = dict(self.guest.pins.vcpus), {}
        for vcpu, seen in enumerate(before.vcpus):
            asked = defined.get(vcpu)
            cpus = asked if asked is not None and len(asked) == 1 else seen
            if len(cpus) == 1 and not cpus <= pools.shared - pools.dedicated:
                pins[vcpu] = cpus.first
            elif not online <= cpus and cpus & pools.exclusive:
                own, name = cpus & pools.exclusive, shell_word(self.guest.name)
                self.conflicts.append(
                    f"vCPU {vcpu} may run on {pcpus(str(cpus))}, and {own} of these are dedicated: pin it to one of them "
                    f"(`virsh vcpupin {name} {vcpu} {own.first} --live --config`), or to the shared pool"
                )
        return pins

    def _policy(self, given: EmulatorPolicy | None) -> EmulatorPolicy:
        if given is not None:
            return given
        if not self.pins:
            return EmulatorPolicy.UNSET
        if self.guest.nova is not None and (told := reading_of(self.seen, subject_of(self.settings, self.guest), self.guest).policy):
            return told
        found = inferred_policy(self.emulator, self.own, CpuSet(self.pins.values()), self.state.pools)
        return found or (EmulatorPolicy.SHARE if self.state.pools.has_overhead_pool else EmulatorPolicy.UNSET)

    def _thread_policy(self) -> ThreadPolicy:
        """The thread policy that Nova wrote. Other guests have none, because nothing shows that siblings are idle on purpose."""
        nova = self.guest.nova
        specs: Mapping[str, str] = {} if nova is None else dict(nova.extra_specs or ())
        images: Mapping[str, str] = {} if nova is None else dict(nova.image_properties or ())
        said = specs.get("hw:cpu_thread_policy") or images.get("hw_cpu_thread_policy")
        return next((policy for policy in ThreadPolicy if policy.value == said and self.pins), ThreadPolicy.PREFER)

    def _cell(self, cell: ShapeCell) -> Iterator[FitCell]:
        """The guest cell on the host cell of its pCPUs, or of its memory if it has none."""
        topology = self.state.topology
        pins = tuple((vcpu, self.pins[vcpu]) for vcpu in cell.vcpus if vcpu in self.pins)
        at = CpuSet(topology.cell_of[pcpu] for _, pcpu in pins if pcpu in topology.cell_of) if pins else cell.host_cells
        several = len(topology.cells) > 1
        if len(at) != 1:
            self.conflicts.append(self._astray(cell, pins, at))
            return
        if several and cell.host_cells != at:
            name = shell_word(self.guest.name)
            bound = f"bound to host cell {cell.host_cells}" if cell.host_cells else "not bound to a host cell, so it may be on any"
            how = (
                f"; bind it (`virsh numatune {name} --mode strict --nodeset {at} --config`), stop it and start it"
                if not self.shape.numa
                else ""
            )
            self.conflicts.append(f"its vCPUs are pinned to host cell {at}, but its memory is {bound}{how}")
            return
        host = topology.cell(at.first)
        floats = cell.vcpus - CpuSet(self.pins)
        part = self.state.pools.shared & host.cpus
        if floats and not part:
            self.conflicts.append(f"vCPU {floats} is not pinned to a single pCPU, and host cell {host.id} has no shared pCPU for it")
            return
        yield FitCell(
            guest_cell=cell.id,
            host_cell=host.id,
            pins=pins,
            float_vcpus=floats,
            float_set=part if floats else CpuSet(),
            memory_mib=cell.memory_mib,
            page_kib=cell.page_kib or host.small_page_kib,
        )

    def _astray(self, cell: ShapeCell, pins: tuple[tuple[int, int], ...], at: CpuSet) -> str:
        if not pins:
            where = f"host cells {at}" if at else "no host cell"
            return f"guest cell {cell.id} has no pinned vCPU, and its memory is bound to {where}; one cell is needed"
        if not at:
            return f"its pCPUs {CpuSet(pcpu for _, pcpu in pins)} are not online"
        cell_of = self.state.topology.cell_of
        places = ", ".join(f"vCPU {vcpu} on pCPU {pcpu} of cell {cell_of.get(pcpu, '?')}" for vcpu, pcpu in pins)
        return f"its vCPUs are pinned to several host cells, and a guest cell lies on one: {places}"

    def _with_overhead(self, fit: Fit) -> Fit | None:
        """The fit with idle siblings and overhead threads by its policies."""
        pools = self.state.pools
        rule = table.rule(self.policy, pools.overhead)
        if table.needs_pinned(self.policy) and not self.pins:
            self.conflicts.append(f"emulator policy {self.policy.value} needs pinned vCPUs, and it has none")
            return None
        refusal = rule.refusal or (None if self.own else rule.realtime_refusal)
        if refusal is not None:
            self.conflicts.append(Reason(code=refusal, kind=Kind.INSUFFICIENT).sentence())
            return None
        alone = self.emulator if is_alone(self.emulator, fit.pinned, pools) else CpuSet()
        if rule.placement is EmulatorPlacement.ISOLATED and not alone:
            self.conflicts.append(
                "emulator policy isolate needs emulator threads that are pinned to one dedicated pCPU without a vCPU, "
                f"and they may run on {self.emulator}; pin them, or choose share or unset"
            )
            return None
        if rule.placement is not EmulatorPlacement.ISOLATED:
            alone = CpuSet()
        pool = pool_of(self.state)
        booked = PoolBooking(pool.cpus, 0, ())
        if rule.books:
            booked = book(self.request(), pool, free_millicpu(self.state), fit.cells, self.state.ledger)
        cpus = table.pcpus(rule.placement, booked.cpus, self.own_of(fit), alone)
        if not cpus:
            self.conflicts.append("all its vCPUs are realtime, so its emulator threads have no pCPU to float over; choose share")
            return None
        return replace(
            fit,
            emulator_placement=rule.placement,
            emulator=cpus,
            emulator_pcpu=alone.first if alone else None,
            idle_siblings=self._idle(fit.pinned | alone),
            overhead_millicpu=booked.millicpu,
            overhead_cells=booked.cells,
            warnings=booked.warnings,
        )

    def own_of(self, fit: Fit) -> CpuSet:
        """The guest's own pCPUs that its emulator threads may float over."""
        return fit.floating | CpuSet(pcpu for vcpu, pcpu in fit.pins if vcpu not in self.realtime)

    def _idle(self, carriers: CpuSet) -> CpuSet:
        if self.threads is not ThreadPolicy.ISOLATE:
            return CpuSet()
        siblings = self.state.topology.siblings
        return CpuSet.union(siblings.get(pcpu, CpuSet()) for pcpu in carriers) - carriers

"""Guests and surveys as values, for the tables in this folder."""

from __future__ import annotations

from pinfold.core.cpuset import CpuSet
from pinfold.core.fit.model import EmulatorPlacement, Fit, FitCell
from pinfold.core.host import Claim, HostState, Ledger
from pinfold.core.hosttext import host
from pinfold.core.pools import Pools
from pinfold.core.request.model import EmulatorPolicy
from pinfold.core.topology import Topology
from pinfold.drivers.port import DefinedPins, GuestState, HostGuest, NovaRecord, Record
from pinfold.host.survey import Survey, foreign

HOST = host("cell:2 core:4 pu:2")
"""Two cells of eight pCPUs: 0-7 and 8-15, siblings side by side."""


def cpus(text: str) -> CpuSet:
    return CpuSet.parse(text)


POOLS = Pools(shared=cpus("0-1"), dedicated=cpus("2-15"), overhead=cpus("0-1"))


def uuid(number: int) -> str:
    return f"00000000-0000-0000-0000-{number:012d}"


def fit(pins: str, *, emulator: str = "", pcpu: int | None = None, idle: str = "") -> Fit:
    """A fit whose vCPUs sit on the pCPUs of `pins`, ascending; the emulator on the pool given, on a pCPU alone, or over the guest's own."""
    pairs = tuple(enumerate(cpus(pins)))
    placement = EmulatorPlacement.ISOLATED if pcpu is not None else EmulatorPlacement.POOL if emulator else EmulatorPlacement.FLOAT
    return Fit(
        vcpus=len(pairs),
        memory_mib=64,
        cells=(FitCell(guest_cell=0, host_cell=0, pins=pairs, memory_mib=64),),
        emulator_placement=placement,
        emulator=CpuSet.of(pcpu) if pcpu is not None else cpus(emulator or pins),
        emulator_pcpu=pcpu,
        idle_siblings=cpus(idle),
        overhead_millicpu=32 if emulator else 0,
    )


def ours(number: int, name: str, recorded: Fit, *, policy: EmulatorPolicy = EmulatorPolicy.SHARE, running: bool = True) -> HostGuest:
    """A guest of ours whose definition says what its record says."""
    return HostGuest(
        id=uuid(number),
        name=name,
        state=GuestState.RUNNING if running else GuestState.STOPPED,
        vcpus=recorded.vcpus,
        memory_mib=recorded.memory_mib,
        pid=1000 + number if running else None,
        record=Record(guest=uuid(number), policy=policy, fit=recorded),
        pins=DefinedPins(vcpus=tuple((vcpu, CpuSet.of(cpu)) for vcpu, cpu in recorded.pins), emulator=recorded.emulator),
    )


def theirs(
    number: int,
    name: str,
    vcpus: list[str] | int,
    *,
    emulator: str | None = None,
    placement: str | None = None,
    realtime: str = "",
    specs: dict[str, str] | None = None,
    nova: bool = False,
    running: bool = True,
    server: str = "",
    kept: DefinedPins | None = None,
) -> HostGuest:
    """Somebody else's guest: the pin of each vCPU, or only how many there are. `specs` None: an older Nova, which wrote none."""
    pins = () if isinstance(vcpus, int) else tuple(enumerate(map(cpus, vcpus)))
    count = vcpus if isinstance(vcpus, int) else len(vcpus)
    told = None if specs is None else tuple(sorted(specs.items()))
    return HostGuest(
        id=uuid(number),
        name=name,
        state=GuestState.RUNNING if running else GuestState.STOPPED,
        vcpus=count,
        memory_mib=128,
        pid=1000 + number if running else None,
        nova=NovaRecord(flavor="m1", vcpus=count, memory_mib=128, extra_specs=told, name=server) if nova else None,
        kept=kept,
        pins=DefinedPins(
            vcpus=pins,
            emulator=None if emulator is None else cpus(emulator),
            placement=None if placement is None else cpus(placement),
            realtime=cpus(realtime),
        ),
    )


def surveyed(*guests: HostGuest, pools: Pools = POOLS, topology: Topology = HOST) -> Survey:
    """The survey of a host with these guests."""
    ledger = Ledger(
        claims=tuple(Claim(guest=guest.id, fit=guest.record.fit) for guest in guests if guest.record is not None),
        foreign=tuple(foreign(guest, pools, topology) for guest in sorted(guests, key=lambda guest: guest.name) if guest.record is None),
    )
    return Survey(state=HostState(topology=topology, pools=pools, ledger=ledger, name="h1"), guests=guests, configured=pools)

"""Guests as a driver shows them, ours and others', and the survey of a host that has them."""

from __future__ import annotations

from typing import Any

from tests.build.hosts import cpus, pools

from pinfold.core.cpuset import CpuSet
from pinfold.core.fit.answer import Fit
from pinfold.core.host import Claim, HostState, Ledger
from pinfold.core.hosttext import host
from pinfold.core.pools import Pools
from pinfold.core.request.model import EmulatorPolicy
from pinfold.core.topology import Topology
from pinfold.drivers.port import DefinedPins, GuestState, HostGuest, NovaRecord, Record
from pinfold.host.survey import Survey, foreign

HOST = host("cell:2 core:4 pu:2")
"""Two cells of eight pCPUs: 0-7 and 8-15, siblings side by side."""


POOLS = pools("0-1", "2-15", "0-1")


def uuid(number: int) -> str:
    return f"00000000-0000-0000-0000-{number:012d}"


def recorded(record: Record, *, name: str = "", state: GuestState = GuestState.RUNNING, **more: Any) -> HostGuest:
    """The guest of a record."""
    fit = record.fit
    return HostGuest(
        id=record.guest, name=name or record.guest, state=state, vcpus=fit.vcpus, memory_mib=fit.memory_mib, record=record, **more
    )


def ours(number: int, name: str, placed: Fit, *, policy: EmulatorPolicy = EmulatorPolicy.SHARE, running: bool = True) -> HostGuest:
    """A guest of ours whose definition says what its record says."""
    return recorded(
        Record(guest=uuid(number), policy=policy, fit=placed),
        name=name,
        state=GuestState.RUNNING if running else GuestState.STOPPED,
        pid=1000 + number if running else None,
        pins=DefinedPins(vcpus=tuple((vcpu, CpuSet.of(cpu)) for vcpu, cpu in placed.pins), emulator=placed.emulator),
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

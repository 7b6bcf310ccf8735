"""Guests for two pCPUs, 0 and 1, each with the fit that the engine would give it, made by hand so that the driver is tried alone."""

from __future__ import annotations

import uuid
from pathlib import Path

from msgspec.structs import replace

from pinfold.core.cpuset import CpuSet
from pinfold.core.fit.answer import EmulatorPlacement, Fit, FitCell
from pinfold.core.request.model import CpuPolicy, EmulatorPolicy, GuestCell, GuestRequest
from pinfold.drivers.port import Boot, GuestSpec, Record

MEMORY_MIB = 8


def pinned(
    rom: Path,
    *,
    vcpus: str = "1",
    emulator: str = "1",
    policy: EmulatorPolicy = EmulatorPolicy.UNSET,
    floating: str = "",
    realtime: str = "",
    name: str = "web",
    boot: Boot | None = None,
    template: str = "",
) -> GuestSpec:
    """A guest of one cell with a vCPU on each of `vcpus`, and one more that floats over `floating`."""
    pins = tuple(enumerate(CpuSet.parse(vcpus)))
    rest = CpuSet.of(len(pins)) if floating else CpuSet()
    count = len(pins) + len(rest)
    placement = {EmulatorPolicy.SHARE: EmulatorPlacement.POOL, EmulatorPolicy.ISOLATE: EmulatorPlacement.ISOLATED}
    emulators = CpuSet.parse(emulator)
    dedicated = CpuSet(vcpu for vcpu, _ in pins)
    cell = FitCell(guest_cell=0, host_cell=0, pins=pins, float_vcpus=rest, float_set=CpuSet.parse(floating), memory_mib=MEMORY_MIB)
    fit = Fit(
        vcpus=count,
        memory_mib=MEMORY_MIB,
        cells=(cell,),
        realtime=CpuSet.parse(realtime),
        emulator_placement=placement.get(policy, EmulatorPlacement.FLOAT),
        emulator=emulators,
        emulator_pcpu=emulators.first if policy is EmulatorPolicy.ISOLATE else None,
    )
    request = GuestRequest(
        vcpus=count,
        memory_mib=MEMORY_MIB,
        cpu_policy=CpuPolicy.MIXED if rest else CpuPolicy.DEDICATED,
        emulator_policy=policy,
        realtime=CpuSet.parse(realtime),
        cells=(GuestCell(id=0, vcpus=dedicated | rest, dedicated=dedicated, memory_mib=MEMORY_MIB),),
    )
    guest = str(uuid.uuid4())
    record = Record(guest=guest, policy=policy, fit=fit, revision=5, flavor="probe")
    started = Boot() if template else replace(boot or Boot(), rom=str(rom))
    return GuestSpec(name=name, request=request, record=record, boot=started, template=template)


def floating(rom: Path, *, over: str = "0", name: str = "web") -> GuestSpec:
    """A guest without cells: two vCPUs and all the rest float over `over`."""
    pool, guest = CpuSet.parse(over), str(uuid.uuid4())
    fit = Fit(vcpus=2, memory_mib=MEMORY_MIB, float_vcpus=CpuSet.of(0, 1), float_set=pool, emulator=pool)
    record = Record(guest=guest, policy=EmulatorPolicy.UNSET, fit=fit)
    return GuestSpec(name=name, request=GuestRequest(vcpus=2, memory_mib=MEMORY_MIB), record=record, boot=Boot(rom=str(rom)))

"""Guests by name, each as the fit that a two-cell host with the pools shared 0-3,16-19 and dedicated the rest could give it."""

from __future__ import annotations

from pinfold.core.cpuset import CpuSet
from pinfold.core.fit.answer import EmulatorPlacement, Fit, FitCell
from pinfold.core.request.model import CpuPolicy, EmulatorPolicy, GuestCell, GuestCpuTopology, GuestRequest
from pinfold.drivers.port import Boot, GuestSpec, Record

ID = "5d2c1f60-7a0c-4a53-9c5e-0f4f3f0b6c11"
POOL = CpuSet.parse("0-3")
ROM = Boot(rom="/var/lib/pinfold/images/idle.rom")


def cell(
    index: int, pins: dict[int, int], *, floating: str = "", host_cell: int | None = None, page_kib: int = 4, memory: int = 512
) -> FitCell:
    """One guest cell; its shared vCPUs float over the pool."""
    return FitCell(
        guest_cell=index,
        host_cell=index if host_cell is None else host_cell,
        pins=tuple(sorted(pins.items())),
        float_vcpus=CpuSet.parse(floating),
        float_set=POOL if floating else CpuSet(),
        memory_mib=memory,
        page_kib=page_kib,
    )


def spec(
    *cells: FitCell,
    emulator: str,
    placement: EmulatorPlacement = EmulatorPlacement.FLOAT,
    policy: EmulatorPolicy = EmulatorPolicy.UNSET,
    realtime: str = "",
    idle: str = "",
    boot: Boot = ROM,
    locked: bool = False,
    seen: GuestCpuTopology | None = None,
    name: str = "web-1",
    template: str = "",
    virt_type: str = "",
) -> GuestSpec:
    vcpus = sum(len(each.pins) + len(each.float_vcpus) for each in cells)
    emulators = CpuSet.parse(emulator)
    fit = Fit(
        vcpus=vcpus,
        memory_mib=sum(each.memory_mib for each in cells),
        cells=cells,
        realtime=CpuSet.parse(realtime),
        emulator_placement=placement,
        emulator=emulators,
        emulator_pcpu=emulators.first if placement is EmulatorPlacement.ISOLATED else None,
        idle_siblings=CpuSet.parse(idle),
    )
    wanted = tuple(
        GuestCell(
            id=each.guest_cell,
            vcpus=CpuSet(vcpu for vcpu, _ in each.pins) | each.float_vcpus,
            dedicated=CpuSet(vcpu for vcpu, _ in each.pins),
            memory_mib=each.memory_mib,
        )
        for each in cells
    )
    mixed = any(each.float_vcpus for each in cells)
    request = GuestRequest(
        vcpus=vcpus,
        memory_mib=fit.memory_mib,
        cpu_policy=CpuPolicy.MIXED if mixed else CpuPolicy.DEDICATED,
        emulator_policy=policy,
        realtime=CpuSet.parse(realtime),
        cells=wanted,
        locked_memory=locked,
        cpu_topology=seen,
    )
    record = Record(guest=ID, policy=policy, fit=fit, revision=7, flavor="pinned.small")
    return GuestSpec(name=name, request=request, record=record, boot=boot, template=template, virt_type=virt_type)


def floating() -> GuestSpec:
    """A guest without cells: all of it floats over the shared pool."""
    fit = Fit(vcpus=2, memory_mib=1024, float_vcpus=CpuSet.of(0, 1), float_set=POOL, emulator=POOL)
    record = Record(guest=ID, policy=EmulatorPolicy.UNSET, fit=fit)
    return GuestSpec(name="web-1", request=GuestRequest(vcpus=2, memory_mib=1024), record=record, boot=ROM)


SHARE = {"emulator": "0-3", "placement": EmulatorPlacement.POOL, "policy": EmulatorPolicy.SHARE}
ISOLATE = {"placement": EmulatorPlacement.ISOLATED, "policy": EmulatorPolicy.ISOLATE}
DISK = Boot(disk="/var/lib/pinfold/disks/web-1.qcow2", disk_format="qcow2", serial_log="/var/lib/pinfold/logs/web-1.log", iothreads=2)
KERNEL = Boot(kernel="/srv/vmlinuz", initrd="/srv/initrd & more", cmdline="console=ttyS0 quiet")

SPECS: dict[str, GuestSpec] = {
    "floating": floating(),
    "unset": spec(cell(0, {0: 4, 1: 20}), emulator="4,20"),
    "share-with-pool": spec(cell(0, {0: 4, 1: 20}), **SHARE),  # type: ignore[arg-type]
    "share-without-pool": spec(cell(0, {0: 4, 1: 20}), emulator="4,20", policy=EmulatorPolicy.SHARE),
    "isolate": spec(cell(0, {0: 4, 1: 20}), emulator="5", **ISOLATE),  # type: ignore[arg-type]
    "isolate-whole-cores": spec(cell(0, {0: 4, 1: 5}), emulator="6", idle="20-22", **ISOLATE),  # type: ignore[arg-type]
    "realtime-share": spec(cell(0, {0: 4, 1: 5, 2: 6}), realtime="1-2", **SHARE),  # type: ignore[arg-type]
    "realtime-unset": spec(cell(0, {0: 4, 1: 5}), emulator="4", realtime="1"),
    "mixed": spec(cell(0, {1: 4, 2: 5}, floating="0,3"), emulator="0-5"),
    "mixed-cell-without-pins-isolate": spec(
        cell(0, {}, floating="0-1"),
        cell(1, {2: 8, 3: 9}),
        emulator="7",
        **ISOLATE,  # type: ignore[arg-type]
    ),
    "two-cells-huge-pages": spec(
        cell(0, {0: 8, 1: 9}, host_cell=1, page_kib=2048),
        cell(1, {2: 4, 3: 5}, host_cell=0, page_kib=1048576, memory=2048),
        **SHARE,  # type: ignore[arg-type]
    ),
    "huge-and-small-pages": spec(cell(0, {0: 4}, page_kib=2048), cell(1, {1: 8}), emulator="4,8"),
    "locked-memory": spec(cell(0, {0: 4}), emulator="4", locked=True),
    "guest-topology": spec(cell(0, {0: 4, 1: 20}), emulator="4,20", seen=GuestCpuTopology(sockets=1, cores=1, threads=2)),
    "disk-and-iothreads": spec(cell(0, {0: 4}), boot=DISK, **SHARE),  # type: ignore[arg-type]
    "kernel-emulated": spec(cell(0, {0: 4}), emulator="4", boot=KERNEL, virt_type="qemu"),
}

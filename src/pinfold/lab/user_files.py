"""The files that a lab gives its user: a pinfold.conf with pools for the topology, flavors to try, a ROM and a disk to boot."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pinfold.core.cpuset import CpuSet
from pinfold.core.topology import Topology
from pinfold.lab import rom
from pinfold.lab.folder import LabFolder

_DISK_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class LabFlavor:
    """One flavor of a lab's flavors file; `specs` are its extra specs, as `(key, value)`."""

    name: str
    vcpus: int
    ram_mib: int
    specs: tuple[tuple[str, str], ...] = ()


_DEDICATED: Final = ("hw:cpu_policy", "dedicated")
_SHARE: Final = ("hw:emulator_threads_policy", "share")
_ISOLATE: Final = ("hw:emulator_threads_policy", "isolate")

FLAVORS: Final = (
    LabFlavor(name="float", vcpus=2, ram_mib=256),
    LabFlavor(name="pinned", vcpus=2, ram_mib=512, specs=(_DEDICATED,)),
    LabFlavor(name="share", vcpus=2, ram_mib=512, specs=(_DEDICATED, _SHARE)),
    LabFlavor(name="isolate", vcpus=2, ram_mib=512, specs=(_DEDICATED, _ISOLATE)),
    LabFlavor(name="cores", vcpus=2, ram_mib=1024, specs=(_DEDICATED, ("hw:cpu_thread_policy", "isolate"), _SHARE)),
    LabFlavor(name="mixed", vcpus=4, ram_mib=1024, specs=(("hw:cpu_policy", "mixed"), ("hw:cpu_dedicated_mask", "^0"), _SHARE)),
    LabFlavor(name="wide", vcpus=8, ram_mib=4096, specs=(_DEDICATED, ("hw:numa_nodes", "2"), _SHARE)),
)
"""The flavors of a lab. Its guest is a ROM of 64 KiB and uses hardly any of its memory."""


def flavors_file(flavors: Iterable[LabFlavor] = FLAVORS) -> str:
    """The text of a flavors file. Pure.

    >>> print(flavors_file([LabFlavor(name="one", vcpus=1, ram_mib=64, specs=(("hw:cpu_policy", "dedicated"),))]), end="")
    [flavors.one]
    vcpus = 1
    ram = 64
    [flavors.one.properties]
    "hw:cpu_policy" = "dedicated"
    """
    blocks = []
    for flavor in flavors:
        lines = [f"[flavors.{flavor.name}]", f"vcpus = {flavor.vcpus}", f"ram = {flavor.ram_mib}"]
        if flavor.specs:
            lines += [f"[flavors.{flavor.name}.properties]", *(f'"{key}" = "{value}"' for key, value in flavor.specs)]
        blocks.append("\n".join(lines) + "\n")
    return "\n".join(blocks)


@dataclass(frozen=True, slots=True, kw_only=True)
class LabPools:
    """The two pools of a lab's configuration. `dedicated` is empty if the host has only one core."""

    shared: CpuSet
    dedicated: CpuSet


def pools(topology: Topology) -> LabPools:
    """The pools for a host: the first core of every cell with several cores is shared, the rest dedicated.

    Without a cell with several cores all is shared.

    >>> from pinfold.core.hosttext import host
    >>> pools(host("cell:2 core:4 pu:2"))
    LabPools(shared=CpuSet('0-1,8-9'), dedicated=CpuSet('2-7,10-15'))
    """
    shared = CpuSet()
    for cell in topology.cells:
        if len(cell.cores) > 1:
            shared |= cell.cores[0]
    if not shared:
        return LabPools(shared=topology.online, dedicated=CpuSet())
    return LabPools(shared=shared, dedicated=topology.online - shared)


def machine_pools(system: Path = Path("/sys/devices/system/cpu")) -> LabPools:
    """The pools for this machine, from its sysfs: the core of the first pCPU is shared, the rest dedicated."""
    usable = CpuSet(os.sched_getaffinity(0))
    siblings = (system / f"cpu{usable.first}/topology/thread_siblings_list").read_text()
    shared = CpuSet.parse(siblings.strip()) & usable
    return LabPools(shared=shared, dedicated=usable - shared)


def configuration(folder: LabFolder, chosen: LabPools, *, about: str) -> str:
    """The text of a pinfold.conf for the lab in `folder`. Pure."""
    lines = [f"# {about}", "[compute]", f"cpu_shared_set = {chosen.shared}"]
    if chosen.dedicated:
        lines.append(f"cpu_dedicated_set = {chosen.dedicated}")
    lines += ["", "[libvirt]", f"connection_uri = {folder.uri}", ""]
    lines += ["[pinfold]", f"state_dir = {folder.path}/state", f"flavors_file = {folder.path}/flavors.toml"]
    return "\n".join(lines) + "\n"


def write(folder: LabFolder, chosen: LabPools, *, about: str) -> None:
    """Write pinfold.conf, flavors.toml, two ROMs (`idle.rom` sleeps, `busy.rom` reads its disk) and disk.raw into the lab's folder."""
    folder.configuration.write_text(configuration(folder, chosen, about=about))
    (folder.path / "flavors.toml").write_text(
        "# Flavors to try. The guest is a ROM of 64 KiB: memory is a number here, and hardly used.\n" + flavors_file()
    )
    rom.write(folder.path / "idle.rom")
    rom.write(folder.path / "busy.rom", rom.Parameters(behaviour=rom.Behaviour.TICK, io=rom.Io.DISK, io_depth=8))
    with open(folder.path / "disk.raw", "wb") as disk:
        disk.truncate(_DISK_BYTES)

"""Write a topology as the files of `/sys/devices/system/{cpu,node}`, for a lab's libvirtd. `linux.sysfs` reads such files."""

from __future__ import annotations

import os
from pathlib import Path

from pinfold.core.cpuset import CpuSet
from pinfold.core.topology import HostCell, Topology

_REMOTE_DISTANCE = 21


def write(topology: Topology, root: Path) -> None:
    """Write the topology below `root`, which takes the place of `/sys`: `devices/system/cpu`, `devices/system/node`."""
    base = root / "devices/system"
    for name, text in files(topology).items():
        path = base / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    for cell in topology.cells:
        for cpu in cell.cpus:
            os.symlink(f"../../node/node{cell.id}", base / f"cpu/cpu{cpu}/node{cell.id}")
            os.symlink(f"../../cpu/cpu{cpu}", base / f"node/node{cell.id}/cpu{cpu}")


def files(topology: Topology) -> dict[str, str]:
    """The text of every file without its last line end, by path below `devices/system`. Pure.

    >>> from pinfold.core.topology import HostCell
    >>> one = Topology(cells=(HostCell(id=0, cores=(CpuSet.of(0, 2), CpuSet.of(1, 3)), memory_mib=64),))
    >>> files(one)["cpu/online"], files(one)["cpu/cpu3/topology/thread_siblings_list"], files(one)["node/node0/cpumap"]
    ('0-3', '1,3', '0000000f')
    """
    found = _cpu_files(topology)
    cells = CpuSet(cell.id for cell in topology.cells)
    found["node/online"] = found["node/possible"] = str(cells)
    found["node/has_cpu"] = str(CpuSet(cell.id for cell in topology.cells if cell.cores))
    with_memory = str(CpuSet(cell.id for cell in topology.cells if cell.memory_mib))
    found["node/has_memory"] = found["node/has_normal_memory"] = with_memory
    for cell in topology.cells:
        for name, text in _cell_files(cell, topology).items():
            found[f"node/node{cell.id}/{name}"] = text
    return found


def _cpu_files(topology: Topology) -> dict[str, str]:
    present = topology.online | topology.offline
    smt = topology.threads_per_core > 1
    found = {
        "cpu/online": str(topology.online),
        "cpu/offline": str(topology.offline),
        "cpu/present": str(present),
        "cpu/possible": str(present),
        "cpu/isolated": "",
        "cpu/kernel_max": "8191",
        "cpu/smt/active": str(int(smt)),
        "cpu/smt/control": "on" if smt else "notsupported",
    }
    found |= _cache_files(topology)
    packages: dict[int, CpuSet] = {}
    cores: list[tuple[int, CpuSet]] = []
    for cell in topology.cells:
        for index, core in enumerate(cell.cores):
            socket = cell.sockets[index] if cell.sockets else cell.id
            packages[socket] = packages.get(socket, CpuSet()) | core
            cores.append((socket, core))
    core_ids: dict[int, int] = {}
    for socket, core in cores:
        core_id = core_ids[socket] = core_ids.get(socket, -1) + 1
        for cpu in core:
            found[f"cpu/cpu{cpu}/online"] = "1"
            for name, text in _topology_files(socket, core_id, core, packages[socket]).items():
                found[f"cpu/cpu{cpu}/topology/{name}"] = text
    for cpu in topology.offline:
        found[f"cpu/cpu{cpu}/online"] = "0"
    return found


def _cache_files(topology: Topology) -> dict[str, str]:
    """The last-level cache of each pCPU, if the topology has them."""
    shared: dict[int, CpuSet] = {}
    cores = [one for cell in topology.cells for one in zip(cell.cores, cell.caches, strict=False)]
    for core, cache in cores:
        shared[cache] = shared.get(cache, CpuSet()) | core
    found: dict[str, str] = {}
    for core, cache in cores:
        texts = {"level": "3", "type": "Unified", "size": "16384K", "id": str(cache), "shared_cpu_map": _hex_words(shared[cache])}
        for name, text in (texts | {"shared_cpu_list": str(shared[cache])}).items():
            found |= {f"cpu/cpu{cpu}/cache/index0/{name}": text for cpu in core}
    return found


def _topology_files(socket: int, core_id: int, core: CpuSet, package: CpuSet) -> dict[str, str]:
    found = {"physical_package_id": str(socket), "die_id": "0", "cluster_id": "-1", "core_id": str(core_id)}
    groups = {"thread_siblings": core, "core_cpus": core, "core_siblings": package, "package_cpus": package, "die_cpus": package}
    for name, cpus in groups.items():
        found[name] = _hex_words(cpus)
        found[f"{name}_list"] = str(cpus)
    return found


def _cell_files(cell: HostCell, topology: Topology) -> dict[str, str]:
    known = dict(cell.distances)
    distances = [known.get(other.id, 10 if other.id == cell.id else _REMOTE_DISTANCE) for other in topology.cells]
    memory_kib = cell.memory_mib * 1024
    found = {
        "cpulist": str(cell.cpus),
        "cpumap": _hex_words(cell.cpus),
        "distance": " ".join(map(str, distances)),
        "meminfo": "\n".join(
            f"Node {cell.id} {name + ':':14} {kib} kB" for name, kib in (("MemTotal", memory_kib), ("MemFree", memory_kib), ("MemUsed", 0))
        ),
    }
    for pool in cell.pages[1:]:
        for name, count in (("nr", pool.total), ("free", pool.total), ("surplus", 0)):
            found[f"hugepages/hugepages-{pool.size_kib}kB/{name}_hugepages"] = str(count)
    return found


def _hex_words(cpus: CpuSet) -> str:
    """The kernel's mask text: words of 32 bits, the highest first."""
    words = [f"{cpus.mask >> 32 * n & 0xFFFFFFFF:08x}" for n in range(max(1, -(-cpus.mask.bit_length() // 32)))]
    return ",".join(reversed(words))

"""Writes the capabilities of made-up hosts beside this file, in the form libvirt 9.0 gives. `two-pcpus-kvm` is a real machine's.

Run it as `python tests/hosts/generate.py`; what it writes is committed and reviewed by reading. Hosts with offline pCPUs have them in a
file `offline` besides, since capabilities leave them out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Cell:
    """One cell: its cores as sibling tuples, the socket they are in, its memory, and its huge pages by size in KiB."""

    id: int
    cores: tuple[tuple[int, ...], ...]
    socket: int = 0
    memory_mib: int = 16384
    huge: tuple[tuple[int, int], ...] = ((2048, 0), (1048576, 0))
    small_kib: int = 4


@dataclass(frozen=True)
class Host:
    """A host and the remark at the top of its file."""

    cells: tuple[Cell, ...]
    arch: str = "x86_64"
    offline: str = ""
    far: int = 21
    near: int = 12


def adjacent(first: int, cores: int, threads: int) -> tuple[tuple[int, ...], ...]:
    """Cores whose siblings are neighbours: (0, 1), (2, 3), ..."""
    return tuple(tuple(range(first + core * threads, first + (core + 1) * threads)) for core in range(cores))


def distant(first: int, cores: int, stride: int, threads: int = 2) -> tuple[tuple[int, ...], ...]:
    """Cores whose siblings are `stride` apart, as most x86 firmware numbers them: (0, 16), (1, 17), ..."""
    return tuple(tuple(first + core + thread * stride for thread in range(threads)) for core in range(cores))


def cells(count: int, cores: Callable[[int], tuple[tuple[int, ...], ...]], *, per_socket: int = 1, **more: object) -> tuple[Cell, ...]:
    return tuple(Cell(id=index, cores=cores(index), socket=index // per_socket, **more) for index in range(count))  # type: ignore[arg-type]


HOSTS = {
    # One cell, siblings side by side.
    "one-cell-smt": Host(cells=cells(1, lambda _: adjacent(0, 4, 2))),
    "one-cell-no-smt": Host(cells=cells(1, lambda _: adjacent(0, 8, 1))),
    # The usual two-socket server: siblings 16 apart, huge pages of both sizes in use.
    "two-cells-smt": Host(cells=cells(2, lambda i: distant(i * 8, 8, 16), memory_mib=65536, huge=((2048, 4096), (1048576, 16)))),
    # Two sockets, each split in two.
    "four-cells-no-smt": Host(cells=cells(4, lambda i: adjacent(i * 6, 6, 1), per_socket=2)),
    # The second socket has no memory of its own.
    "memory-less-cell": Host(
        cells=(
            Cell(id=0, cores=adjacent(0, 4, 2), socket=0, memory_mib=32768),
            Cell(id=1, cores=adjacent(8, 4, 2), socket=1, memory_mib=0),
        )
    ),
    # Memory behind a link, with no pCPUs; the third cell is the one that pools tend to leave out.
    "cpu-less-cell": Host(
        cells=(
            Cell(id=0, cores=adjacent(0, 4, 2), socket=0),
            Cell(id=1, cores=adjacent(8, 4, 2), socket=1),
            Cell(id=2, cores=(), memory_mib=131072, huge=((2048, 0),)),
        )
    ),
    # Ids with gaps; 2, 9 and 11 are offline, so that two cores have lost a sibling.
    "sparse-offline": Host(
        cells=(Cell(id=0, cores=((0, 1), (3,)), socket=0), Cell(id=3, cores=((8,), (10,), (40, 41)), socket=1)), offline="2,9,11"
    ),
    # POWER: cells 0 and 8, four threads a core, pages of 64 KiB.
    "four-way-smt": Host(
        cells=tuple(
            Cell(id=i * 8, cores=adjacent(i * 32, 8, 4), socket=i * 8, small_kib=64, huge=((16384, 0), (16777216, 0)), memory_mib=262144)
            for i in range(2)
        ),
        arch="ppc64le",
        far=40,
    ),
    # Two sockets of four cells each.
    "eight-cells": Host(cells=cells(8, lambda i: distant(i * 8, 8, 64), per_socket=4, huge=((2048, 1024), (1048576, 4))), far=32),
    # Eight sockets of two cells each, three distances.
    "sixteen-cells": Host(cells=cells(16, lambda i: adjacent(i * 8, 4, 2), per_socket=2, memory_mib=32768), far=32, near=16),
}


def ranges(numbers: Iterable[int]) -> str:
    """A cpulist."""
    parts: list[list[int]] = []
    for number in sorted(numbers):
        if parts and parts[-1][1] == number - 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in parts)


def cell_lines(host: Host, cell: Cell) -> list[str]:
    total_kib = cell.memory_mib * 1024
    small = (total_kib - sum(size * count for size, count in cell.huge)) // cell.small_kib
    lines = [f"        <cell id='{cell.id}'>"]
    if cell.memory_mib:
        lines.append(f"          <memory unit='KiB'>{total_kib}</memory>")
        for size, count in ((cell.small_kib, small), *cell.huge):
            lines.append(f"          <pages unit='KiB' size='{size}'>{count}</pages>")
    lines.append("          <distances>")
    for other in host.cells:
        value = 10 if other.id == cell.id else host.near if other.socket == cell.socket else host.far
        lines.append(f"            <sibling id='{other.id}' value='{value}'/>")
    lines.append("          </distances>")
    pcpus = sorted((pcpu, core) for core in cell.cores for pcpu in core)
    lines.append(f"          <cpus num='{len(pcpus)}'>")
    for pcpu, core in pcpus:
        where = f"socket_id='{cell.socket}' die_id='0' core_id='{cell.cores.index(core)}' siblings='{ranges(core)}'"
        lines.append(f"            <cpu id='{pcpu}' {where}/>")
    return [*lines, "          </cpus>", "        </cell>"]


def capabilities(host: Host) -> str:
    """The whole text, with as much of the rest as pinfold reads."""
    sizes = sorted({size for cell in host.cells for size in (cell.small_kib, *dict(cell.huge))})
    machine = "pc" if host.arch == "x86_64" else "pseries"
    lines = ["<capabilities>", "", "  <host>", "    <cpu>", f"      <arch>{host.arch}</arch>"]
    lines += [f"      <pages unit='KiB' size='{size}'/>" for size in sizes]
    lines += ["    </cpu>", "    <topology>", f"      <cells num='{len(host.cells)}'>"]
    for cell in host.cells:
        lines += cell_lines(host, cell)
    lines += ["      </cells>", "    </topology>", "  </host>", "", "  <guest>", "    <os_type>hvm</os_type>"]
    lines += [f"    <arch name='{host.arch}'>", "      <wordsize>64</wordsize>"]
    lines += [f"      <emulator>/usr/bin/qemu-system-{host.arch.removesuffix('le')}</emulator>", f"      <machine>{machine}</machine>"]
    lines += ["      <domain type='qemu'/>", "      <domain type='kvm'/>", "    </arch>", "  </guest>", "", "</capabilities>"]
    return "\n".join(lines) + "\n"


def main() -> None:
    for name, host in HOSTS.items():
        folder = HERE / name
        folder.mkdir(exist_ok=True)
        (folder / "capabilities.xml").write_text(capabilities(host), encoding="ascii")
        if host.offline:
            (folder / "offline").write_text(host.offline + "\n", encoding="ascii")


if __name__ == "__main__":
    main()

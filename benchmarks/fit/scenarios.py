"""Hosts and flavors as plain values that both sides read. Standard library only: Nova's environment imports this too.

A host here is what Nova's `NUMATopology` and our `HostState` have in common: cells with cores, a shared and a dedicated pool, pinned pCPUs,
floating vCPUs, and pages by size with how many are used. Timing and building either side's objects do not belong here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

SMALL_KIB = 4
LARGE_KIB = 2048
HUGE_KIB = 1048576


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One NUMA cell. `pages` holds `(size in KiB, total, used)`, ascending by size, the small page first."""

    id: int
    cores: tuple[tuple[int, ...], ...]
    shared: tuple[int, ...]
    dedicated: tuple[int, ...]
    pinned: tuple[int, ...]
    floating: int
    pages: tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One host and one flavor. `group` names the policy for the tables."""

    name: str
    group: str
    cells: tuple[Cell, ...]
    fill: float
    vcpus: int
    memory_mib: int
    guest_cells: int
    extra_specs: tuple[tuple[str, str], ...]


DEDICATED = (("hw:cpu_policy", "dedicated"),)
SHARE = ("hw:emulator_threads_policy", "share")
ISOLATE = ("hw:emulator_threads_policy", "isolate")

POLICIES: dict[str, tuple[tuple[str, str], ...]] = {
    "dedicated": DEDICATED,
    "dedicated, emulator share": (*DEDICATED, SHARE),
    "dedicated, emulator isolate": (*DEDICATED, ISOLATE),
    "dedicated, thread prefer, emulator share": (*DEDICATED, ("hw:cpu_thread_policy", "prefer"), SHARE),
    "dedicated, thread require, emulator share": (*DEDICATED, ("hw:cpu_thread_policy", "require"), SHARE),
    "dedicated, thread isolate, emulator share": (*DEDICATED, ("hw:cpu_thread_policy", "isolate"), SHARE),
    "dedicated, thread isolate, emulator isolate": (*DEDICATED, ("hw:cpu_thread_policy", "isolate"), ISOLATE),
    "dedicated, realtime, emulator share": (*DEDICATED, ("hw:cpu_realtime", "yes"), ("hw:cpu_realtime_mask", "^0"), SHARE),
    "dedicated, realtime, emulator isolate": (*DEDICATED, ("hw:cpu_realtime", "yes"), ("hw:cpu_realtime_mask", "^0"), ISOLATE),
    "dedicated, pages large": (*DEDICATED, ("hw:mem_page_size", "large")),
    "dedicated, pages any": (*DEDICATED, ("hw:mem_page_size", "any")),
    "dedicated, pages 2 MiB, emulator share": (*DEDICATED, ("hw:mem_page_size", "2MB"), SHARE),
    "mixed, emulator share": (("hw:cpu_policy", "mixed"), ("hw:cpu_dedicated_mask", "^0"), SHARE),
    "mixed, emulator isolate": (("hw:cpu_policy", "mixed"), ("hw:cpu_dedicated_mask", "^0"), ISOLATE),
    "shared, with cells": (("hw:cpu_policy", "shared"),),
}


def host(rng: Random, cells: int, fill: float, *, threads: int = 2, cores: int = 8) -> tuple[Cell, ...]:
    """Cells of `cores` cores, the first core of each shared; about `fill` of the dedicated pCPUs pinned and of the pages used."""
    found = []
    for cell in range(cells):
        first = cell * cores * threads
        members = tuple(tuple(range(first + core * threads, first + (core + 1) * threads)) for core in range(cores))
        dedicated = tuple(pcpu for core in members[1:] for pcpu in core)
        pinned = round(fill * len(dedicated)) if fill else 0
        at = rng.randrange(0, 2) if 0 < pinned < len(dedicated) else 0
        totals = ((SMALL_KIB, 16384 * 256), (LARGE_KIB, 2048), (HUGE_KIB, 2))
        pages = tuple(
            (size, total, round(fill * total / 256) * 256 if size == SMALL_KIB else round(fill * total)) for size, total in totals
        )
        found.append(
            Cell(
                id=cell,
                cores=members,
                shared=members[0],
                dedicated=dedicated,
                pinned=dedicated[at : at + pinned],
                floating=round(fill * len(members[0])),
                pages=pages,
            )
        )
    return tuple(found)


def standard() -> Iterator[Scenario]:
    """The standard cases: 1 to 16 host cells, empty to nine tenths full, every policy; small guests, large ones, and ones too large."""
    for cells in (1, 2, 4, 8, 16):
        for fill in (0.0, 0.5, 0.9):
            rng = Random(f"{cells}:{fill}")
            for threads in (2, 1):
                made = host(rng, cells, fill, threads=threads, cores=16 // threads)
                for group, specs in POLICIES.items():
                    if threads == 1 and "thread isolate" not in group:
                        continue  # Nova refuses thread policy isolate on hosts with SMT, so it is timed without as well
                    for guest_cells in sorted({1, min(2, cells), min(4, cells)}):
                        for each in (2, 6) if "thread isolate" in group else (2, 12):
                            name = (
                                f"{cells} cells of {16 // threads}x{threads}, {fill:.0%} full, {guest_cells} guest cells of {each}, {group}"
                            )
                            yield scenario(name, group, made, fill, guest_cells, each, specs)


def scenario(
    name: str, group: str, cells: tuple[Cell, ...], fill: float, guest_cells: int, each: int, specs: tuple[tuple[str, str], ...]
) -> Scenario:
    """A guest of `guest_cells` equal cells of `each` vCPUs, 256 MiB for each vCPU."""
    nodes = (("hw:numa_nodes", str(guest_cells)),)
    return Scenario(
        name=name,
        group=group,
        cells=cells,
        fill=fill,
        vcpus=guest_cells * each,
        memory_mib=guest_cells * each * 256,
        guest_cells=guest_cells,
        extra_specs=tuple(sorted(specs + nodes)),
    )


def eight_cell_refusals() -> Iterator[Scenario]:
    """Eight guest cells on sixteen host cells, where no placement exists."""
    rng = Random("eight")
    full, empty = host(rng, 16, 0.9), host(rng, 16, 0.0)
    seven = tuple(empty[cell.id] if cell.id < 7 else cell for cell in full)
    for title, cells, specs in (
        ("no host cell has the pCPUs", full, DEDICATED),
        ("seven host cells have the pCPUs", seven, (*DEDICATED, SHARE)),
        ("seven host cells have the pCPUs, emulator isolate", seven, (*DEDICATED, ISOLATE)),
        ("seven host cells have the pages", seven, (*DEDICATED, ("hw:mem_page_size", "2MB"))),
        ("seven host cells have the pCPUs, mixed", seven, (("hw:cpu_policy", "mixed"), ("hw:cpu_dedicated_mask", "^0"))),
    ):
        each = 2 if "pages" in title else 12
        made = scenario(f"8 guest cells on 16, {title}", title, cells, 0.9, 8, each, specs)
        yield Scenario(**{**made.__dict__, "memory_mib": 8 * 2048}) if "pages" in title else made
    for title, counts in (("the last is too large for any", [2] * 7 + [16]), ("the first is too large for any", [16] + [2] * 7)):
        yield uneven(scenario(f"8 guest cells on 16, {title}", title, empty, 0.0, 8, 2, DEDICATED), counts)


def random_scenario(seed: str) -> Scenario:
    """A small uneven host and a flavor near what it has, for counting where the two sides disagree."""
    rng = Random(seed)
    threads = rng.choice((1, 2, 2, 4))
    cells = rng.choice((1, 2, 2, 3, 4))
    found = []
    first = 0
    for cell in range(cells):
        cores = rng.randint(1, 8 // threads)
        members = tuple(tuple(range(first + core * threads, first + (core + 1) * threads)) for core in range(cores))
        first += cores * threads
        shared_cores = rng.choice((0, 1, 1, 2)) if cores > 1 else rng.choice((0, 0, 1))
        shared = tuple(pcpu for core in members[:shared_cores] for pcpu in core)
        dedicated = tuple(pcpu for core in members[shared_cores:] for pcpu in core)
        pinned = tuple(sorted(rng.sample(dedicated, rng.choice((0, 0, rng.randint(0, len(dedicated)))))))
        pages = tuple((size, total, rng.choice((0, total // 2, total))) for size, total in ((SMALL_KIB, 8192 * 256), (LARGE_KIB, 1024)))
        found.append(
            Cell(
                id=cell,
                cores=members,
                shared=shared,
                dedicated=dedicated,
                pinned=pinned,
                floating=rng.choice((0, 0, 1)) if shared else 0,
                pages=pages,
            )
        )
    group = rng.choice(list(POLICIES))
    guest_cells = rng.randint(1, cells)
    each = rng.randint(2 if group.startswith("mixed") or "realtime" in group else 1, 4)
    made = scenario(f"random {seed}", group, tuple(found), 0.5, guest_cells, each, POLICIES[group])
    if guest_cells == 1 or rng.random() < 0.5:
        return made
    counts = [max(1, each + rng.choice((0, 0, 1, -1, 2))) for _ in range(guest_cells)]
    return uneven(made, counts)


def uneven(made: Scenario, counts: list[int]) -> Scenario:
    """The same guest with `counts[n]` vCPUs in cell n, 256 MiB for each."""
    first, specs = 0, dict(made.extra_specs)
    for cell, count in enumerate(counts):
        specs[f"hw:numa_cpus.{cell}"] = ",".join(str(vcpu) for vcpu in range(first, first + count))
        specs[f"hw:numa_mem.{cell}"] = str(256 * count)
        first += count
    values = {**made.__dict__, "vcpus": first, "memory_mib": 256 * first, "extra_specs": tuple(sorted(specs.items()))}
    return Scenario(**values)

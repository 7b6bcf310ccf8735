"""`host`: a topology from a short text, for tests, examples and simulations. Real hosts come from a driver."""

from __future__ import annotations

from itertools import pairwise
from typing import Final

from msgspec import Struct, field

from pinfold.core.bounds import MAX_AMOUNT, MAX_CELL, MAX_CELLS, MAX_CPU, MAX_HOST_TEXT, MAX_PAGE_KIB
from pinfold.core.cpuset import CpuSet
from pinfold.core.errors import InvalidRequest, InvariantViolation
from pinfold.core.printable import quoted
from pinfold.core.topology import HostCell, PagePool, Topology, check

_COUNTS: Final = {"pack": 1, "cell": 1, "core": 1, "pu": 1, "cache": 0, "mem": 4096, "small": 4}
_MOST: Final = {
    "pack": MAX_CELLS,
    "cell": MAX_CELLS,
    "core": MAX_CPU + 1,
    "pu": MAX_CPU + 1,
    "cache": MAX_CPU + 1,
    "mem": MAX_AMOUNT,
    "small": MAX_PAGE_KIB,
}
_HOST_WORDS: Final = ("far", "step", "offline", "ids")


def host(text: str) -> Topology:
    """Parse a text like hwloc's synthetic descriptions into a topology. Counts nest: `cell` is per package, `core` per cell.

    Groups of cells are separated by `/`, the words of a group by blanks:

    - `pack:2 cell:1 core:8 pu:2`: packages (sockets), cells in each, cores in each cell, threads on each core. The default is 1.
      `core:0` makes cells without pCPUs.
    - `cache:2`: each cell's cores have 2 last-level caches in equal parts. The default is 0: the host does not report them.
    - `mem:16384`: MiB of each cell, huge pages included (default 4096). `mem:0` makes a cell without memory.
    - `huge:2048x512,1048576x4`: 512 pages of 2048 KiB and 4 of 1048576 KiB in each cell. `small:64`: the small page in KiB (4).

    Words for the whole host; each may occur once, in any group:

    - `far`: siblings are numbered far apart, as on Intel machines (on 8 cores 0 and 8), instead of side by side (0 and 1).
    - `step:2`: pCPU ids 0, 2, 4, …; `ids:0,2,8`: the cells' ids; `offline:3,8-9`: these pCPUs exist, but are offline.

    Distances are 10 within a cell, 12 in the same package, 20 across. Raises `InvalidRequest` with the word that is wrong.

    >>> [str(core) for core in host("core:2 pu:2").cells[0].cores], [str(core) for core in host("core:2 pu:2 far").cells[0].cores]
    (['0-1', '2-3'], ['0,2', '1,3'])
    >>> [(cell.id, str(cell.cpus), cell.memory_mib) for cell in host("core:4 mem:8192 / core:2 mem:0 ids:0,4 offline:5").cells]
    [(0, '0-3', 8192), (4, '4', 0)]
    >>> [(page.size_kib, page.total) for page in host("mem:64 huge:2048x16").cells[0].pages]
    [(4, 8192), (2048, 16)]
    >>> [cell.caches for cell in host("cell:2 core:4 cache:2").cells]
    [(0, 0, 1, 1), (2, 2, 3, 3)]
    >>> host("core:2 smt")
    Traceback (most recent call last):
    ...
    pinfold.core.errors.InvalidRequest: host text: 'smt' is none of pack, cell, core, pu, cache, mem, small, huge, far, step, offline, ids
    """
    if len(text) > MAX_HOST_TEXT:
        raise InvalidRequest(f"host text has {len(text)} characters, at most {MAX_HOST_TEXT} are allowed")
    words: dict[str, str] = {}
    groups = [_group(part, words) for part in text.split("/")]
    _refuse_too_many(groups)
    step = _number("step", words["step"], 1, MAX_CPU) if "step" in words else 1
    builder = _Builder(step=step, offline=CpuSet.parse(words.get("offline", "")))
    for group in groups:
        builder.group(group)
    cells = builder.cells(far="far" in words, ids=words.get("ids"))
    everything = CpuSet.from_mask(builder.everything)
    if not builder.offline <= everything:
        raise InvalidRequest(f"host text: 'offline' names pCPU {(builder.offline - everything).first}, the host has {everything}")
    topology = Topology(cells=cells, offline=builder.offline)
    try:
        check(topology)
    except InvariantViolation as error:
        raise InvalidRequest(f"host text: {error}") from error
    return topology


class _Group(Struct, frozen=True, kw_only=True):
    counts: dict[str, int]
    huge: tuple[PagePool, ...]


class _Cell(Struct, frozen=True, kw_only=True):
    """A cell before its pCPUs have ids: the positions of its cores, counted over the host."""

    package: int
    cores: range
    threads: int
    caches: range
    counts: dict[str, int]
    huge: tuple[PagePool, ...]


class _Builder(Struct, kw_only=True):
    step: int
    offline: CpuSet
    plan: list[_Cell] = field(default_factory=list)
    packages: int = 0
    cores: int = 0
    caches: int = 0
    everything: int = 0

    def group(self, group: _Group) -> None:
        for _ in range(group.counts["pack"]):
            for _ in range(group.counts["cell"]):
                cores = range(self.cores, self.cores + group.counts["core"])
                caches = range(self.caches, self.caches + group.counts["cache"])
                self.plan.append(
                    _Cell(
                        package=self.packages,
                        cores=cores,
                        threads=group.counts["pu"],
                        caches=caches,
                        counts=group.counts,
                        huge=group.huge,
                    )
                )
                self.cores, self.caches = cores.stop, caches.stop
            self.packages += 1

    def cells(self, *, far: bool, ids: str | None) -> tuple[HostCell, ...]:
        """The cells with their pCPUs numbered. `far`: first threads of all cores, then second threads, and so on."""
        numbers = self._numbers(far)
        cell_ids = list(range(len(self.plan))) if ids is None else [_number("ids", item, 0, MAX_CELL) for item in ids.split(",")]
        if len(cell_ids) != len(self.plan) or any(a >= b for a, b in pairwise(cell_ids)):
            raise InvalidRequest(f"host text: {quoted(f'ids:{ids}')} does not name {len(self.plan)} ascending cell ids")
        built = []
        for cell_id, cell in zip(cell_ids, self.plan, strict=True):
            numbered = sorted(
                ((core, _cache(cell, position)) for position in cell.cores if (core := numbers[position] - self.offline)),
                key=lambda one: one[0].first,
            )
            cores = tuple(core for core, _ in numbered)
            distances = [(other_id, _distance(cell, other)) for other_id, other in zip(cell_ids, self.plan, strict=True)]
            built.append(
                HostCell(
                    id=cell_id,
                    cores=cores,
                    sockets=(cell.package,) * len(cores),
                    caches=tuple(cache for _, cache in numbered if cache is not None),
                    memory_mib=cell.counts["mem"],
                    pages=_pages(cell),
                    distances=tuple(distances),
                )
            )
        return tuple(built)

    def _numbers(self, far: bool) -> dict[int, CpuSet]:
        owners = [(position, thread) for cell in self.plan for position in cell.cores for thread in range(cell.threads)]
        if far:
            owners.sort(key=lambda owner: (owner[1], owner[0]))
        if owners and (len(owners) - 1) * self.step > MAX_CPU:
            raise InvalidRequest(f"host text: {len(owners)} pCPUs do not fit below CPU index {MAX_CPU}")
        masks: dict[int, int] = {}
        for index, (position, _) in enumerate(owners):
            masks[position] = masks.get(position, 0) | 1 << index * self.step
            self.everything |= 1 << index * self.step
        return {position: CpuSet.from_mask(mask) for position, mask in masks.items()}


def _cache(cell: _Cell, position: int) -> int | None:
    """The last-level cache of the core at that position."""
    return cell.caches[(position - cell.cores.start) * len(cell.caches) // len(cell.cores)] if cell.caches else None


def _group(text: str, words: dict[str, str]) -> _Group:
    counts = dict(_COUNTS)
    huge: tuple[PagePool, ...] = ()
    seen: set[str] = set()
    for item in text.split():
        word, _, value = item.partition(":")
        if word in seen or word in words:
            raise InvalidRequest(f"host text: {quoted(word)} is given twice")
        if word in _HOST_WORDS:
            words[word] = value
            continue
        seen.add(word)
        if word in _COUNTS:
            counts[word] = _number(word, value, 1 if word in ("pack", "cell", "pu", "small") else 0, _MOST[word])
        elif word == "huge":
            huge = tuple(sorted((_huge(part) for part in value.split(",")), key=lambda page: page.size_kib))
        else:
            known = ", ".join([*_COUNTS, "huge", *_HOST_WORDS])
            raise InvalidRequest(f"host text: {quoted(item)} is none of {known}")
    return _Group(counts=counts, huge=huge)


def _huge(text: str) -> PagePool:
    size, times, count = text.partition("x")
    if not times:
        raise InvalidRequest(f"host text: {quoted(f'huge:{text}')} is not SIZExCOUNT, as in huge:2048x512")
    return PagePool(size_kib=_number("huge", size, 1, MAX_PAGE_KIB), total=_number("huge", count, 0, MAX_AMOUNT))


def _pages(cell: _Cell) -> tuple[PagePool, ...]:
    if not cell.counts["mem"]:
        return ()
    left = cell.counts["mem"] * 1024 - sum(page.size_kib * page.total for page in cell.huge)
    if left < 0:
        raise InvalidRequest(f"host text: the huge pages hold more than the {cell.counts['mem']} MiB of their cell")
    small = cell.counts["small"]
    return (PagePool(size_kib=small, total=left // small), *cell.huge)


def _distance(one: _Cell, other: _Cell) -> int:
    if one is other:
        return 10
    return 12 if one.package == other.package else 20


def _refuse_too_many(groups: list[_Group]) -> None:
    """Count what the groups would create, and refuse too much before creating anything."""
    cells = cpus = 0
    for counts in (group.counts for group in groups):
        made = counts["pack"] * counts["cell"]
        cells += made
        cpus += made * counts["core"] * counts["pu"]
    if cells > MAX_CELLS:
        raise InvalidRequest(f"host text: {cells} cells are too many, at most {MAX_CELLS} are allowed")
    if cpus > MAX_CPU + 1:
        raise InvalidRequest(f"host text: {cpus} pCPUs do not fit below CPU index {MAX_CPU}")


def _number(word: str, text: str, least: int, most: int) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 12 or not least <= int(text) <= most:
        raise InvalidRequest(f"host text: {quoted(f'{word}:{text}')} is no whole number from {least} to {most}")
    return int(text)

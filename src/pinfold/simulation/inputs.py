"""Fleets and mixes: those with a name, and those of CSV files. Text in, values out; `config` reads the files."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from pinfold.core.bounds import MAX_AMOUNT, MAX_CELLS, MAX_CPU
from pinfold.core.errors import InvalidRequest
from pinfold.core.hosttext import host
from pinfold.core.printable import quoted
from pinfold.core.topology import Topology
from pinfold.simulation.model import GuestMix, GuestShape, SimulatedFleet
from pinfold.simulation.table import Row, ignored, lacks_column, number_of, read_table, refuse_twice

DEFAULT_HOST: Final = "pack:2 core:24 pu:2 mem:196608"
"""Two cells of 48 pCPUs, 4 GiB for each pCPU."""
_GIB: Final = 1024

MIXES: Final[Mapping[str, GuestMix]] = {
    mix.name: mix
    for mix in (
        GuestMix(name="small", shapes=(GuestShape(vcpus=2, memory_mib=4 * _GIB),)),
        GuestMix(
            name="mixed",
            shapes=(
                GuestShape(vcpus=1, memory_mib=2 * _GIB, weight=30),
                GuestShape(vcpus=2, memory_mib=4 * _GIB, weight=35),
                GuestShape(vcpus=4, memory_mib=8 * _GIB, weight=20),
                GuestShape(vcpus=8, memory_mib=32 * _GIB, weight=10),
                GuestShape(vcpus=16, memory_mib=64 * _GIB, cells=2, weight=5),
            ),
        ),
        GuestMix(
            name="large",
            shapes=(
                GuestShape(vcpus=8, memory_mib=16 * _GIB, weight=60),
                GuestShape(vcpus=16, memory_mib=64 * _GIB, weight=30),
                GuestShape(vcpus=32, memory_mib=64 * _GIB, cells=2, weight=10),
            ),
        ),
    )
}
"""The synthetic mixes by name."""


def host_of(text: str) -> Topology:
    """The host of a text, which has to name its memory: the default of `core.hosttext` is too small to be meant. Raises `InvalidRequest`.

    >>> host_of("core:4 / core:4 mem:8192")
    Traceback (most recent call last):
    ...
    pinfold.core.errors.InvalidRequest: host text 'core:4 / core:4 mem:8192' names no memory; add mem: with the MiB of each cell, as in \
'pack:2 core:24 pu:2 mem:196608'
    """
    topology = host(text)
    if not all(any(word.startswith("mem:") for word in group.split()) for group in text.split("/")):
        raise InvalidRequest(
            f"host text {quoted(text)} names no memory; add mem: with the MiB of each cell, as in {DEFAULT_HOST!r}", key="--host-text"
        )
    return topology


def requests_of(text: str, name: str) -> GuestMix:
    """The guests of a CSV file, in order. Columns: `vcpus`, `memory_mib` or `memory_gib`, optionally `guest_cells`.

    A warning names the other columns. Raises `InvalidRequest` with the line that is wrong.

    >>> requests_of("vcpus,memory_gib,guest_cells\\n8,16,2\\n", "requests.csv").shapes
    (GuestShape(vcpus=8, memory_mib=16384, cells=2, weight=1.0),)
    """
    columns, rows = read_table(text, name)
    memory_column = "memory_mib" if "memory_mib" in columns else "memory_gib"
    if "vcpus" not in columns:
        raise lacks_column(columns, name, "vcpus")
    if memory_column not in columns:
        raise lacks_column(columns, name, "memory_gib", "memory_mib")
    refuse_twice(columns, name, ("vcpus", memory_column, "guest_cells"))
    shapes, sources = [], []
    for where, row in rows:
        vcpus = number_of(row, "vcpus", where, most=MAX_CPU)
        cells = number_of(row, "guest_cells", where, most=MAX_CELLS) if row.get("guest_cells") else 1
        in_mib = memory_column == "memory_mib"
        memory = number_of(row, memory_column, where, most=MAX_AMOUNT if in_mib else MAX_AMOUNT // _GIB) * (1 if in_mib else _GIB)
        if vcpus % cells or memory % cells:
            raise InvalidRequest(f"{where}: {vcpus} vCPUs and {memory} MiB cannot be divided among {cells} equal cells", key="guest_cells")
        shapes.append(GuestShape(vcpus=vcpus, memory_mib=memory, cells=cells))
        sources.append(where)
    said = ignored(columns, name, ("vcpus", memory_column, "guest_cells"))
    return GuestMix(name=name, shapes=tuple(shapes), ordered=True, sources=tuple(sources), warnings=said)


def fleet_of(text: str, name: str, hosts: int | None = None, reserve: int = 2) -> SimulatedFleet:
    """The hosts of a CSV file with columns `cellN_pcpus` and `cellN_gib`, N from 0. Cores have no siblings.

    They are as many as the file has lines, or as `hosts` says, which take the lines in turn. A warning names the other columns. A line may
    leave its last cells empty. Raises `InvalidRequest`.

    >>> [str(cell.cpus) for cell in fleet_of("cell0_pcpus,cell0_gib,cell1_pcpus,cell1_gib\\n4,8,2,8\\n", "hosts.csv").topologies[0].cells]
    ['0-3', '4-5']
    """
    columns, rows = read_table(text, name)
    known = _cell_columns(columns, name)
    refuse_twice(columns, name, [column for pair in known for column in pair])
    made: dict[str, Topology] = {}
    found, sources = [], []
    for where, row in rows:
        shape = _host_text(row, known, where)
        if shape not in made:
            try:
                made[shape] = host(shape)
            except InvalidRequest as error:
                raise InvalidRequest(f"{where}: {error}") from error
        found.append(made[shape])
        sources.append(where)
    return SimulatedFleet(
        hosts=hosts or len(found),
        topologies=tuple(found),
        reserve=reserve,
        sources=tuple(sources),
        warnings=ignored(columns, name, [column for pair in known for column in pair]),
    )


def _cell_columns(columns: Sequence[str], name: str) -> list[tuple[str, str]]:
    """The two columns of each cell, from cell 0 to the last one that is named. Raises `InvalidRequest` if one is missing between."""
    named = {int(found[1]): column for column in columns if (found := re.fullmatch(r"cell(0|[1-9][0-9]{0,5})_(?:pcpus|gib)", column))}
    last = max(named, default=0)
    if last >= MAX_CELLS:
        raise InvalidRequest(f"{name}: the first line names {named[last]}; a host has at most {MAX_CELLS} cells", key=named[last])
    pairs = [(f"cell{cell}_pcpus", f"cell{cell}_gib") for cell in range(last + 1)]
    for pair in pairs:
        for column in pair:
            if column not in columns:
                raise lacks_column(columns, name, column)
    return pairs


def _host_text(row: Row, pairs: Sequence[tuple[str, str]], where: str) -> str:
    """The host of a row as `core.hosttext` reads it."""
    filled = [bool(row.get(pcpus) or row.get(gib)) for pcpus, gib in pairs]
    used = max((place for place, one in enumerate(filled) if one), default=0) + 1
    cells = []
    for pcpus, gib in pairs[:used]:
        size = number_of(row, pcpus, where, most=MAX_CPU, least=0)
        cells.append(f"core:{size} mem:{number_of(row, gib, where, most=MAX_AMOUNT // _GIB, least=0) * _GIB}")
    return " / ".join(cells)

"""Fleets and mixes: those with a name, and those of CSV files. Text in, values out; `config` reads the files."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from typing import Final

from pinfold.core.bounds import MAX_AMOUNT, MAX_CELLS, MAX_CPU
from pinfold.core.errors import InvalidRequest
from pinfold.core.hosttext import host
from pinfold.core.topology import Topology
from pinfold.simulation.model import GuestMix, GuestShape, SimulatedFleet

DEFAULT_HOST: Final = "pack:2 core:24 pu:2 mem:196608"
"""Two cells of 48 pCPUs, 4 GiB for each pCPU."""
MAX_ROWS: Final = 200_000
_GIB: Final = 1024
_BYTE_ORDER_MARK: Final = "\ufeff"
"""With which Excel begins a CSV file in UTF-8."""

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


def requests_of(text: str, name: str) -> GuestMix:
    """The guests of a CSV file, in order. Columns: `vcpus`, `memory_mib` or `memory_gib`, optionally `guest_cells`; others are ignored.

    Raises `InvalidRequest` with the line that is wrong.

    >>> requests_of("vcpus,memory_gib,guest_cells\\n8,16,2\\n", "requests.csv").shapes
    (GuestShape(vcpus=8, memory_mib=16384, cells=2, weight=1.0),)
    """
    shapes, sources = [], []
    for where, row in _rows(text, name, needed=("vcpus",)):
        vcpus = _number(row, "vcpus", where, most=MAX_CPU)
        cells = _number(row, "guest_cells", where, most=MAX_CELLS) if row.get("guest_cells") else 1
        if "memory_mib" in row:
            memory = _number(row, "memory_mib", where, most=MAX_AMOUNT)
        else:
            memory = _number(row, "memory_gib", where, most=MAX_AMOUNT // _GIB) * _GIB
        if vcpus % cells or memory % cells:
            raise InvalidRequest(f"{where}: {vcpus} vCPUs and {memory} MiB cannot be divided among {cells} equal cells", key="guest_cells")
        shapes.append(GuestShape(vcpus=vcpus, memory_mib=memory, cells=cells))
        sources.append(where)
    return GuestMix(name=name, shapes=tuple(shapes), ordered=True, sources=tuple(sources))


def fleet_of(text: str, name: str, hosts: int | None = None, reserve: int = 2) -> SimulatedFleet:
    """The hosts of a CSV file with columns `cellN_pcpus` and `cellN_gib`, N from 0. Cores have no siblings. Raises `InvalidRequest`.

    They are as many as the file has lines, or as `hosts` says, which take the lines in turn.

    >>> [str(cell.cpus) for cell in fleet_of("cell0_pcpus,cell0_gib,cell1_pcpus,cell1_gib\\n4,8,2,8\\n", "hosts.csv").topologies[0].cells]
    ['0-3', '4-5']
    """
    made: dict[str, Topology] = {}
    found, sources = [], []
    for where, row in _rows(text, name, needed=("cell0_pcpus", "cell0_gib")):
        cells: list[str] = []
        while len(cells) < MAX_CELLS and row.get(f"cell{len(cells)}_pcpus"):
            pcpus = _number(row, f"cell{len(cells)}_pcpus", where, most=MAX_CPU, least=0)
            memory = _number(row, f"cell{len(cells)}_gib", where, most=MAX_AMOUNT // _GIB, least=0)
            cells.append(f"core:{pcpus} mem:{memory * _GIB}")
        shape = " / ".join(cells)
        if shape not in made:
            try:
                made[shape] = host(shape)
            except InvalidRequest as error:
                raise InvalidRequest(f"{where}: {error}") from error
        found.append(made[shape])
        sources.append(where)
    return SimulatedFleet(hosts=hosts or len(found), topologies=tuple(found), reserve=reserve, sources=tuple(sources))


def _rows(text: str, name: str, *, needed: tuple[str, ...]) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Each row by column, with where it stands."""
    reader = csv.DictReader(io.StringIO(text.removeprefix(_BYTE_ORDER_MARK)))
    try:
        columns = reader.fieldnames or ()
        lacking = [column for column in needed if column not in columns]
        if lacking:
            raise InvalidRequest(f"{name}: the first line names no column {lacking[0]!r}", key=lacking[0])
        number = 0
        for number, row in enumerate(reader, start=1):
            if number > MAX_ROWS:
                raise InvalidRequest(f"{name} has more than {MAX_ROWS:,} rows")
            yield f"{name}, line {reader.line_num}", row
    except csv.Error as error:
        raise InvalidRequest(f"{name}, line {reader.line_num}: {error}") from error
    if not number:
        raise InvalidRequest(f"{name} has no rows below its first line")


def _number(row: Mapping[str, str], column: str, where: str, *, most: int, least: int = 1) -> int:
    text = row.get(column) or ""
    if not (text.isascii() and text.isdigit() and len(text) <= 12 and least <= int(text) <= most):
        raise InvalidRequest(f"{where}: {column} is {text[:40]!r}, a whole number from {least} to {most} is allowed", key=column)
    return int(text)

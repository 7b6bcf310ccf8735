"""The screens of what hosts have left, in guests of each flavor, from the documents of `core.fit.capacity`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich.console import RenderableType
from rich.text import Text

from pinfold.cli.views.columns import Columns
from pinfold.core.plural import count

_LACKS: Final = {
    "overhead": "the overhead pool has no room",
    "disk": "the disk has no room",
    "shared": "the shared pool has no room for floating vCPUs",
    "memory": "memory on small pages is short",
    "pages": "huge pages are short",
    "siblings": "the thread policy asks for whole cores or sibling pairs",
    "pcpus": "there are too few in one place for any guest",
}


def capacity_view(left: Mapping[str, Any], not_counted: Sequence[Mapping[str, Any]]) -> list[RenderableType]:
    """One host: its free pCPUs, the free slots of each flavor, and why pCPUs are stranded. Pure."""
    name = left["host"] or "this host"
    return [Text.assemble((name, "bold"), f": {_free(left)}"), *_slots(left), *_stranded(left), *_left_out(not_counted, 0)]


def fleet_capacity_view(answer: Mapping[str, Any]) -> list[RenderableType]:
    """All hosts together, then a line for each host of the service, by name. Pure."""
    fleet = answer["fleet"]
    if not answer["hosts"]:
        return [Text("no hosts; `pinfold host add NAME` makes one known", style="dim")]
    lines: list[RenderableType] = [Text.assemble((count(fleet["hosts"], "host"), "bold"), f": {_free(fleet)}")]
    lines += [*_slots(fleet), *_stranded(fleet), Text()]
    table = Columns("host", "takes new guests", "free pCPUs", "stranded", "free slots")
    for left in answer["hosts"]:
        slots = ", ".join(f"{each['flavor']} {each['slots']:,}" for each in left["flavors"] if each["slots"])
        stranded = ", ".join(f"{each['pcpus']} {each['cause']}" for each in left["stranded"])
        pcpus = f"{left['free_pcpus']} of {left['dedicated_pcpus']}"
        table.add_row(left["host"], "yes" if left["takes_guests"] else "no", pcpus, stranded or "-", slots or "none")
    return [*lines, table, *_left_out(answer["not_counted"], answer["flavors_left_out"])]


def _free(left: Mapping[str, Any]) -> str:
    return f"{left['free_pcpus']:,} of {count(left['dedicated_pcpus'], 'dedicated pCPU')} free"


def _slots(left: Mapping[str, Any]) -> list[RenderableType]:
    if not left["flavors"]:
        return [Text("no flavors", style="dim")]
    table = Columns("flavor", "free slots", right=("free slots",))
    for each in left["flavors"]:
        table.add_row(each["flavor"], f"{each['slots']:,}")
    return [table]


def _stranded(left: Mapping[str, Any]) -> list[RenderableType]:
    """A line for each cause."""
    return [
        Text(f"no flavor can use {count(each['pcpus'], 'free pCPU')}: {_LACKS[each['cause']]}", style="yellow") for each in left["stranded"]
    ]


def _left_out(not_counted: Sequence[Mapping[str, Any]], others: int) -> list[RenderableType]:
    lines: list[RenderableType] = [Text(f"flavor {each['flavor']} is not counted: {each['why']}", style="yellow") for each in not_counted]
    if others:
        lines.append(Text(f"{count(others, 'more flavor')} left out; name them with --flavor", style="yellow"))
    return lines

"""The screen of one host's numbers: cells, memory and the settings that matter. `host_map` shows its single pCPUs."""

from __future__ import annotations

from typing import Final

from rich.console import Group, RenderableType
from rich.text import Text

from pinfold.cli.views.columns import Columns
from pinfold.cli.views.phrases import mib_of
from pinfold.core.host_map import HostMap
from pinfold.core.plural import count, mib, page_words
from pinfold.core.settings import HostSettings
from pinfold.drivers.registry import kind_of
from pinfold.host.survey import Survey

_LABEL: Final = len("configuration")


def host_show_view(seen: Survey, chart: HostMap, settings: HostSettings) -> list[RenderableType]:
    """A table of the cells, then the limits, and the address and configuration in use. Pure."""
    table = Columns("cell", "pCPUs", "cores", "dedicated free", "memory free", "huge pages free")
    for cell, drawn in zip(seen.state.topology.cells, chart.cells, strict=True):
        huge = [f"{page_words(one.size_kib)}: {one.free:,} of {one.total:,}" for one in drawn.huge_pages]
        memory = mib_of(drawn.memory_free_mib, cell.memory_mib)
        dedicated = f"{drawn.dedicated_free} of {drawn.dedicated}"
        table.add_row(str(cell.id), str(cell.cpus), str(len(cell.cores)), dedicated, memory, Group(*huge or ("none",)))
    limits = settings.limits
    rows = Columns("", "", titled=False)
    ratios = f"cpu {limits.cpu_allocation_ratio:g}, ram {limits.ram_allocation_ratio:g}, disk {limits.disk_allocation_ratio:g}"
    rows.add_row("ratios".ljust(_LABEL), ratios)
    rows.add_row("memory", f"{mib(chart.floating_memory_free_mib)} free for guests without cells")
    rows.add_row("reserved", f"{mib(limits.reserved_memory_mib)} of memory, {limits.reserved_disk_gib} GiB of disk")
    fraction = f"shared fraction {limits.shared_fraction:g}"
    rows.add_row("overhead", f"booking {limits.booking.value}, {fraction}, locality {limits.locality.value}")
    rows.add_row("host cells", f"{settings.strategy.value}")
    rows.add_row("traits", ", ".join(sorted(seen.state.traits)) or "none")
    rows.add_row("guests", f"{count(len(seen.ours), 'guest')} of ours, {len(seen.guests) - len(seen.ours)} of others")
    # An address and a path are not folded, so that they can be copied.
    words = ((kind_of(settings.uri).name, settings.uri), ("configuration", settings.source))
    copied = [Text(f"{what:<{_LABEL}}  {value}", no_wrap=True) for what, value in words]
    if not settings.source:
        copied[-1].append("none: every option has its default")
    return [Text(), table, Text(), rows, *copied]

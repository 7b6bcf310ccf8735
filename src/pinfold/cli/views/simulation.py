"""The screen of `pinfold simulate`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.text import Text

from pinfold.cli.views.columns import Columns
from pinfold.core.plural import count
from pinfold.simulation.inputs import MIXES
from pinfold.simulation.sentences import setting_text

if TYPE_CHECKING:
    from pinfold.simulation.model import Filled, SettingResult, SimulationResult


def simulation_view(found: SimulationResult) -> list[RenderableType]:
    """What fits under each setting, what becomes of the pCPUs, the churn where there was one, and the comparison in sentences. Pure.

    Two tables, so that each is readable on 80 columns.
    """
    guests = f"mix {found.mix}" if found.mix in MIXES else found.mix
    head = f"{count(found.hosts, 'host')}, {guests}, strategy {found.strategy.value}, seed {found.seed}"
    lines: list[RenderableType] = [
        Text(head, style="bold"),
        Text(),
        Text("Guests / vCPUs that run at the first refusal, and in the end:"),
        _guests(found),
        Text(),
        Text("What the dedicated pCPUs are used for in the end:"),
        _pcpus(found),
    ]
    for one in found.results:
        if one.churn:
            lines += [Text(), *_churn(one)]
    return [*lines, *([Text()] if found.sentences else []), *(Text(sentence) for sentence in found.sentences)]


def _guests(found: SimulationResult) -> Columns:
    """How many guests fit; the hosts that take part and the requests that are left out, where a setting leaves some out."""
    fewer = any(one.hosts < found.hosts for one in found.results)
    misfits = any(one.left_out for one in found.results)
    sizes = ("hosts",) * fewer + ("dedicated pCPUs",)
    filled = ("first refusal", "in the end")
    right = (*sizes, *filled, *("left out",) * misfits)
    table = Columns("policy", *right, whole=("policy", *filled), right=right)
    for one in found.results:
        hosts = (f"{one.hosts:,}",) * fewer
        left_out = (f"{sum(shape.requests for shape in one.left_out):,}",) * misfits
        table.add_row(setting_text(one.setting), *hosts, f"{one.dedicated_pcpus:,}", _filled(one.first), _filled(one.full), *left_out)
    return table


def _pcpus(found: SimulationResult) -> Columns:
    """What the dedicated pCPUs are used for in the end."""
    right = ("vCPUs", "emulators", "stranded")
    table = Columns("policy", *right, "for lack of", whole=("policy", "for lack of"), right=right)
    for one in found.results:
        causes = ", ".join(f"{lost.cause.value} {lost.pcpus:,}" for lost in one.stranded)
        table.add_row(setting_text(one.setting), f"{one.full.vcpus:,}", f"{one.emulator_pcpus:,}", f"{one.free_pcpus:,}", causes or "-")
    return table


def _filled(filled: Filled) -> str:
    return f"{filled.guests:,} / {filled.vcpus:,}"


def _churn(one: SettingResult) -> list[RenderableType]:
    right = ("events", "vCPUs", "refused", "free pCPUs", "usable")
    table = Columns(*right, right=right)
    for sample in one.churn:
        share = f"{100 * sample.usable_pcpus / sample.free_pcpus:.0f} %" if sample.free_pcpus else "-"
        table.add_row(f"{sample.events:,}", f"{sample.vcpus:,}", f"{sample.refused:,}", f"{sample.free_pcpus:,}", share)
    return [Text(f"{setting_text(one.setting)}, arrivals and departures:"), table]

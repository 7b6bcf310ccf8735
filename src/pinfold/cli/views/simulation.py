"""The screen of `pinfold simulate`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.text import Text

from pinfold.cli.views.columns import Columns
from pinfold.core.plural import count
from pinfold.simulation.sentences import setting_text

if TYPE_CHECKING:
    from pinfold.simulation.model import Filled, SettingResult, SimulationResult


def simulation_view(found: SimulationResult) -> list[RenderableType]:
    """A line for each setting, the churn where there was one, and the comparison in sentences. Pure."""
    head = f"{count(found.hosts, 'host')}, mix {found.mix}, strategy {found.strategy.value}, seed {found.seed}"
    right = ("dedicated pCPUs", "guests / vCPUs at the first refusal", "in the end", "emulator pCPUs", "stranded")
    table = Columns("policy", *right, "for lack of", whole=("policy",), right=right)
    for one in found.results:
        causes = ", ".join(f"{lost.cause.value} {lost.pcpus:,}" for lost in one.stranded)
        table.add_row(
            setting_text(one.setting),
            f"{one.dedicated_pcpus:,}",
            _filled(one.first),
            _filled(one.full),
            f"{one.emulator_pcpus:,}",
            f"{one.free_pcpus:,}",
            causes or "-",
        )
    lines: list[RenderableType] = [Text(head, style="bold"), table]
    for one in found.results:
        if one.churn:
            lines += [Text(), *_churn(one)]
    return [*lines, *([Text()] if found.sentences else []), *(Text(sentence) for sentence in found.sentences)]


def _filled(filled: Filled) -> str:
    return f"{filled.guests:,} / {filled.vcpus:,}"


def _churn(one: SettingResult) -> list[RenderableType]:
    right = ("events", "vCPUs", "refused", "free pCPUs", "usable")
    table = Columns(*right, right=right)
    for sample in one.churn:
        share = f"{100 * sample.usable_pcpus / sample.free_pcpus:.0f} %" if sample.free_pcpus else "-"
        table.add_row(f"{sample.events:,}", f"{sample.vcpus:,}", f"{sample.refused:,}", f"{sample.free_pcpus:,}", share)
    return [Text(f"{setting_text(one.setting)}, arrivals and departures:"), table]

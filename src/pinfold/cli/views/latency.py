"""The screen of `pinfold bench latency`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.text import Text

from pinfold.cli.views.columns import Columns
from pinfold.core.plural import count
from pinfold.latency.figures import COMPARED, compared, groups
from pinfold.latency.model import FLOAT, SHARE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pinfold.latency.model import LatencyResult, Medians


def latency_view(found: LatencyResult) -> list[RenderableType]:
    """The medians, float divided by share, and who else ran on the vCPU's pCPU. Pure."""
    kind = "KVM" if found.accelerator == "kvm" else "TCG"
    head = f"{kind}, the vCPU on pCPU {found.pcpus.vcpu}, overhead threads of share on pCPU {found.pcpus.overhead}"
    rounds = f"{count(found.runs, 'run')} of {found.seconds:g} s each, medians"
    lines: list[RenderableType] = [Text(head, style="bold"), Text(rounds), Text(), _medians(found)]
    rows = list(_divided(found))
    if rows:
        table = Columns("float / share", *COMPARED, right=tuple(COMPARED))
        for row in rows:
            table.add_row(*row)
        lines += [Text(), table]
    lines += [Text(), Text(f"Who else ran most on pCPU {found.pcpus.vcpu}, in ms of one run:"), *map(Text, _instead(found))]
    refused = dict.fromkeys(f"{one.load}, {one.policy}: did not start: {one.refused}" for one in found.not_started)
    return [*lines, *([Text()] if refused else []), *(Text(sentence, style="red") for sentence in refused)]


def _medians(found: LatencyResult) -> Columns:
    right = ("late p50 us", "p99 us", "p99.9 us", "worst gap ms", "stalls over 100 us /s", "over 1 ms /s", "vCPU waits %", "monitor p50 ms")
    table = Columns("load", "policy", *right, right=right)
    for one in found.medians:
        table.add_row(one.load, one.policy, *_numbers(one))
    return table


def _numbers(one: Medians) -> Iterator[str]:
    for value, digits in (
        (one.late_p50_us, 1),
        (one.late_p99_us, 1),
        (one.late_p999_us, 1),
        (one.worst_gap_ms, 2),
        (one.stalls_over_100us_per_s, 1),
        (one.stalls_over_1ms_per_s, 1),
        (one.vcpu_waits_percent, 2),
        (one.monitor_p50_ms, 2),
    ):
        yield "-" if value is None else f"{value:,.{digits}f}"


def _divided(found: LatencyResult) -> Iterator[tuple[str, ...]]:
    known = groups(found.samples)
    for load in dict.fromkeys(load for load, _ in known):
        if divided := compared(known, load, FLOAT, SHARE):
            yield load, *divided.values()


def _instead(found: LatencyResult) -> Iterator[str]:
    for (load, policy), group in groups(found.samples).items():
        yield f"{load}, {policy}: " + (", ".join(f"{name} {ms:,.0f}" for name, ms in group[0].instead) or "nobody")

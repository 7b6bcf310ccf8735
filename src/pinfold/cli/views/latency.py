"""The screen of `pinfold bench latency`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.console import RenderableType
from rich.text import Text

from pinfold.cli.views.columns import Columns
from pinfold.core.plural import count
from pinfold.latency.figures import compared, groups, significant, who_ran
from pinfold.latency.model import FLOAT, SHARE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pinfold.latency.model import LatencyResult, Medians

_HEADS: Final = (">1ms/s", ">100us/s", "waits %", "others %", "p99 us", "worst ms", "monitor ms")
_MEANING: Final = (
    ">1ms/s, >100us/s: stalls in a second that last so long; a stall is a gap in which the vCPU did not run",
    "waits: the vCPU was ready and had no pCPU; others: other programs ran on its pCPU; both of the time",
    "p99: how late the guest noticed a moment; worst: its longest stall; monitor: median of QEMU's answers",
)


def latency_view(found: LatencyResult) -> list[RenderableType]:
    """The medians, float divided by share, and who else ran on the vCPU's pCPU. Pure."""
    kind = "KVM" if found.accelerator == "kvm" else "TCG"
    head = f"{kind}, the vCPU on pCPU {found.pcpus.vcpu}, overhead threads of share on pCPU {found.pcpus.overhead}"
    rounds = f"{count(found.runs, 'run')} of {found.seconds:g} s each, medians"
    lines: list[RenderableType] = [Text(head, style="bold"), Text(rounds), Text(), _medians(found), Text()]
    lines += [Text(line, style="dim") for line in _MEANING]
    for load, divided in _divided(found):
        said = "; ".join(f"{name} {ratio}" for name, ratio in divided.items())
        lines += [Text(), Text(f"{load}, float / share: {said}")]
    lines += [Text(), Text(f"Who else ran on pCPU {found.pcpus.vcpu}, of the time of all runs, with what the same threads ran elsewhere:")]
    lines += map(Text, _instead(found))
    refused = dict.fromkeys(f"{one.load}, {one.policy}: did not start: {one.refused}" for one in found.not_started)
    return [*lines, *([Text()] if refused else []), *(Text(sentence, style="red") for sentence in refused)]


def _medians(found: LatencyResult) -> Columns:
    table = Columns("load", "policy", *_HEADS, whole=_HEADS, right=_HEADS)
    for one in found.medians:
        table.add_row(one.load, one.policy, *_numbers(one))
    return table


def _numbers(one: Medians) -> Iterator[str]:
    for value in (
        one.stalls_over_1ms_per_s,
        one.stalls_over_100us_per_s,
        one.vcpu_waits_percent,
        one.others_percent,
        one.late_p99_us,
        one.worst_gap_ms,
        one.monitor_p50_ms,
    ):
        yield "-" if value is None else significant(value)


def _divided(found: LatencyResult) -> Iterator[tuple[str, dict[str, str]]]:
    known = groups(found.samples)
    for load in dict.fromkeys(load for load, _ in known):
        if divided := compared(known, load, FLOAT, SHARE):
            yield load, divided


def _instead(found: LatencyResult) -> Iterator[str]:
    for (load, policy), group in groups(found.samples).items():
        yield f"{load}, {policy}: " + (", ".join(f"{name} {significant(percent, 2)} %" for name, percent in who_ran(group)) or "nobody")

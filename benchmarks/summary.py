"""The page "what it costs and what it buys": five figures, each from the raw figures of one subject, with a link to its page, and beside
each how far other loads and fleets are from it; below, what pinfold itself takes."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from benchmarks.agents.page import cost_ms
from benchmarks.consolidation.page import knee
from benchmarks.page import PAGES, figure, table
from benchmarks.registry import SUBJECTS
from benchmarks.schedule.index_memory import each_kib
from benchmarks.schedule.multi_create import own_ms
from benchmarks.subject import Figures, judged, read
from pinfold.latency.figures import LEAST
from pinfold.latency.serial import over, quantile

Row = tuple[str, str, Callable[[Figures], str]]
"""A question, the subject whose figures answer it, and how."""

NAME: Final = "costs-and-benefits"
_ABSENT: Final = "not measured yet"
_LEAST_US: Final = LEAST["lateness p99"][0]
_POLICIES: Final = ("unset", "share")
_GUESTS: Final = {"idle": "Idle guests", "chatty": "Guests with a busy disk", "heavy": "Guests with a very busy disk"}
_PACKED: Final = {
    "pinfold, least-loss": "the default, `least-loss`,",
    "pinfold, least-loss, no flavors known": "without flavors to learn from",
    "pinfold, spread": "`spread`, which keeps hosts evenly loaded,",
}
_WORDS: Final = """\
Written by `make bench-figures` from the raw figures of the pages that it links to. Each page says on which machine they were taken, and
what they do not show. `share` keeps the threads of QEMU that are no vCPUs on a few pCPUs of the host; `unset` lets them run on the guest's
own pCPUs; `isolate` gives each guest one more pCPU for them. The figure is of one load or one mix of guests; below stands what the others
gave. What a fleet holds is counted when nothing fits any more, where nothing else is said."""
_OTHER_LOADS: Final = """\
A vCPU that has nothing to wait for notices each moment at once. How late it is at the 99th percentile, the least and the most of the runs,
is on [the page of latency](latency.md) with all else that was measured, which also says why less than 20 us is not told apart, and why an
emulated guest (TCG) is later with share. Guests are KVM's, and libvirt starts them from XML written by hand (there *float* is *unset*),
where nothing else is said."""
_OTHER_FLEETS: Final = """\
More or fewer vCPUs with share, with the pool of those tried that holds most. [The page of density](density.md) has the fleets."""
_MISSED: Final = """\
A budget is what a benchmark should keep; `make bench` ends with status 1 where one is missed. Its page says more."""
_OWN: Final = """\
Processor time is of one processor of the page's machine. A lease is the time within which an agent must show that its host is up. With
Nova or plain libvirt beside it, `pinfold watch` is the only part that runs all the time; the API and the agents are pinfold as a platform
of its own."""


def write(folder: Path = PAGES) -> None:
    """Write the page."""
    (folder / f"{NAME}.md").write_text(text(folder), encoding="utf-8")


def text(folder: Path = PAGES) -> str:
    """The page, from the raw figures that are there."""
    lines = ["# What it costs and what it buys", "", *_WORDS.splitlines(), "", *_table("question", _ROWS, folder)]
    for title, words, subject, rows in _BELOW:
        record = read(subject, folder)
        found = [] if record is None else rows(record.figures)
        lines += ["", f"## {title}", "", *words.splitlines(), "", *found] if found else []
    lines += ["", "## What pinfold itself takes", "", *_OWN.splitlines(), "", *_table("what", _OWN_ROWS, folder)]
    lines += ["", "## Budgets that are missed", "", *_MISSED.splitlines(), "", *_missed(folder)]
    return "\n".join(lines) + "\n"


def _missed(folder: Path) -> list[str]:
    """The missed budgets of all pages, each with its page."""
    found = []
    for subject in SUBJECTS:
        record = read(subject.name, folder)
        if record is not None:
            missed = [one.sentence() for one in judged(record, subject.page(record.figures)) if not one.kept]
            found += [f"- [{subject.name}]({subject.name}.md): {sentence}" for sentence in missed]
    return found or ["None of the pages that are here misses one."]


def _table(first: str, asked: Sequence[Row], folder: Path) -> list[str]:
    rows = []
    for what, subject, sentence in asked:
        record = read(subject, folder)
        said = _ABSENT if record is None else sentence(record.figures)
        taken = "" if record is None else f"{record.taken}, size {record.size}"
        rows.append((what, said, f"`make bench-{subject}`" if record is None else f"[{subject}]({subject}.md)", taken))
    return table((first, "figure", "page", "taken"), rows)


def _latency(figures: Figures) -> str:
    """Stalls of a vCPU of a KVM guest under a storm, as pinfold starts it."""
    storm = [_samples(figures, "storm", f"pinfold, {policy}") for policy in _POLICIES]
    if not all(storm):
        return _ABSENT
    unset, share = (_between([over(_pairs(one["gaps"]), 1_000_000) / one["seconds"] for one in runs]) for runs in storm)
    return f"Under a management storm a KVM guest's vCPU stands still for over 1 ms {unset} times a second with unset, {share} with share"


def _loads(figures: Figures) -> list[str]:
    """How late a vCPU is at p99 under each load."""
    rows = []
    loads = list(dict.fromkeys(one["load"] for one in figures["samples"]))
    asked = [(load, load, ("float", "share"), "kvm") for load in loads]
    asked.append(("storm, started by pinfold", "storm", ("pinfold, unset", "pinfold, share"), "kvm"))
    asked.append(("storm, an emulated guest", "storm", ("float", "share"), "qemu"))
    for name, load, policies, accelerator in asked:
        both = [_samples(figures, load, policy, accelerator) for policy in policies]
        if all(both):
            late = [[quantile(_pairs(one["late"]), 0.99) / 1000 for one in runs] for runs in both]
            rows.append((name, *(_between(us) if max(us) >= _LEAST_US else f"below {_LEAST_US:g}" for us in late)))
    return table(("load", "late at p99 with unset, us", "with share, us"), rows) if rows else []


def _samples(figures: Figures, load: str, policy: str, accelerator: str = "kvm") -> list[dict[str, Any]]:
    wanted = (accelerator, load, policy)
    return [one for one in figures["samples"] if (one["accelerator"], one["load"], one["policy"]) == wanted and "refused" not in one]


def _pairs(written: Sequence[Sequence[int]]) -> dict[int, int]:
    return dict(map(tuple, written))


def _between(values: Sequence[float]) -> str:
    """The least and the most, as one figure where they read alike."""
    least, most = (figure(round(value, 2)) for value in (min(values), max(values)))
    return least if least == most else f"{least} to {most}"


class _Gain(NamedTuple):
    """What share holds of a mix of guests beside another policy, with the pool of those tried that holds most; and how many per cent of
    vCPUs more that is when nothing fits any more, and when the first request is refused.
    """

    mix: str
    share: dict[str, Any]
    other: dict[str, Any]
    full: float
    first: float


def _gains(figures: Figures, beside: str) -> list[_Gain]:
    """Each mix and trace; `mixed` first."""
    found = []
    named = [(one["mix"], one) for one in figures["mixes"]] + [(f"trace {one['mix']}", one) for one in figures["traces"]]
    for name, one in sorted(named, key=lambda pair: pair[0] != "mixed"):
        share, other = (_most(one["results"], policy) for policy in ("share", beside))
        if share and other:
            full, first = (100 * (share[moment]["vcpus"] / other[moment]["vcpus"] - 1) for moment in ("full", "first"))
            found.append(_Gain(name, share, other, full, first))
    return found


def _most(results: Sequence[dict[str, Any]], policy: str) -> dict[str, Any] | None:
    mine = [one for one in results if one["setting"]["policy"] == policy]
    return max(mine, key=lambda one: int(one["full"]["vcpus"]), default=None)


def _against_isolate(figures: Figures) -> str:
    gain = _gains(figures, "isolate")[0]
    share, isolate = (side["full"]["vcpus"] for side in (gain.share, gain.other))
    return f"{share:,} vCPUs of a mixed fleet fit with share, {isolate:,} with isolate: {gain.full:+.0f} %"


def _against_unset(figures: Figures) -> str:
    gain = _gains(figures, "unset")[0]
    pool = gain.share["setting"]["pool_pcpus"]
    apart = f"{gain.full:+.1f} % with {pool} of a host's 96 pCPUs for overhead threads alone"
    results = next(one for one in figures["mixes"] if one["mix"] == gain.mix)["results"]
    twice = next((one for one in results if one["setting"]["pool_pcpus"] == 2 * pool), None)
    shared = "where floating vCPUs use the pool too, as by default, half of each pCPU counts, so the same guests need twice as many"
    if twice is None:
        return f"Of the vCPUs that fit with unset: {apart}; {shared}"
    more = 100 * (twice["full"]["vcpus"] / gain.other["full"]["vcpus"] - 1)
    return f"Of the vCPUs that fit with unset: {apart}; {more:+.1f} % {shared}"


def _fleets(figures: Figures) -> list[str]:
    """What share holds beside the other policies, of each mix and trace."""
    rows = []
    for isolate, unset in zip(_gains(figures, "isolate"), _gains(figures, "unset"), strict=True):
        more = (f"{value:+.1f}" for value in (isolate.full, isolate.first, unset.full, unset.first))
        rows.append((isolate.mix, isolate.share["setting"]["pool_pcpus"], *more))
    beside = ("beside isolate, %", "beside isolate at the first refusal, %", "beside unset, %", "beside unset at the first refusal, %")
    return table(("fleet", "pCPUs of the pool on a host", *beside), rows)


def _knee(figures: Figures) -> str:
    modes = dict.fromkeys(row["mode"] for row in figures["rows"])
    knees = [f"{_GUESTS[mode]}: {knee([row for row in figures['rows'] if row['mode'] == mode])}" for mode in modes]
    return f"The most before an overhead thread waits over four times as long as with few guests (the knee). {'. '.join(knees)}"


def _packing(figures: Figures) -> str:
    found = {rule: [row for row in figures["rows"] if row["rule"] == rule] for rule in ("first fit", *_PACKED)}
    said = []
    for rule, name in _PACKED.items():
        full, first = (100 * (_mean(found[rule], moment) / _mean(found["first fit"], moment) - 1) for moment in ("vcpus", "first"))
        said.append(f"{name} {full:+.1f} %, at the first refusal {first:+.1f} %")
    return f"vCPUs beside first fit: {'; '.join(said)}"


def _mean(rows: Sequence[dict[str, Any]], moment: str) -> float:
    return statistics.mean(row[moment] for row in rows)


def _api_memory(figures: Figures) -> str:
    most = max(row["rss"] for row in figures["rows"])
    return f"{most:.0f} MiB resident with {figures['hosts']:,} hosts and {figures['guests']:,} guests, an embedded Placement in it"


def _create(figures: Figures) -> str:
    rows = [row for row in figures["creates"] if row["processes"] == 1 and row["setting"] in ("SQLite", "PostgreSQL")]
    said = [f"{figure(row['own_cpu_ms'])} ms on {row['setting']}, beside {figure(row['put_cpu_ms'])} of Placement" for row in rows]
    several = [f"{figure(own_ms(row))} ms on {row['setting']}" for row in figures.get("multi_creates", ())]
    if not said:
        return _ABSENT
    return f"{'; '.join(said)}. Each of many in one body: {' and '.join(several)}" if several else "; ".join(said)


def _decision(figures: Figures) -> str:
    said = [f"{figure(1e6 / row['per_second'])} us with {row['hosts']:,} hosts" for row in figures["mixes"]]
    if not said:
        return _ABSENT
    memory = figures.get("memory", ())
    each = []
    for alike, words in ((True, "where hosts are alike"), (False, "where each was filled by itself")):
        rows = [row for row in memory if row["alike"] is alike]
        if len(rows) > 1:
            each.append(f"{figure(each_kib(rows[0], rows[-1]))} KiB a host {words}")
    return f"{', '.join(said)}. Memory beyond 10,000 hosts: {', '.join(each)}" if each else ", ".join(said)


def _lease(figures: Figures) -> str:
    rows = [row for row in figures["rows"] if row["agents"] == max(one["agents"] for one in figures["rows"])]
    each = [f"{figure(cost_ms(row))} ms ({row['database']}, API processes: {row['processes']})" for row in rows]
    return f"{', '.join(each)}; {rows[0]['agents']:,} agents, a lease of {rows[0]['lease']:.0f} s" if each else _ABSENT


def _agent(figures: Figures) -> str:
    sweep = figures["sweep"]
    return (
        f"{sweep['agent']['rss']:.0f} MiB resident, {sweep['rest_percent']:.2g} % of a processor at rest, "
        f"{1000 * sweep['sweep_cpu']:.0f} ms for each sweep, with {sweep['guests']} guests"
    )


def _watch(figures: Figures) -> str:
    memory, rest = figures["process"]["rss"], figures["rest_percent"]
    return f"{memory:.0f} MiB resident, {rest:.2g} % of a processor at rest, with {figures['guests']} guests"


_ROWS: Final[tuple[Row, ...]] = (
    ("What does a sensitive guest gain?", "latency", _latency),
    ("What is gained over one more pCPU for each guest?", "density", _against_isolate),
    ("What does the overhead pool cost?", "density", _against_unset),
    ("How many guests does one shared pCPU carry?", "consolidation", _knee),
    ("How well is a real fleet filled?", "packing", _packing),
)
_BELOW: Final[tuple[tuple[str, str, str, Callable[[Figures], list[str]]], ...]] = (
    ("Other loads", _OTHER_LOADS, "latency", _loads),
    ("Other fleets", _OTHER_FLEETS, "density", _fleets),
)
_OWN_ROWS: Final[tuple[Row, ...]] = (
    ("`pinfold watch` on a host", "watch", _watch),
    ("the agent on a host", "agent", _agent),
    ("the API, memory of a process", "memory", _api_memory),
    ("the API, for each agent and lease", "agents", _lease),
    ("the API, each create over HTTP", "schedule", _create),
    ("one decision among all hosts, claimed and given back, by itself", "schedule", _decision),
)

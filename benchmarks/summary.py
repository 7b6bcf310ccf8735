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
from benchmarks.schedule.index_memory import each_kib
from benchmarks.schedule.multi_create import own_ms
from benchmarks.subject import Figures, read
from pinfold.latency.serial import over, quantile

Row = tuple[str, str, Callable[[Figures], str]]
"""A question, the subject whose figures answer it, and how."""

NAME: Final = "costs-and-benefits"
_ABSENT: Final = "not measured yet"
_WORDS: Final = """\
Written by `make bench-figures` from the raw figures of the pages that it links to. Each page says on which machine they were taken, and
what they do not show. `share` keeps the threads of QEMU that are no vCPUs on a few pCPUs of the host; `unset` lets them run on the guest's
own pCPUs; `isolate` gives each guest one more pCPU for them. The figure is of one load or one mix of guests; beside it stands what the
others gave."""
_OWN: Final = """\
Processor time is of one processor of the page's machine. With Nova or plain libvirt beside it, `pinfold watch` is the only part that runs
all the time; the API and the agents are pinfold as a platform of its own."""


def write(folder: Path = PAGES) -> None:
    """Write the page."""
    (folder / f"{NAME}.md").write_text(text(folder), encoding="utf-8")


def text(folder: Path = PAGES) -> str:
    """The page, from the raw figures that are there."""
    lines = ["# What it costs and what it buys", "", *_WORDS.splitlines(), "", *_table("question", _ROWS, folder)]
    lines += ["", "## What pinfold itself takes", "", *_OWN.splitlines(), "", *_table("what", _OWN_ROWS, folder)]
    return "\n".join(lines) + "\n"


def _table(first: str, asked: Sequence[Row], folder: Path) -> list[str]:
    rows = []
    for what, subject, sentence in asked:
        record = read(subject, folder)
        said = _ABSENT if record is None else sentence(record.figures)
        taken = "" if record is None else f"{record.taken}, size {record.size}"
        rows.append((what, said, f"`make bench-{subject}`" if record is None else f"[{subject}]({subject}.md)", taken))
    return table((first, "figure", "page", "taken"), rows)


def _late_us(figures: Figures, load: str, policy: str) -> float | None:
    """How late a vCPU of a KVM guest is at p99 under a load, in us: the median of the runs; None where none was measured."""
    found = [quantile(dict(map(tuple, one["late"])), 0.99) / 1000 for one in _samples(figures, load, policy)]
    return statistics.median(found) if found else None


def _samples(figures: Figures, load: str, policy: str) -> list[dict[str, Any]]:
    wanted = ("kvm", load, policy)
    return [one for one in figures["samples"] if (one["accelerator"], one["load"], one["policy"]) == wanted and "refused" not in one]


def _latency(figures: Figures) -> str:
    p99 = [_late_us(figures, "storm", policy) for policy in ("float", "share")]
    if p99[0] is None or p99[1] is None:
        return _ABSENT
    stalls = [
        statistics.median(over(dict(map(tuple, one["gaps"])), 1_000_000) / one["seconds"] for one in _samples(figures, "storm", policy))
        for policy in ("float", "share")
    ]
    others = []
    for load in dict.fromkeys(one["load"] for one in figures["samples"]):
        late = [_late_us(figures, load, policy) for policy in ("float", "share")]
        if load != "storm" and late[0] is not None and late[1] is not None:
            others.append(f"{load} {figure(late[0])} and {figure(late[1])} us")
    return (
        f"Under a management storm a vCPU is {figure(p99[0])} us late at p99 with unset, {figure(p99[1])} us with share; "
        f"stalls over 1 ms: {stalls[0]:.1f} and {stalls[1]:.1f} a second. Late at p99 under other loads: {'; '.join(others)}"
    )


class _Gain(NamedTuple):
    """What share holds of a mix of guests beside another policy, with the pool of those tried that holds most, and how many per cent of
    vCPUs more that is.
    """

    mix: str
    share: dict[str, Any]
    other: dict[str, Any]
    more: float


def _gains(figures: Figures, beside: str) -> list[_Gain]:
    """Each mix and trace; `mixed` first."""
    found = []
    named = [(one["mix"], one) for one in figures["mixes"]] + [(f"trace {one['mix']}", one) for one in figures["traces"]]
    for name, one in sorted(named, key=lambda pair: pair[0] != "mixed"):
        sides = [_most(one["results"], policy) for policy in ("share", beside)]
        if sides[0] and sides[1]:
            found.append(_Gain(name, sides[0], sides[1], 100 * (sides[0]["full"]["vcpus"] / sides[1]["full"]["vcpus"] - 1)))
    return found


def _most(results: Sequence[dict[str, Any]], policy: str) -> dict[str, Any] | None:
    mine = [one for one in results if one["setting"]["policy"] == policy]
    return max(mine, key=lambda one: int(one["full"]["vcpus"]), default=None)


def _others(gains: Sequence[_Gain]) -> str:
    return ", ".join(f"{gain.mix} {gain.more:+.1f} %" for gain in gains)


def _against_isolate(figures: Figures) -> str:
    (_, share, isolate, more), *others = _gains(figures, "isolate")
    words = f"{share['full']['vcpus']:,} vCPUs of a mixed fleet fit with share, {isolate['full']['vcpus']:,} with isolate: {more:+.0f} %"
    return f"{words}. Other fleets: {_others(others)}" if others else words


def _against_unset(figures: Figures) -> str:
    (_, share, _, more), *others = _gains(figures, "unset")
    pool = share["setting"]["pool_pcpus"]
    words = f"An overhead pool of {pool} of a host's 96 pCPUs: {more:+.1f} % of the vCPUs that fit with unset"
    return f"{words}. Other fleets, each with the pool that suits it best: {_others(others)}" if others else words


def _knee(figures: Figures) -> str:
    chatty = [row for row in figures["rows"] if row["mode"] == "chatty"]
    return f"Guests with a busy disk, the knee of their wait: {knee(chatty)}" if chatty else _ABSENT


def _packing(figures: Figures) -> str:
    def mean(rule: str) -> float:
        return statistics.mean(row["first"] for row in figures["rows"] if row["rule"] == rule)

    best, spread, first = mean("pinfold, least-loss"), mean("pinfold, spread"), mean("first fit")
    return (
        f"{100 * (best / first - 1):+.1f} % vCPUs against first fit at the first refusal with the default, `least-loss`; "
        f"`spread` {100 * (spread / first - 1):+.1f} %, because it keeps hosts evenly loaded"
    )


def _api_memory(figures: Figures) -> str:
    most = max(row["rss"] for row in figures["rows"])
    return f"{most:.0f} MiB resident with {figures['hosts']:,} hosts and {figures['guests']:,} guests, an embedded Placement in it"


def _create(figures: Figures) -> str:
    rows = [row for row in figures["creates"] if row["processes"] == 1 and row["setting"] in ("SQLite", "PostgreSQL")]
    said = [f"{figure(row['own_cpu_ms'])} ms on {row['setting']}" for row in rows]
    several = [f"{figure(own_ms(row))} ms on {row['setting']}" for row in figures.get("multi_creates", ())]
    if not said:
        return _ABSENT
    words = f"{' and '.join(said)}, beside {figure(rows[-1]['put_cpu_ms'])} ms of Placement"
    return f"{words}; each of many in one body: {' and '.join(several)}" if several else words


def _decision(figures: Figures) -> str:
    said = [f"{figure(1e6 / row['per_second'])} us with {row['hosts']:,} hosts" for row in figures["mixes"]]
    rows = [row for row in figures.get("memory", ()) if row["alike"]]
    if not said:
        return _ABSENT
    if len(rows) > 1:
        said[-1] += f"; {figure(each_kib(rows[0], rows[-1]))} KiB of memory for each host beyond {rows[0]['hosts']:,}"
    return ", ".join(said)


def _lease(figures: Figures) -> str:
    rows = [row for row in figures["rows"] if row["agents"] == max(one["agents"] for one in figures["rows"])]
    each = [f"{figure(cost_ms(row))} ms ({row['database']}, API processes: {row['processes']})" for row in rows]
    return f"API processor time, {rows[0]['agents']:,} agents, a lease of {rows[0]['lease']:.0f} s: {', '.join(each)}" if each else _ABSENT


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
_OWN_ROWS: Final[tuple[Row, ...]] = (
    ("`pinfold watch` on a host", "watch", _watch),
    ("the agent on a host", "agent", _agent),
    ("the API, memory of a process", "memory", _api_memory),
    ("the API, each agent and lease", "agents", _lease),
    ("the API, each create over HTTP", "schedule", _create),
    ("of that, the choice of a host", "schedule", _decision),
)

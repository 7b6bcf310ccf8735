"""The page "what it costs and what it buys": five figures, each from the raw figures of one subject, with a link to its page."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from benchmarks.consolidation.page import knee
from benchmarks.page import PAGES, table
from benchmarks.subject import Figures, read
from pinfold.latency.serial import over, quantile

NAME: Final = "costs-and-benefits"
_ABSENT: Final = "not measured yet"
_WORDS: Final = """\
Written by `make bench-figures` from the raw figures of the pages that it links to. Each page says on which machine they were taken, and
what they do not show. `share` keeps the threads of QEMU that are no vCPUs on a few pCPUs of the host; `unset` lets them run on the guest's
own pCPUs; `isolate` gives each guest one more pCPU for them."""


def write(folder: Path = PAGES) -> None:
    """Write the page."""
    (folder / f"{NAME}.md").write_text(text(folder), encoding="utf-8")


def text(folder: Path = PAGES) -> str:
    """The page, from the raw figures that are there."""
    rows = []
    for what, subject, sentence in _ROWS:
        record = read(subject, folder)
        said = _ABSENT if record is None else sentence(record.figures)
        taken = "" if record is None else f"{record.taken}, size {record.size}"
        rows.append((what, said, f"`make bench-{subject}`" if record is None else f"[{subject}]({subject}.md)", taken))
    return (
        "\n".join(
            [
                "# What it costs and what it buys",
                "",
                *_WORDS.splitlines(),
                "",
                *table(("question", "figure", "page", "taken"), rows),
            ]
        )
        + "\n"
    )


def _latency(figures: Figures) -> str:
    def of(policy: str) -> list[dict[str, Any]]:
        return [
            one
            for one in figures["samples"]
            if (one["accelerator"], one["load"], one["policy"]) == ("kvm", "storm", policy) and "refused" not in one
        ]

    sides = [of("float"), of("share")]
    if not all(sides):
        return _ABSENT
    p99 = [statistics.median(quantile(dict(map(tuple, one["late"])), 0.99) / 1000 for one in side) for side in sides]
    stalls = [statistics.median(over(dict(map(tuple, one["gaps"])), 1_000_000) / one["seconds"] for one in side) for side in sides]
    return (
        f"Under a management storm a vCPU is {p99[0]:,.0f} us late at p99 with unset, {p99[1]:,.0f} us with share; "
        f"stalls over 1 ms: {stalls[0]:.1f} and {stalls[1]:.1f} a second"
    )


def _mixed(figures: Figures, policy: str) -> dict[str, Any]:
    """The result of a policy on mix `mixed`; of share the one with most vCPUs in the end."""
    results = next(one for one in figures["mixes"] if one["mix"] == "mixed")["results"]
    return max((one for one in results if one["setting"]["policy"] == policy), key=lambda one: int(one["full"]["vcpus"]))


def _against_isolate(figures: Figures) -> str:
    share, isolate = _mixed(figures, "share"), _mixed(figures, "isolate")
    more = 100 * (share["full"]["vcpus"] / isolate["full"]["vcpus"] - 1)
    return f"{share['full']['vcpus']:,} vCPUs of a mixed fleet fit with share, {isolate['full']['vcpus']:,} with isolate: {more:+.0f} %"


def _against_unset(figures: Figures) -> str:
    share, unset = _mixed(figures, "share"), _mixed(figures, "unset")
    more = 100 * (share["full"]["vcpus"] / unset["full"]["vcpus"] - 1)
    pool = share["setting"]["pool_pcpus"]
    return f"An overhead pool of {pool} of a host's 96 pCPUs: {more:+.1f} % of the vCPUs that fit with unset"


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


_ROWS: Final[tuple[tuple[str, str, Callable[[Figures], str]], ...]] = (
    ("What does a sensitive guest gain?", "latency", _latency),
    ("What is gained over one more pCPU for each guest?", "density", _against_isolate),
    ("What does the overhead pool cost?", "density", _against_unset),
    ("How many guests does one shared pCPU carry?", "consolidation", _knee),
    ("How well is a real fleet filled?", "packing", _packing),
)

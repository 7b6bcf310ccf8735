"""The one shape of a benchmark: measure figures at a size, keep them as raw JSON, and make the page from that JSON alone."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import Enum
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.page import PAGES, Budget, machine
from benchmarks.plot import Plot, draw

Figures = dict[str, Any]
"""What one run measured, as JSON has it."""


class Size(Enum):
    """How much a run measures."""

    CHECK = "check"
    """a few seconds, so that continuous integration notices a benchmark that no longer runs; its figures say nothing"""
    SMALL = "small"
    """`make bench`: every subject in 20 minutes on 2 cores"""
    LONG = "long"
    """`make bench-long`: all of it, for pages that are committed"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """The body of a page: lines of Markdown, and plots where they stand between the lines."""

    body: Sequence[str | Plot]
    budgets: Sequence[Budget] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One benchmark. `measure` takes the size and the seed; `page` is pure. `limits` says what the figures do not show.

    `lacks` says in sentences what it needs and this machine lacks. `seeded` says that the seed changes what is measured.
    """

    name: str
    title: str
    measure: Callable[[Size, int], Figures]
    page: Callable[[Figures], Page]
    limits: str
    lacks: Callable[[], Sequence[str]] = tuple
    seeded: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """The raw JSON of one run: the figures, and all that says how they were taken."""

    subject: str
    size: str
    seed: int
    taken: str
    commit: str
    machine: str
    versions: Mapping[str, str]
    figures: Figures


def run(subject: Subject, size: Size, seed: int, folder: Path = PAGES) -> list[str]:
    """Measure, write the raw JSON, the page and its plots, and return the sentences of the missed budgets, or of what is lacking."""
    if lacking := subject.lacks():
        return [f"{subject.name}: this machine lacks {one}" for one in lacking]
    before = machine()
    figures = subject.measure(size, seed)
    record = Record(
        subject=subject.name,
        size=size.value,
        seed=seed,
        taken=datetime.now(UTC).strftime("%Y-%m-%d"),
        commit=_commit(),
        machine=before,
        versions=_versions(),
        figures=json.loads(json.dumps(figures)),
    )
    raw = folder / "raw" / f"{subject.name}.json"
    raw.parent.mkdir(parents=True, exist_ok=True)
    raw.write_text(_written(asdict(record)), encoding="utf-8")
    return write(subject, folder)


def _written(document: Mapping[str, Any]) -> str:
    """The JSON of a record; lists that hold no other list stand on one line."""
    text = json.dumps(document, indent=1, sort_keys=True)
    return re.sub(r"\[[^\[\]{}\"]*\]", lambda found: re.sub(r"\s+", " ", found[0]), text) + "\n"


def read(name: str, folder: Path = PAGES) -> Record | None:
    """The raw JSON of a subject; None if it was not taken yet."""
    path = folder / "raw" / f"{name}.json"
    return Record(**json.loads(path.read_text(encoding="utf-8"))) if path.exists() else None


def write(subject: Subject, folder: Path = PAGES) -> list[str]:
    """Make the page and its plots anew from the raw JSON, and return the sentences of the missed budgets."""
    record = read(subject.name, folder)
    assert record is not None, f"{subject.name} has no raw JSON"
    page = subject.page(record.figures)
    (folder / "plots").mkdir(exist_ok=True)
    for part in page.body:
        if isinstance(part, Plot):
            (folder / "plots" / f"{part.name}.svg").write_text(draw(part), encoding="utf-8")
    (folder / f"{subject.name}.md").write_text(text_of(subject, record), encoding="utf-8")
    return [budget.sentence() for budget in judged(record, page) if not budget.kept]


def judged(record: Record, page: Page) -> Sequence[Budget]:
    """The budgets of a page; at size `check`, which tries the code on a few cases, the exact ones."""
    return [budget for budget in page.budgets if budget.exact or record.size != Size.CHECK.value]


def text_of(subject: Subject, record: Record) -> str:
    """The Markdown of a page. Pure."""
    page = subject.page(record.figures)
    versions = ", ".join(f"{name} {version}" for name, version in sorted(record.versions.items()))
    source = f"seed {record.seed}" if subject.seeded else "the same input each time"
    lines = [
        f"# {subject.title}",
        "",
        f"Written by `make bench-{subject.name}` from [its raw figures](raw/{subject.name}.json); run that to change it.",
        f"Size `{record.size}`, {source}, taken {record.taken} at commit {record.commit}.",
        "",
    ]
    budgets = judged(record, page)
    lines += [f"- {budget.sentence()}" for budget in budgets]
    lines += [""] if budgets else []
    lines += [record.machine, f"{versions}.", ""]
    for part in page.body:
        lines += [f"![{part.title}](plots/{part.name}.svg)"] if isinstance(part, Plot) else [part]
    lines += ["", "## What the figures do not show", "", *subject.limits.strip().splitlines()]
    return "\n".join(lines) + "\n"


def _commit() -> str:
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=7"], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"


def _versions() -> dict[str, str]:
    """Python, and what of numpy, libvirt, OR-tools and QEMU is there."""
    found = {platform.python_implementation(): platform.python_version()}
    for package in ("numpy", "libvirt-python", "ortools"):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    qemu = Path("/usr/bin/qemu-system-x86_64")
    if os.access(qemu, os.X_OK):
        done = subprocess.run([str(qemu), "--version"], capture_output=True, text=True, check=False)
        found["QEMU"] = done.stdout.split(" version ")[-1].split()[0] if " version " in done.stdout else "unknown"
    return found

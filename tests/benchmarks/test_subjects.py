"""Every benchmark runs at its smallest size, and every committed page is what its raw figures make."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from benchmarks.page import PAGES, Budget
from benchmarks.plot import Heat, Plot, Series, draw
from benchmarks.registry import SUBJECTS
from benchmarks.run import main
from benchmarks.subject import Figures, Page, Size, Subject, read, run, text_of

from benchmarks import summary

LONG = {
    "agent": "`latency` starts guests by pinfold, `watch` sweeps a lab host, and `agents` runs an API process that agents speak to",
    "pages": "`memory` serves the same filled fleet, and tests/browser opens the pages",
}
"""The subjects of which even the smallest size is for the long form alone, and what runs of their parts in each run."""


def _with_marks(subject: Subject) -> Any:
    real = pytest.mark.real_postgresql if subject.name == "outage" else pytest.mark.real_libvirt
    marks = [real] if subject.lacks is not tuple else []
    return pytest.param(subject, id=subject.name, marks=[*marks, *([pytest.mark.slow] if subject.name in LONG else [])])


@pytest.mark.parametrize("subject", [_with_marks(subject) for subject in SUBJECTS])
def test_a_subject_writes_its_page_its_plots_and_its_raw_figures(subject: Subject, tmp_path: Path) -> None:
    if lacking := subject.lacks():
        pytest.skip("; ".join(lacking))
    assert main([subject.name, "--size", "check", "--seed", "7", "--folder", str(tmp_path)]) == 0
    raw = json.loads((tmp_path / "raw" / f"{subject.name}.json").read_text())
    assert (raw["subject"], raw["size"], raw["seed"]) == (subject.name, "check", 7)
    page = (tmp_path / f"{subject.name}.md").read_text()
    assert f"# {subject.title}\n" in page
    assert "## What the figures do not show" in page
    drawn = {path.name for path in (tmp_path / "plots").glob("*.svg")}
    assert drawn == set(re.findall(r"\]\(plots/([^)]*)\)", page))
    assert drawn or subject.name == "oracle"


@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.name)
def test_the_committed_page_is_made_from_the_committed_figures(subject: Subject) -> None:
    record = read(subject.name)
    assert record is not None, f"run `make bench-{subject.name}` and commit docs/benchmarks"
    assert (PAGES / f"{subject.name}.md").read_text() == text_of(subject, record), "run `make bench-figures` and commit what it writes"
    for part in subject.page(record.figures).body:
        if isinstance(part, Plot):
            assert (PAGES / "plots" / f"{part.name}.svg").is_file()


def test_the_committed_summary_is_made_from_the_committed_figures() -> None:
    assert (PAGES / f"{summary.NAME}.md").read_text() == summary.text(), "run `make bench-figures` and commit what it writes"


def test_a_plot_is_the_same_text_each_time_and_takes_the_readers_ink() -> None:
    lines = Plot(name="x", title="t", x_label="a", y_label="b", series=[Series(label="one", x=[1, 2], y=[1, 3], low=[1, 2], high=[2, 4])])
    heat = Plot(name="y", title="t", x_label="a", y_label="b", heat=Heat(rows=[[1, None], [100, 5]], unit="us", least=1, most=100))
    for plot in (lines, heat):
        text = draw(plot)
        assert text == draw(plot)
        assert "prefers-color-scheme: dark" in text
        assert "#010203" not in text
        ET.fromstring(text)


def test_a_few_cases_are_judged_by_the_exact_budgets_alone(tmp_path: Path) -> None:
    def page(_: Figures) -> Page:
        return Page(body=[], budgets=[Budget(what="slow", measured=2, bound=1), Budget(what="wrong", measured=2, bound=1, exact=True)])

    subject = Subject(name="x", title="X", measure=lambda *_: {}, page=page, limits="None.")
    assert run(subject, Size.CHECK, 1, tmp_path) == ["wrong: 2, at most 1: MISSED"]
    assert "slow" not in (tmp_path / "x.md").read_text()
    assert len(run(subject, Size.SMALL, 1, tmp_path)) == 2


def test_an_unknown_subject_is_refused_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["packin"])
    assert "'packin' is none of packing" in capsys.readouterr().err


def test_the_summary_names_each_missed_budget_with_its_page(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    budgets = [Budget(what="slow", measured=5, bound=4, unit="s"), Budget(what="fast", measured=3, bound=4, unit="s")]
    made = Subject(name="made-up", title="Made up", measure=lambda *_: {}, page=lambda _: Page(body=[], budgets=budgets), limits="")
    monkeypatch.setattr(summary, "SUBJECTS", (made,))
    assert summary.text(tmp_path).endswith("None of the pages that are here misses one.\n")
    assert run(made, Size.SMALL, 1, tmp_path) == ["slow: 5 s, at most 4 s: MISSED"]
    assert summary.text(tmp_path).endswith("\n- [made-up](made-up.md): slow: 5 s, at most 4 s: MISSED\n")


def test_a_page_names_the_seed_only_where_that_changes_what_is_measured(tmp_path: Path) -> None:
    made = Subject(name="made-up", title="Made up", measure=lambda *_: {}, page=lambda _: Page(body=[]), limits="", seeded=False)
    run(made, Size.SMALL, 3, tmp_path)
    assert "Size `small`, the same input each time, taken" in (tmp_path / "made-up.md").read_text()

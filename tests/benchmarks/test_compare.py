"""Two commits are measured in turns, and their medians compared."""

from __future__ import annotations

import pytest
from benchmarks.compare.__main__ import ROOT, measured, report


def test_one_round_of_this_tree_measures_decisions_and_fits() -> None:
    found = measured(ROOT, 20)
    assert {"fit on a counted host", "fit on a host that changed"} <= found.keys()
    assert all(value > 0 for value in found.values())


def test_the_report_has_medians_their_spread_and_the_ratio() -> None:
    text = "\n".join(report("base", [{"fit": 10}, {"fit": 30}, {"fit": 20}], [{"fit": 10}, {"fit": 12}, {"fit": 8}]))
    assert "| fit | 20 (10 to 30) | 10 (8 to 12) | 0.5 |" in text


def test_a_commit_that_does_not_exist_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    from benchmarks.compare.__main__ import main

    with pytest.raises(SystemExit, match="no-such-commit"):
        main(["--base", "no-such-commit"])

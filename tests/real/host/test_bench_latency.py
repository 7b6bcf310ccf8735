"""`pinfold bench latency` measures real guests and leaves nothing. The commands are those of its page, with shorter rounds."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from pinfold.lab.folder import list_labs

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "measure-latency.md"
COMMANDS = [shlex.split(line)[2:] for line in PAGE.read_text().splitlines() if line.startswith("sudo pinfold bench latency")]
SHORT = ("--seconds", "0.5", "--runs", "1", "--beside-guests")
"""The last of two equal options counts. Other workers' guests may be pinned to the same pCPUs."""

pytestmark = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="a trial needs two pCPUs")


def _measure(*words: str) -> tuple[str, set[str]]:
    """What the command prints, and the labs that are up afterwards and were not before."""
    before = {folder.path.name for folder, _ in list_labs().labs}
    done = subprocess.run([sys.executable, "-m", "pinfold", *words], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    left = {folder.path.name for folder, _ in list_labs().labs} - before
    return done.stdout, {name for name in left if name.startswith("latency")}


def test_the_page_has_its_two_commands() -> None:
    assert len(COMMANDS) == 2


def test_both_policies_are_measured_under_each_load_and_the_lab_is_gone(lab_possible: None) -> None:
    said, left = _measure(*COMMANDS[0], *SHORT)
    assert left == set()
    rows = [line.split()[:2] for line in said.splitlines()]
    assert all([load, policy] in rows for load in ("storm", "idle") for policy in ("float", "share"))
    assert f"Who else ran on pCPU {max(os.sched_getaffinity(0))}" in said


def test_the_document_has_the_runs_with_their_histograms(lab_possible: None) -> None:
    said, left = _measure(*COMMANDS[1], *SHORT, "--json")
    assert left == set()
    found = json.loads(said)
    assert found["pcpus"] == {"vcpu": 1, "overhead": 0}
    assert found["not_started"] == []
    assert found["load_average"] >= 0
    assert [(one["load"], one["policy"]) for one in found["medians"]] == [("storm", "float"), ("storm", "share")]
    for one in found["samples"]:
        assert one["operations"] > 0
        assert sum(often for _, often in one["late"]) > 1000
        assert one["vcpu"]["run_percent"] > 0

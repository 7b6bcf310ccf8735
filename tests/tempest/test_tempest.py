"""Tempest against `pinfold up` with Keystone. The whole run is slow; that each result has a reason is checked always."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from tests.tempest import results
from tests.tempest.cloud import HERE, Cloud, cloud
from tests.tempest.results import Result

SELECTED = r"tempest\.(api\.(compute|image|network)|serial_tests\.api\.compute)\."


def test_every_test_that_did_not_pass_has_a_reason_of_one_sentence() -> None:
    known = results.rules()
    run = results.committed()
    lacking = {result.observed: result.test for result in run if result.status != "passed" and not results.reason(result, known)}
    assert not lacking
    assert all("\n" not in sentence and sentence.endswith(".") for sentence in known.values())


@pytest.mark.slow
@pytest.mark.installs
@pytest.mark.real_libvirt
@pytest.mark.timeout(7200)
def test_what_passed_before_passes_again(lab_name: str, lab_possible: None, tmp_path: Path) -> None:
    folder = tmp_path / "cloud"
    folder.mkdir()
    with cloud(folder, lab_name) as made:
        seen = run_all(made)
    (tmp_path / "results.txt").write_text(results.written(seen))
    before = {result.test for result in results.committed() if result.status == "passed"}
    assert {result.test: result.observed for result in seen if result.test in before and result.status != "passed"} == {}


def run_all(made: Cloud) -> tuple[Result, ...]:
    """Run every selected test, one after the other."""
    listed = made.tempest("run", "--list-tests", "--regex", SELECTED).stdout.splitlines()
    made.tempest("run", "--serial", "--regex", SELECTED)
    stream = made.folder / "last.subunit"
    with stream.open("wb") as file:
        subprocess.run([str(made.programs / "stestr"), "last", "--subunit"], cwd=made.folder, stdout=file, check=False)
    read = [str(made.programs / "python"), str(HERE / "read_results.py"), str(stream)]
    lines = subprocess.run(read, capture_output=True, text=True, check=True).stdout.splitlines()
    return results.expanded([line for line in listed if line.startswith("tempest.")], [tuple(json.loads(line)) for line in lines])

"""Tempest and whitebox against the service with Keystone. The runs are slow; that each result has a reason is checked always."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from tests.tempest import results
from tests.tempest.cloud import SELECTED, Cloud, cloud, run
from tests.tempest.results import TEMPEST, WHITEBOX, Kept, Result
from tests.tempest.whitebox import CHOSEN, EMULATED, emulated_whitebox, whitebox


@pytest.mark.parametrize("kept", [TEMPEST, WHITEBOX], ids=lambda kept: kept.results)
def test_every_test_that_did_not_pass_has_a_reason_of_one_sentence(kept: Kept) -> None:
    known = kept.rules()
    lacking = {result.observed: result.test for result in kept.read() if result.status != "passed" and not results.reason(result, known)}
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
        seen = run(made, SELECTED)
    (tmp_path / TEMPEST.results).write_text(results.written(seen))
    assert worse(TEMPEST, seen) == {}


@pytest.mark.slow
@pytest.mark.installs
@pytest.mark.real_libvirt
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("made_by", "chosen"), [(whitebox, CHOSEN), (emulated_whitebox, EMULATED)], ids=["kvm", "emulated"])
def test_what_whitebox_found_right_it_finds_right_again(
    made_by: Callable[[Path, str], AbstractContextManager[Cloud]], chosen: str, lab_name: str, lab_possible: None, tmp_path: Path
) -> None:
    folder = tmp_path / "cloud"
    folder.mkdir()
    with made_by(folder, lab_name) as made:
        seen = run(made, chosen)
    (tmp_path / WHITEBOX.results).write_text(results.written(seen))
    assert worse(WHITEBOX, seen) == {}


def worse(kept: Kept, seen: tuple[Result, ...]) -> dict[str, str]:
    """What was observed of each test that passed in the committed run and did not now."""
    before = {result.test for result in kept.read() if result.status == "passed"}
    return {result.test: result.observed for result in seen if result.test in before and result.status != "passed"}


def test_a_part_of_a_run_renews_its_own_tests_alone() -> None:
    before = (Result("m.A.test", "failed", "x"), Result("m.B.test", "passed"))
    assert results.renewed(before, (Result("m.A.test", "passed"), Result("m.C.test", "skipped", "y"))) == (
        Result("m.A.test", "passed"),
        Result("m.B.test", "passed"),
        Result("m.C.test", "skipped", "y"),
    )

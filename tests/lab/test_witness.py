"""The records of a lab, as files."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest

from pinfold.core.cpuset import CpuSet
from pinfold.core.errors import InvalidRequest
from pinfold.lab.witness import MARKER, LabWitness, witness_of


def test_a_record_is_a_cpulist_by_thread_id(tmp_path: Path) -> None:
    (tmp_path / "71").write_text("0,8-9\n")
    assert LabWitness(tmp_path).allowed(71) == CpuSet.of(0, 8, 9)
    assert LabWitness(tmp_path).allowed(72) is None


def test_a_thread_is_moved_and_the_record_says_so(tmp_path: Path) -> None:
    before = os.sched_getaffinity(0)
    tid = threading.get_native_id()
    try:
        LabWitness(tmp_path).move(tid, CpuSet.of(900, 901))
        assert LabWitness(tmp_path).allowed(tid) == CpuSet.of(900, 901)
        assert os.sched_getaffinity(tid) <= before
    finally:
        os.sched_setaffinity(0, before)
    LabWitness(tmp_path).move(2**22 - 1, CpuSet.of(1))


def test_only_a_synthetic_lab_has_a_witness_of_its_own(tmp_path: Path) -> None:
    uri = f"qemu+unix:///system?socket={tmp_path}/libvirt-sock"
    assert witness_of(uri) is None
    (tmp_path / MARKER).write_text(json.dumps({"synthetic": False}))
    assert witness_of(uri) is None
    (tmp_path / MARKER).write_text(json.dumps({"synthetic": True, "records": str(tmp_path / "fakecpu")}))
    assert witness_of(uri) == LabWitness(tmp_path / "fakecpu")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"synthetic": "yes"}', "{}"])
def test_a_damaged_mark_is_one_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / MARKER).write_text(text)
    with pytest.raises(InvalidRequest, match="is no mark of a lab"):
        witness_of(f"qemu+unix:///system?socket={tmp_path}/libvirt-sock")

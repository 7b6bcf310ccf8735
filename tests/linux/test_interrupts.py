"""Interrupts from made-up procfs trees, and from this machine's; small files of the kernel's that are missing or hostile."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.host.checkups.trees import interrupt

from pinfold.core.cpuset import CpuSet
from pinfold.linux import kernel_file
from pinfold.linux.interrupts import interrupts


def test_interrupts_with_handlers_are_read_by_number(tmp_path: Path) -> None:
    interrupt(tmp_path, 31, "0-3", "2")
    interrupt(tmp_path, 9, "0-3", None, "acpi")
    (tmp_path / "irq/12").mkdir()
    (tmp_path / "irq/default_smp_affinity").write_text("f\n")
    found = interrupts(proc=tmp_path)
    assert [(one.number, one.names, one.allowed.text, one.effective.text) for one in found.found] == [
        (9, ("acpi",), "0-3", "0-3"),
        (31, ("eth0-rx-0",), "0-3", "2"),
    ]


def test_an_affinity_that_the_kernel_keeps_is_marked(tmp_path: Path) -> None:
    interrupt(tmp_path, 7, "0-3", "2")
    (interrupt(tmp_path, 8, "0-3", "2") / "smp_affinity_list").chmod(0o444)
    assert [one.allowed.fixed for one in interrupts(proc=tmp_path).found] == [False, True]


def test_without_the_folder_the_problem_is_told(tmp_path: Path) -> None:
    found = interrupts(proc=tmp_path)
    assert (found.found, found.folder, found.problem) == ((), f"{tmp_path}/irq", "No such file or directory")


def test_hostile_entries_raise_nothing(tmp_path: Path) -> None:
    folder = interrupt(tmp_path, 1, "0", "0")
    (folder / "smp_affinity_list").unlink()
    (folder / "smp_affinity_list").mkdir()
    (folder / "effective_affinity_list").write_bytes(b"\xff\x00" * 100_000)
    (tmp_path / "irq/2").write_text("a file")
    (tmp_path / "irq/٣").mkdir()
    (tmp_path / "irq/4").symlink_to("4")
    (one,) = interrupts(proc=tmp_path).found
    assert one.allowed.problem == "Is a directory"
    assert len(one.effective.text) <= 64 * 1024


def test_this_machine_has_interrupts_or_says_why_not() -> None:
    found = interrupts()
    assert found.problem or all(one.allowed.text for one in found.found if not one.allowed.problem)


@pytest.mark.parametrize("kind", ["missing", "directory", "pipe", "endless", "loop"])
def test_a_file_that_is_none_is_a_problem_or_bounded(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "file"
    match kind:
        case "directory":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "endless":
            path.symlink_to("/dev/zero")
        case "loop":
            path.symlink_to(path)
    found = kernel_file.read(path)
    assert len(found.text) <= 64 * 1024
    assert bool(found.problem) is (kind in ("missing", "directory", "loop"))


@pytest.mark.parametrize(("text", "number"), [("5,0,7,100", 107), ("5", 0), ("", None), ("5,-1", None), ("9" * 5000, None), (None, None)])
def test_how_often_an_interrupt_came_to_some_pcpus_is_counted(tmp_path: Path, text: str | None, number: int | None) -> None:
    interrupt(tmp_path, 31, "0-3", "2")
    if text is not None:
        (tmp_path / "sys/kernel/irq/31").mkdir(parents=True)
        (tmp_path / "sys/kernel/irq/31/per_cpu_count").write_text(f"{text}\n")
    (one,) = interrupts(proc=tmp_path, sys=tmp_path / "sys").found
    assert one.count_on(CpuSet.parse("2-3")) == number

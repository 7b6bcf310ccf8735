"""pCPUs and huge pages from made-up sysfs trees, and from this machine's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pinfold.core.cpuset import CpuSet
from pinfold.core.errors import Unavailable
from pinfold.linux import sysfs
from pinfold.linux.sysfs import HugePages


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / "devices/system" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "devices/system" / name).write_text(text)
    return root


def test_offline_pcpus_are_those_that_are_there(tmp_path: Path) -> None:
    sys = tree(tmp_path, {"cpu/online": "0-1,4\n", "cpu/present": "0-4\n", "cpu/offline": "2-3,5-127\n"})
    assert (sysfs.online(sys=sys), sysfs.offline(sys=sys)) == (CpuSet.parse("0-1,4"), CpuSet.parse("2-3"))


@pytest.mark.parametrize(("text", "expected"), [("2-3\n", "2-3"), ("\n", ""), (None, "")], ids=["some", "none", "an old kernel"])
def test_isolated_pcpus(tmp_path: Path, text: str | None, expected: str) -> None:
    sys = tree(tmp_path, {} if text is None else {"cpu/isolated": text})
    assert sysfs.isolated(sys=sys) == CpuSet.parse(expected)


def test_huge_pages_are_counted_by_cell_and_size(tmp_path: Path) -> None:
    files = {}
    for cell, size, total, free in ((0, 2048, 8, 3), (0, 1048576, 1, 1), (10, 2048, 0, 0), (2, 2048, 4, 4)):
        files[f"node/node{cell}/hugepages/hugepages-{size}kB/nr_hugepages"] = f"{total}\n"
        files[f"node/node{cell}/hugepages/hugepages-{size}kB/free_hugepages"] = f"{free}\n"
    found = sysfs.huge_pages(sys=tree(tmp_path, files))
    assert found == (
        HugePages(cell=0, size_kib=2048, total=8, free=3),
        HugePages(cell=0, size_kib=1048576, total=1, free=1),
        HugePages(cell=2, size_kib=2048, total=4, free=4),
        HugePages(cell=10, size_kib=2048, total=0, free=0),
    )


def test_a_kernel_without_cells_or_huge_pages_has_none(tmp_path: Path) -> None:
    assert sysfs.huge_pages(sys=tmp_path) == ()


def test_without_sysfs_nothing_is_known(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="online cannot be read"):
        sysfs.online(sys=tmp_path)


def test_this_machine_s_pcpus_are_online() -> None:
    assert CpuSet(os.sched_getaffinity(0)) <= sysfs.online()

"""Where a process's memory lies, from the kernel's own text."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pinfold.core.drift.memory import Area, AreaKind
from pinfold.linux import numa

TEXT = """\
5649c8ac0000 default file=/usr/bin/qemu-system-x86_64 mapped=900 mapmax=2 active=1 N0=700 N1=200 kernelpagesize_kB=4
5649c9e2c000 default heap anon=4000 dirty=4000 active=0 N0=4000 kernelpagesize_kB=4
7f3a00000000 bind:1 file=/dev/hugepages/libvirt/qemu/1-web/ram-node0.TJ3c4Y\\040(deleted) huge dirty=32 N0=2 N1=30 kernelpagesize_kB=2048
7f3a40000000 bind:0 anon=131072 dirty=131072 N0=131000 N1=72 kernelpagesize_kB=4
7f3a80000000 bind:0 file=/memfd:memory-backend-memfd\\040(deleted) dirty=512 mapmax=2 N0=512 kernelpagesize_kB=4
7f3a90000000 default
7f3a90001000 default anon=1 N0=x kernelpagesize_kB=4
7ffc1f6b7000 default stack anon=5 dirty=5 active=1 N0=5 kernelpagesize_kB=4
7f3aa0000000 default anon=9 N0=9 kernelpagesi"""


def test_each_area_says_what_backs_it_and_where_its_pages_are(tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "numa_maps").write_text(TEXT)
    assert numa.areas(7, proc=tmp_path) == (
        Area(kind=AreaKind.OTHER, page_kib=4, pages=((0, 700), (1, 200))),
        Area(kind=AreaKind.OTHER, page_kib=4, pages=((0, 4000),)),
        Area(kind=AreaKind.HUGE, page_kib=2048, pages=((0, 2), (1, 30))),
        Area(kind=AreaKind.PLAIN, page_kib=4, pages=((0, 131000), (1, 72))),
        Area(kind=AreaKind.PLAIN, page_kib=4, pages=((0, 512),)),
        Area(kind=AreaKind.OTHER, page_kib=4, pages=((0, 5),)),
    )
    assert numa.areas(8, proc=tmp_path) == ()


def test_a_text_without_end_is_read_in_part(tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    line = "7f3a40000000 bind:0 anon=1 N0=1 kernelpagesize_kB=4\n"
    (tmp_path / "7" / "numa_maps").write_text(line * 200_000)
    assert 0 < len(numa.areas(7, proc=tmp_path)) < 100_000


def test_this_process_has_memory_somewhere() -> None:
    if not Path("/proc/self/numa_maps").exists():
        pytest.skip("this kernel knows no NUMA")
    found = numa.areas(os.getpid())
    assert {area.kind for area in found} >= {AreaKind.OTHER, AreaKind.PLAIN}
    assert sum(count for area in found for _, count in area.pages) > 1000

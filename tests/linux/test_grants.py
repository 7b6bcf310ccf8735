"""Capabilities, limits, realtime shares and hugetlbfs mounts from made-up procfs trees, and from this machine's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pinfold.core.errors import Unavailable
from pinfold.linux.grants import Grants, HugePageMount, grants, huge_page_mounts, realtime_groups

LIMITS = (
    "Limit                     Soft Limit           Hard Limit           Units     \n"
    "Max locked memory         65536                {memlock:<20} bytes     \n"
    "Max realtime priority     {rtprio}                    {rtprio}                    \n"
)


def process(proc: Path, *, cap: str, memlock: str = "8388608", rtprio: str = "0") -> None:
    (proc / "7").mkdir(parents=True)
    (proc / "7/status").write_text(f"Name:\tvirtqemud\nCapPrm:\t0000000000000000\nCapEff:\t{cap}\n")
    (proc / "7/limits").write_text(LIMITS.format(memlock=memlock, rtprio=rtprio))


@pytest.mark.parametrize(
    ("cap", "nice", "resource"),
    [("0000000001800000", True, True), ("0000000000800000", True, False), ("0000000001000000", False, True), ("0" * 16, False, False)],
)
def test_capabilities_are_bits_of_the_effective_set(tmp_path: Path, cap: str, nice: bool, resource: bool) -> None:
    process(tmp_path, cap=cap)
    assert grants(7, proc=tmp_path) == Grants(process="virtqemud", pid=7, sys_nice=nice, sys_resource=resource, rtprio=0, memlock_kib=8192)


def test_the_hard_limit_of_locked_memory_counts_and_may_be_none(tmp_path: Path) -> None:
    process(tmp_path, cap="0" * 16, memlock="unlimited", rtprio="99")
    found = grants(7, proc=tmp_path)
    assert found is not None
    assert (found.memlock_kib, found.rtprio) == (None, 99)


def test_a_process_that_is_gone_is_granted_nothing(tmp_path: Path) -> None:
    assert grants(7, proc=tmp_path) is None


def kernel(proc: Path, *, mounts: str = "") -> None:
    (proc / "self").mkdir(parents=True)
    (proc / "self/mounts").write_text(mounts)


def test_realtime_is_divided_among_groups_only_where_the_kernel_has_it_so(tmp_path: Path) -> None:
    mounts = "cgroup /cg/cpuset cgroup rw,cpuset 0 0\ncgroup /cg/cpu cgroup rw,relatime,cpu,cpuacct 0 0\n"
    kernel(tmp_path / "proc", mounts=mounts)
    assert realtime_groups(proc=tmp_path / "proc", root=tmp_path) == ""
    (tmp_path / "cg/cpu").mkdir(parents=True)
    (tmp_path / "cg/cpu/cpu.rt_runtime_us").write_text("950000\n")
    assert realtime_groups(proc=tmp_path / "proc", root=tmp_path) == "/cg/cpu"


def test_mounts_of_huge_pages_tell_their_size_or_mean_the_default(tmp_path: Path) -> None:
    kernel(
        tmp_path,
        mounts="proc /proc proc rw 0 0\nh /dev/hugepages hugetlbfs rw,relatime 0 0\nh /a hugetlbfs rw,pagesize=2M 0 0\n"
        "h /b hugetlbfs rw,pagesize=1024M 0 0\nh /c hugetlbfs rw,pagesize=64K 0 0\n",
    )
    assert huge_page_mounts(proc=tmp_path) == (
        HugePageMount(path="/dev/hugepages", size_kib=None),
        HugePageMount(path="/a", size_kib=2048),
        HugePageMount(path="/b", size_kib=1 << 20),
        HugePageMount(path="/c", size_kib=64),
    )


def test_a_mount_is_found_if_the_process_sees_the_mark_in_it(tmp_path: Path) -> None:
    (tmp_path / "7" / "root" / "b" / "libvirt" / "qemu").mkdir(parents=True)
    (tmp_path / "7/mounts").write_text("h /a hugetlbfs rw,pagesize=2M 0 0\nh /b hugetlbfs rw,pagesize=2M 0 0\n")
    assert [(mount.path, mount.found) for mount in huge_page_mounts(7, "libvirt/qemu", proc=tmp_path)] == [("/a", False), ("/b", True)]


def test_the_mounts_of_a_process_that_may_not_be_read_are_those_of_this_one(tmp_path: Path) -> None:
    kernel(tmp_path, mounts="h /a hugetlbfs rw,pagesize=2M 0 0\n")
    assert huge_page_mounts(7, "libvirt/qemu", proc=tmp_path) == (HugePageMount(path="/a", size_kib=2048, found=None),)


def test_what_cannot_be_read_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="mounts cannot be read"):
        huge_page_mounts(proc=tmp_path)


def test_this_machine_tells_all_of_it() -> None:
    found = grants(os.getpid())
    assert found is not None
    assert found.pid == os.getpid()
    assert isinstance(realtime_groups(), str)
    assert isinstance(huge_page_mounts(), tuple)

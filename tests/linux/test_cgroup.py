"""Cpuset hierarchies of version 1, version 2 and none."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.linux.tree import add_process, add_thread

from pinfold.core.cpuset import CpuSet
from pinfold.core.errors import Unavailable
from pinfold.linux import cgroup
from pinfold.linux.cgroup import CgroupVersion, CpusetHierarchy, Leaf

RECORDED = Path(__file__).parent / "recorded" / "kvm-guest-cgroup-v1" / "proc"


def host(root: Path, mounts: str, files: dict[str, str]) -> Path:
    """A tree with `/proc/self/mounts` and files; returns its `/proc`."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/mounts").write_text(mounts)
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root / "proc"


V1 = "cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\ncgroup /sys/fs/cgroup/cpuset cgroup rw,cpuset 0 0\n"
V2 = "cgroup2 /sys/fs/cgroup cgroup2 rw,nsdelegate 0 0\n"


def test_a_recorded_hybrid_host_has_cpuset_in_version_1() -> None:
    expected = CpusetHierarchy(version=CgroupVersion.V1, root="/sys/fs/cgroup/cpuset")
    assert cgroup.cpuset_hierarchy(proc=RECORDED) == expected


@pytest.mark.parametrize(
    ("mounts", "controllers", "version"),
    [
        (V1, "", CgroupVersion.V1),
        (V2, "cpuset cpu io\n", CgroupVersion.V2),
        (V2, "cpu io\n", CgroupVersion.NONE),
        (V2 + V1, "cpuset\n", CgroupVersion.V1),
        ("", "", CgroupVersion.NONE),
    ],
    ids=["v1", "v2", "v2 without cpuset", "both", "nothing mounted"],
)
def test_the_version_is_that_of_the_cpuset_controller(tmp_path: Path, mounts: str, controllers: str, version: CgroupVersion) -> None:
    proc = host(tmp_path, mounts, {"sys/fs/cgroup/cgroup.controllers": controllers})
    assert cgroup.cpuset_hierarchy(proc=proc, root=tmp_path).version is version


def test_the_leaves_of_a_recorded_guest() -> None:
    leaves = {tid: cgroup.leaf(9155, tid, proc=RECORDED) for tid in (9155, 9160, 9162, 9999)}
    assert leaves == {9155: Leaf(kind="emulator"), 9160: Leaf(kind="iothread", index=1), 9162: Leaf(kind="vcpu", index=0), 9999: None}


def test_the_leaf_of_version_2(tmp_path: Path) -> None:
    add_thread(tmp_path, 7, 8, cgroup="0::/machine.slice/machine-qemu\\x2d1\\x2dweb.scope/libvirt/vcpu12\n")
    assert cgroup.leaf(7, 8, proc=tmp_path) == Leaf(kind="vcpu", index=12)


@pytest.mark.parametrize("path", ["", "/", "/a/vcpu", "/a/emulator1", "/a/iothread", "/a/vcpux", "/vcpu0/other"])
def test_what_is_no_leaf_of_libvirt_s(path: str) -> None:
    assert cgroup.leaf_of_path(path) is None


@pytest.mark.parametrize(
    ("mounts", "files", "expected"),
    [
        (V1, {"sys/fs/cgroup/cpuset/cpuset.effective_cpus": "0-7\n"}, "0-7"),
        (V1, {"sys/fs/cgroup/cpuset/machine/cpuset.effective_cpus": "2-7\n", "sys/fs/cgroup/cpuset/cpuset.effective_cpus": "0-7\n"}, "2-7"),
        (
            V2,
            {"sys/fs/cgroup/cgroup.controllers": "cpuset\n", "sys/fs/cgroup/machine.slice/cpuset.cpus.effective": "4-5\n"},
            "4-5",
        ),
        (
            V2,
            {"sys/fs/cgroup/cgroup.controllers": "cpuset\n", "sys/fs/cgroup/cpuset.cpus.effective": "0-3\n"},
            "0-3",
        ),
        ("", {}, None),
    ],
    ids=["v1 top", "v1 machine", "v2 slice", "v2 top", "none"],
)
def test_guests_may_use_at_most_what_their_slice_may(tmp_path: Path, mounts: str, files: dict[str, str], expected: str | None) -> None:
    proc = host(tmp_path, mounts, files)
    assert cgroup.machine_cpus(proc=proc, root=tmp_path) == (None if expected is None else CpuSet.parse(expected))


def test_without_procfs_nothing_is_known(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="mounts cannot be read"):
        cgroup.cpuset_hierarchy(proc=tmp_path)


SCOPE = "/machine/qemu-1-web.libvirt-qemu/libvirt"


@pytest.mark.parametrize(("where", "leaf"), [(SCOPE, Leaf(kind="vcpu", index=0)), ("/machine/qemu-2-db.libvirt-qemu/libvirt", None)])
def test_a_kernel_thread_that_is_a_process_of_its_own_has_a_leaf_in_its_guest_s_scope_alone(
    tmp_path: Path, where: str, leaf: Leaf | None
) -> None:
    """In Linux 6.1 KVM's `kvm-nx-lpage-recovery` is no thread of QEMU's."""
    add_process(tmp_path, 7, cgroup=f"0::{SCOPE}/emulator\n")
    add_process(tmp_path, 90, comm="kvm-nx-lpage-recovery-7", flags=0x200000, cgroup=f"0::{where}/vcpu0\n")
    assert cgroup.leaf(7, 90, proc=tmp_path) == leaf

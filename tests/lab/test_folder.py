"""The lab's folder: names, and what is not begun."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pinfold.core.errors import Conflict, InvalidRequest
from pinfold.lab import cgroup
from pinfold.lab.folder import LabFolder, labs
from pinfold.lab.record import LabSpec


@pytest.fixture(autouse=True)
def _own_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PINFOLD_LAB_ROOT", str(tmp_path))


@pytest.mark.parametrize("name", ["", "1a", "A", "a/b", "a_b", "..", "a" * 25, "a\n"])
def test_a_name_that_cannot_be_one_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequest, match="lab name"):
        LabFolder.named(name)


def test_a_root_too_deep_for_a_socket_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PINFOLD_LAB_ROOT", str(tmp_path / ("deep" * 30)))
    with pytest.raises(InvalidRequest, match="too long for a socket; set PINFOLD_LAB_ROOT"):
        LabFolder.named("a")


def test_a_folder_is_held_once() -> None:
    folder = LabFolder.named("a")
    assert not folder.held()
    lock = folder.begin(LabSpec(name="a", synthetic=True))
    assert folder.held()
    with pytest.raises(Conflict, match="is up already"):
        folder.begin(LabSpec(name="a", synthetic=True))
    with pytest.raises(Conflict, match=r"is up already, with KVM, at .*; to switch, .*`pinfold lab down a`, then repeat"):
        folder.begin(LabSpec(name="a", synthetic=True, kvm=False))
    os.close(lock)
    assert not folder.held()


def test_whoever_asks_whether_a_folder_is_held_makes_nothing_in_it_and_it_may_be_gone(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    assert not LabFolder(tmp_path / "a").held()
    assert list((tmp_path / "a").iterdir()) == []
    assert not LabFolder(tmp_path / "gone").held()


def test_what_was_asked_is_read_back() -> None:
    folder = LabFolder.named("a")
    assert labs() == ()
    spec = LabSpec(name="a", synthetic=True, online="0-3", huge_page_kib=(2048, 1048576))
    os.close(folder.begin(spec))
    assert folder.spec() == spec
    assert labs() == (folder,)
    with pytest.raises(InvalidRequest, match="there is no lab 'b'"):
        LabFolder.named("b").spec()


MOUNTS = """\
24 1 0:22 / /proc rw - proc proc rw
31 30 0:26 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset
32 30 0:27 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu,cpuacct
90 80 0:26 / /chroot/sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset
"""


def test_a_hierarchy_that_is_mounted_twice_is_one() -> None:
    found = cgroup.hierarchies(MOUNTS)
    assert [str(one.mount) for one in found] == ["/sys/fs/cgroup/cpuset", "/sys/fs/cgroup/cpu"]
    assert [str(path) for path in found[0].elsewhere] == ["/chroot/sys/fs/cgroup/cpuset"]
    assert cgroup.version(found) == "v1"
    assert cgroup.version(found[1:]) == "none"

"""Who runs a virtual machine that is no guest of this libvirt, told from its process."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from pinfold.core.drift import Process
from pinfold.host.foreign_processes import foreign_processes

PID = 4711
COMMAND = ("/usr/bin/qemu-system-x86_64", "-name", "guest=web,debug-threads=on", "-object", "secret,file={folder}/domain-1-web/key.aes")


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """A procfs with one virtual machine. Its root is a folder of its own, in which its libvirt keeps its guests in `/keep`."""
    for pid, root in (("self", Path("/")), (str(PID), tmp_path / "root")):
        (tmp_path / "proc" / pid / "ns").mkdir(parents=True)
        (tmp_path / "proc" / pid / "root").symlink_to(root)
        (tmp_path / "proc" / pid / "ns/mnt").symlink_to(f"mnt:[{pid}]")
    (tmp_path / "root/keep").mkdir(parents=True)
    own = tmp_path / "proc" / str(PID)
    task = own / "task" / str(PID)
    task.mkdir(parents=True)
    fields = " ".join(["S", "1", *["0"] * 50])
    for folder in (own, task):
        (folder / "stat").write_text(f"{PID} (qemu-system-x86) {fields}\n")
        (folder / "status").write_text("Name:\tqemu-system-x86\nCpus_allowed_list:\t1\n")
    command(tmp_path / "proc", "/keep")
    return tmp_path / "proc"


def command(proc: Path, folder: str) -> None:
    (proc / str(PID) / "cmdline").write_text("\0".join(COMMAND).format(folder=folder) + "\0")


def mark(proc: Path, text: str) -> None:
    folder = proc / str(PID) / "root/run/libvirt"
    folder.mkdir(parents=True)
    (folder / "pinfold-lab.json").write_text(text)


def found(proc: Path) -> Process:
    (process,) = foreign_processes((), proc=proc)
    assert process.machine == "guest web"
    return process


def test_a_path_in_another_mount_namespace_is_not_named(proc: Path) -> None:
    assert found(proc).keeper == "another libvirt, in a mount namespace of its own"


def test_a_path_that_leads_to_the_same_folder_from_here_is_named(proc: Path, tmp_path: Path) -> None:
    """QEMU has a mount namespace for its devices wherever libvirt may give it one; the folder is the machine's all the same."""
    folder = tmp_path / "root/keep"
    inside = tmp_path / "root" / str(folder).lstrip("/")
    inside.parent.mkdir(parents=True)
    inside.symlink_to(folder)
    command(proc, str(folder))
    assert found(proc).keeper == f"the libvirt that keeps its guests in {folder}"


def test_the_same_mount_namespace_is_believed_without_a_look_at_the_folder(proc: Path) -> None:
    (proc / "self/ns/mnt").unlink()
    (proc / "self/ns/mnt").symlink_to(f"mnt:[{PID}]")
    assert found(proc).keeper == "the libvirt that keeps its guests in /keep"


@pytest.mark.parametrize("synthetic", [False, True])
def test_a_lab_is_named_by_its_mark(proc: Path, synthetic: bool) -> None:
    mark(proc, json.dumps({"name": "trial-1", "synthetic": synthetic, "topology": "cell:2"}))
    assert (found(proc).keeper, found(proc).folded) == ("lab trial-1", synthetic)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("{", id="no JSON"),
        pytest.param("[]", id="another JSON"),
        pytest.param(json.dumps({"name": "a`reboot`", "synthetic": False}), id="a name that is none of a lab"),
        pytest.param(" " * 70_000 + json.dumps({"name": "a", "synthetic": False}), id="too large"),
    ],
)
def test_what_is_no_mark_of_a_lab_names_none(proc: Path, text: str) -> None:
    mark(proc, text)
    assert found(proc).keeper == "another libvirt, in a mount namespace of its own"


def test_a_pipe_in_the_place_of_the_mark_holds_nobody_up(proc: Path) -> None:
    mark(proc, "")
    path = proc / str(PID) / "root/run/libvirt/pinfold-lab.json"
    path.unlink()
    os.mkfifo(path)
    assert found(proc).keeper == "another libvirt, in a mount namespace of its own"

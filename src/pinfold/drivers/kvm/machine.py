"""Recognize a process that runs a virtual machine, by its command line, and find out who keeps it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Final

import msgspec

from pinfold.core.encoding import json_reader
from pinfold.linux import mount_namespace, procfs

_FOLDER: Final = re.compile(r"(/[^\s\"',]*)/domain-[0-9]+-")
"""The folder of a libvirt in the path of one of its guests' folders."""
LAB_MARK: Final = "pinfold-lab.json"
"""The file of a lab's description, in the folder of its libvirt's sockets: `/run/libvirt`, as the processes of the lab see it."""
_LAB_MARK_BYTES: Final = 64 * 1024
_LAB_NAME: Final = "^[a-z][a-z0-9-]{0,40}$"


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """A virtual machine that a process runs: what it is called, and who keeps it, both for people.

    `lab`: the libvirt of a lab keeps it. `folded`: that lab is synthetic, and folds made-up pCPUs onto the CPUs of this machine.
    `reachable`: a libvirt of this machine keeps it, which other processes here can reach.
    """

    name: str
    keeper: str
    lab: bool = False
    folded: bool = False
    reachable: bool = False


class _LabMark(msgspec.Struct, frozen=True, kw_only=True):
    """A lab's description; its other keys do not matter here."""

    name: Annotated[str, msgspec.Meta(pattern=_LAB_NAME)]
    synthetic: bool


_read_lab_mark = json_reader(_LabMark)


def machine_of(pid: int, *, proc: Path = procfs.PROC) -> Machine | None:
    """The virtual machine that process `pid` runs; None if it runs none."""
    return machine_of_command(pid, procfs.arguments(pid, proc=proc), proc=proc)


def machine_of_command(pid: int, arguments: Sequence[str], *, proc: Path = procfs.PROC) -> Machine | None:
    """The virtual machine that process `pid` with that command line runs; None if it runs none."""
    if not is_emulator(arguments):
        return None
    name, folder = named(arguments)
    return _kept(name, pid, folder, proc)


def is_emulator(arguments: Sequence[str]) -> bool:
    """Whether a command line is QEMU's for a virtual machine.

    >>> is_emulator(["/usr/bin/kvm", "-id", "104"]), is_emulator(["/usr/bin/sleep", "9"]), is_emulator(["qemu-img", "info"])
    (True, False, False)
    """
    program = arguments[0].rpartition("/")[2] if arguments else ""
    return program.startswith("qemu-system-") or program in ("qemu-kvm", "kvm", "qemu")


def named(arguments: Sequence[str]) -> tuple[str, str]:
    """What the machine of a QEMU command line is called, and the folder of its libvirt as the process sees it, '' without one.

    libvirt passes the guest's name (`-name guest=NAME,…`) and the path of a secret in the guest's folder below libvirt's.

    >>> named(["/usr/bin/qemu-system-x86_64", "-name", "guest=web,debug-threads=on", "-object", "/var/lib/libvirt/qemu/domain-1-web/x"])
    ('guest web', '/var/lib/libvirt/qemu')
    >>> named(["/usr/bin/kvm", "-id", "104"])
    ('a virtual machine', '')
    """
    name = next((value for option, value in pairwise(arguments) if option == "-name"), "")
    called = re.match(r"(?:guest=)?([^,=]{1,200})(?:,|\Z)", name)
    folder = next((match[1] for argument in arguments if (match := _FOLDER.search(argument)) is not None), "")
    return f"guest {called[1]}" if called else "a virtual machine", folder


def _kept(name: str, pid: int, folder: str, proc: Path) -> Machine:
    """The machine with who keeps it.

    `folder` is named only where it is the same folder to an operator of this machine; a lab's or a container's libvirt has its own.
    """
    if not folder:
        return Machine(name=name, keeper="no libvirt")
    if mount_namespace.leads_to_the_same(pid, folder, proc=proc):
        return Machine(name=name, keeper=f"the libvirt that keeps its guests in {folder}", reachable=True)
    try:
        lab = _read_lab_mark(mount_namespace.content(pid, f"/run/libvirt/{LAB_MARK}", most_bytes=_LAB_MARK_BYTES, proc=proc))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Machine(name=name, keeper="another libvirt, in a mount namespace of its own")
    return Machine(name=name, keeper=f"lab {lab.name}", lab=True, folded=lab.synthetic)

"""Who would undo the repair of a guest, as far as the host shows: whatever manages the guest, and when it acts."""

from __future__ import annotations

import os
from typing import Final

from pinfold.host.verify import GuestOrigin, Verdict
from pinfold.linux import procfs

NOVA: Final = "Nova, when it starts, hard reboots, migrates or resizes the server: it then writes its own pins"
PROXMOX: Final = "Proxmox VE, when it starts or migrates the virtual machine: its `affinity` counts then"
KUBEVIRT: Final = "KubeVirt, when it synchronises or migrates the virtual machine: it then pins by its own decision"
VDSM: Final = "VDSM (oVirt), when it starts or migrates the virtual machine, or its CPU policy changes: it then writes its own pins"
ANOTHER_START: Final = "whatever starts its QEMU process, at the next start"
NOBODY: Final = "nobody by itself: the pins are in its definition too; somebody else moves its threads or changes its pins"
SOMEBODY: Final = "whoever manages it, at the next start: its definition has other pins"
_VDSM_RUN: Final = "/run/vdsm"


def undoer(found: Verdict, *, definitions: bool) -> str:
    """Who would undo a repair of that guest, and when, for the end of a sentence. `definitions`: the hypervisor keeps definitions."""
    if found.origin is GuestOrigin.OURS:
        return NOBODY
    if found.origin is GuestOrigin.NOVA:
        return NOVA
    return _manager(cgroup_of(found.guest.pid), vdsm=definitions and os.path.isdir(_VDSM_RUN), definitions=definitions)


def cgroup_of(pid: int | None) -> str:
    """The cgroup of a process, '' if it is gone."""
    return "" if pid is None else procfs.cpuset_path(pid)


def _manager(cgroup: str, *, vdsm: bool, definitions: bool) -> str:
    """By the cgroup that each manager puts its virtual machines into.

    >>> _manager("/qemu.slice/100.scope", vdsm=False, definitions=False).partition(",")[0]
    'Proxmox VE'
    >>> _manager("/kubepods.slice/kubepods-pod1.slice/x", vdsm=False, definitions=False).partition(",")[0]
    'KubeVirt'
    """
    if cgroup.startswith("/qemu.slice/"):
        return PROXMOX
    if "kubepods" in cgroup:
        return KUBEVIRT
    if vdsm:
        return VDSM
    return SOMEBODY if definitions else ANOTHER_START

"""`LibvirtKind`: the kind of driver that connects to a libvirt, and what is known of a libvirt without a connection."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from pinfold.core.cpu_model import CpuModel
from pinfold.core.topology import Topology
from pinfold.drivers.checkup import Check, Checkup, Needs
from pinfold.drivers.driver_kind import AnotherHost, DeviceCounts, Witness
from pinfold.drivers.kvm.machine import LAB_MARK
from pinfold.drivers.libvirt import capabilities, definition, hardware, prerequisites, state_files
from pinfold.drivers.libvirt.address import Address, address
from pinfold.drivers.libvirt.capabilities import BuildContext
from pinfold.drivers.port import Driver, GuestSpec
from pinfold.linux import grants, procfs, sysfs


class LibvirtKind:
    """See `DriverKind`."""

    name = "libvirt"

    def open(self, uri: str, *, witness: Witness | None, realtime_priority: int, cpu: CpuModel) -> Driver:
        """The driver of the libvirt at a URI. See `DriverKind.open`."""
        from pinfold.drivers.libvirt.driver import LibvirtDriver  # libvirt-python is needed only here

        return LibvirtDriver(uri, witness=witness, realtime_priority=realtime_priority, cpu=cpu)

    def device_counts(self, text: str) -> DeviceCounts:
        """The devices in a template. See `DriverKind.device_counts`."""
        disks, nics = hardware.device_counts(text)
        return DeviceCounts(disks=disks, nics=nics)

    def another_host(self, description: str, *, realtime_priority: int) -> AnotherHost:
        """The host with these capabilities. See `DriverKind.another_host`."""
        make = BuildContext(platform=capabilities.platform(description), realtime_priority=realtime_priority)
        return AnotherHost(topology=capabilities.topology(description), definition=lambda spec: definition.definition(spec, make))

    def writer(self, *, realtime_priority: int) -> Callable[[GuestSpec], str]:
        """How domain XML is written for an x86 host. See `DriverKind.writer`."""
        make = BuildContext(platform=capabilities.Platform(), realtime_priority=realtime_priority)
        return lambda spec: definition.definition(spec, make)

    def checkups(self, uri: str, needs: Needs, *, realtime_priority: int, topology: Topology | None) -> tuple[Checkup, ...]:
        """What realtime guests and huge pages need of this machine; nothing if the guests run on another machine.

        The `topology` counts in a lab alone; without it, nothing is known of a lab's huge pages.
        """
        where = _address(uri)
        if not where.local:
            return ()
        lab = Path(where.state_dir).with_name(LAB_MARK).exists()
        pid = state_files.daemon_pid(where.state_dir)
        daemon = None if pid is None else grants.grants(pid)
        found: list[Checkup] = []
        if daemon is None:
            words = "libvirt's daemon does not run, or its pid file is elsewhere: what it may give to realtime guests is not known"
            found.append(Check.REALTIME_SCHEDULER.found(needs.realtime_lack, words, what="realtime"))
        else:
            found += prerequisites.realtime_checkups(daemon, grants.realtime_groups(), needs, priority=realtime_priority, lab=lab)
        if lab:
            found += [] if topology is None else prerequisites.lab_page_checkups(topology, needs)
        else:
            mounts = grants.huge_page_mounts(None if daemon is None else daemon.pid, prerequisites.LIBVIRT_PAGES)
            default_kib, service = procfs.default_huge_page_kib(), prerequisites.LIBVIRT_DAEMONS[0] if daemon is None else daemon.process
            found += prerequisites.huge_page_checkups(sysfs.huge_pages(), mounts, needs, default_kib=default_kib, service=service)
        return tuple(found)

    def start_command(self, uri: str) -> str:
        """The command that starts a libvirt; '' where it runs, or where its socket is there and closed to this user."""
        where = _address(uri)
        socket = Path(where.state_dir).with_name("libvirt-sock")
        if state_files.daemon_pid(where.state_dir) is not None or (socket.exists() and not os.access(socket, os.W_OK)):
            return ""
        path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
        installed = [name for name in prerequisites.LIBVIRT_DAEMONS if shutil.which(name, path=path)]
        return prerequisites.libvirt_start(where, installed)


def _address(uri: str) -> Address:
    return address(uri, session_dir=os.environ.get("XDG_RUNTIME_DIR", ""))

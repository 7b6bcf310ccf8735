"""The other elements of domain XML that pinfold writes: name, id, boot, features, clock, devices. It reads few of them. Pure."""

from __future__ import annotations

from typing import Final
from xml.etree.ElementTree import Element, SubElement

from pinfold.core.bounds import MAX_TEMPLATE
from pinfold.drivers.libvirt import firmware, interfaces, xmltext
from pinfold.drivers.libvirt.capabilities import BuildContext
from pinfold.drivers.port import GuestSpec

X86: Final = ("x86_64", "i686")
_CD_ROM_NAMES: Final = {"ide": "hda", "sata": "sda", "scsi": "sda", "usb": "sda", "virtio": "vdb"}
"""The buses of a config drive, and libvirt's name of the drive on each."""
_WHAT: Final = "template"


def identity(spec: GuestSpec) -> tuple[Element, Element]:
    """`<name>` and `<uuid>`."""
    name, uuid = Element("name"), Element("uuid")
    name.text, uuid.text = spec.name, spec.id
    return name, uuid


def os_(spec: GuestSpec, make: BuildContext) -> Element:
    """`<os>`: the machine, and what it boots."""
    os, boot, wants = Element("os"), spec.boot, spec.request.wants
    kind = SubElement(os, "type", {"arch": make.platform.arch})
    kind.text = "hvm"
    if make.platform.arch in X86:
        kind.set("machine", wants.machine or "pc")
    elif wants.machine:
        kind.set("machine", wants.machine)
    if wants.uefi:
        firmware.choose(os, boot, secure=firmware.is_secure(wants, available=make.secure_boot))
    if boot.rom:
        loader = SubElement(os, "loader", {"readonly": "yes", "type": "rom"})
        loader.text = boot.rom
    for name, value in (("kernel", boot.kernel), ("initrd", boot.initrd), ("cmdline", boot.cmdline)):
        if value:
            SubElement(os, name).text = value
    if boot.disk:
        SubElement(os, "boot", {"dev": "hd"})
    return os


def features_and_clock(spec: GuestSpec, make: BuildContext, virt_type: str) -> list[Element]:
    """`<features>` where there are any, and `<clock>`."""
    found = []
    hidden, unit = spec.request.wants.hidden, spec.request.wants.performance_unit
    if make.platform.arch in X86 or hidden or unit is not None:
        features = Element("features")
        found.append(features)
    if hidden:
        SubElement(SubElement(features, "kvm"), "hidden", {"state": "on"})
    if unit is not None:
        SubElement(features, "pmu", {"state": "on" if unit else "off"})
    if make.platform.arch in X86:
        SubElement(features, "acpi")
        SubElement(features, "apic")
        if firmware.is_secure(spec.request.wants, available=make.secure_boot):
            SubElement(features, "smm", {"state": "on"})
        ioapic = without_kernel_pit(spec, make, virt_type)
        if ioapic is not None:
            features.append(ioapic)
    clock = Element("clock", {"offset": "utc"})
    timer = without_pit(spec, make)
    if timer is not None:
        clock.append(timer)
    found.append(clock)
    return found


def devices_of(spec: GuestSpec, make: BuildContext) -> Element:
    """`<devices>`: the disk, the config drive, the network interfaces, a serial line, and nothing that pinfold does not need."""
    devices, boot = Element("devices"), spec.boot
    if make.platform.emulator:
        SubElement(devices, "emulator").text = make.platform.emulator
    if boot.disk:
        disk = SubElement(devices, "disk", {"type": "file", "device": "disk"})
        driver = SubElement(disk, "driver", {"name": "qemu", "type": boot.disk_format})
        if boot.iothreads:
            driver.set("iothread", "1")
        SubElement(disk, "source", {"file": boot.disk})
        SubElement(disk, "target", {"dev": "vda", "bus": "virtio"})
    bus = _cd_rom_bus(spec, make) if boot.config_drive else ""
    if bus:
        drive = SubElement(devices, "disk", {"type": "file", "device": "disk" if bus == "virtio" else "cdrom"})
        SubElement(drive, "driver", {"name": "qemu", "type": "raw"})
        SubElement(drive, "source", {"file": boot.config_drive})
        SubElement(drive, "target", {"dev": _CD_ROM_NAMES[bus], "bus": bus})
        SubElement(drive, "readonly")
    if bus == "scsi" and make.platform.arch in X86:
        SubElement(devices, "controller", {"type": "scsi", "model": "virtio-scsi"})
    devices.extend(interfaces.element(interface) for interface in spec.interfaces)
    SubElement(devices, "controller", {"type": "usb", "model": "qemu-xhci" if bus == "usb" else "none"})
    serial = SubElement(devices, "serial", {"type": "pty" if boot.serial_log else "null"})
    if boot.serial_log:
        SubElement(serial, "log", {"file": boot.serial_log, "append": "on"})
    SubElement(devices, "memballoon", {"model": "none"})
    devices.extend(_extra_devices(spec))
    return devices


def _cd_rom_bus(spec: GuestSpec, make: BuildContext) -> str:
    """The bus of the config drive. The machine q35 has no IDE."""
    wants = spec.request.wants
    if wants.cd_rom_bus:
        return wants.cd_rom_bus
    if make.platform.arch not in X86:
        return "scsi"
    return "sata" if wants.is_q35 else "ide"


def cd_rom_buses(text: str) -> frozenset[str]:
    """The buses on which guests can have a config drive, by domain capabilities XML of the default machine. Raises `InvalidRequest`."""
    domain = xmltext.parsed(text, "domain capabilities XML", root="domainCapabilities")
    return frozenset(value.text or "" for value in domain.iterfind("devices/disk/enum[@name='bus']/value")) & frozenset(_CD_ROM_NAMES)


def _extra_devices(spec: GuestSpec) -> list[Element]:
    """The random number device, the TPM and the watchdog, for a guest that asks for them."""
    wants, devices = spec.request.wants, []
    if wants.random:
        device = Element("rng", {"model": "virtio"})
        if wants.random_bytes:
            SubElement(device, "rate", {"bytes": str(wants.random_bytes)} | ({"period": str(wants.random_ms)} if wants.random_ms else {}))
        SubElement(device, "backend", {"model": "random"}).text = "/dev/urandom"
        devices.append(device)
    if wants.tpm:
        devices.append(firmware.tpm(wants))
    if wants.watchdog:
        devices.append(Element("watchdog", {"model": "i6300esb", "action": wants.watchdog}))
    return devices


def without_pit(spec: GuestSpec, make: BuildContext) -> Element | None:
    """The `<timer>` that removes the PIT of a realtime guest; None for all others."""
    if not spec.record.fit.realtime or make.platform.arch not in X86:
        return None
    return Element("timer", {"name": "pit", "present": "no"})


def without_kernel_pit(spec: GuestSpec, make: BuildContext, virt_type: str) -> Element | None:
    """The `<ioapic>` that avoids KVM's PIT, and its thread on vCPU 0's pCPU, for a realtime guest; None for all others.

    libvirt (9.0) passes the timer's absence to QEMU only as a tick policy, and KVM still creates its `kvm-pit` thread. It does not if
    QEMU emulates the legacy part of the interrupt controller (a split irqchip). Message-signalled interrupts stay in the kernel.
    """
    if virt_type != "kvm" or without_pit(spec, make) is None:
        return None
    return Element("ioapic", {"driver": "qemu"})


def has_own_nvram(text: str) -> bool:
    """Whether libvirt created and named the domain's firmware variables. A file named by a template must outlive the guest.

    The definition of a stopped guest whose firmware libvirt chooses names no file.
    """
    domain = xmltext.parsed(text, _WHAT, root="domain")
    name, path = domain.findtext("name", default=""), domain.findtext("os/nvram", default="")
    if not path and domain.find("os[@firmware='efi']") is not None:
        return True
    return path.rpartition("/")[2].startswith(f"{name}_VARS.")


def device_counts(text: str) -> tuple[int, int]:
    """The numbers of disks and of the queues of network interfaces in a template, which determine its overhead. Raises
    `InvalidRequest`.
    """
    return devices(xmltext.parsed(text, _WHAT, root="domain", limit=MAX_TEMPLATE))


def devices(domain: Element) -> tuple[int, int]:
    """The numbers of disks and of the queues of network interfaces in a domain."""
    disks = [disk for disk in domain.iterfind("devices/disk") if disk.get("device", "disk") in ("disk", "lun") and not _is_iso(disk)]
    return len(disks), sum(interfaces.queues_of(each) for each in domain.iterfind("devices/interface"))


def _is_iso(disk: Element) -> bool:
    """Whether the disk is an ISO image that cannot be written, such as a config drive. It is read once, so it causes no overhead."""
    source = disk.find("source")
    return disk.find("readonly") is not None and source is not None and source.get("file", "").endswith(".iso")

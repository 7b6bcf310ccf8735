"""Turn a `GuestSpec` into domain XML: a minimal domain, or the user's template with our elements. Pure.

`elements` makes our elements, and `template` puts them into a template.
"""

from __future__ import annotations

from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from pinfold.core.errors import InvalidRequest
from pinfold.core.overhead import masks
from pinfold.drivers.libvirt import elements, template
from pinfold.drivers.libvirt.elements import BuildContext
from pinfold.drivers.port import GuestSpec


def definition(spec: GuestSpec, make: BuildContext) -> str:
    """The domain XML of `spec`. First boot, migration destination and audit all use this XML.

    Raises `InvalidRequest` for an unusable template, and for a kind of virtualization that the host lacks.
    """
    if spec.virt_type and spec.virt_type not in make.platform.virt_types:
        allowed = ", ".join(make.platform.virt_types) or "none"
        raise InvalidRequest(f"virt_type {spec.virt_type!r} is not to be had on this host; it has {allowed}", key="virt_type")
    if spec.template:
        return template.merged(spec, make)
    return _own_domain(spec, make)


def _own_domain(spec: GuestSpec, make: BuildContext) -> str:
    virt_type = spec.virt_type or make.platform.best_virt_type
    domain = Element("domain", {"type": virt_type})
    domain.extend(elements.identity(spec))
    SubElement(domain, "metadata").append(elements.record(spec))
    domain.extend(elements.memory(spec))
    backing = elements.memory_backing(spec, make)
    if backing:
        SubElement(domain, "memoryBacking").extend(backing)
    domain.append(elements.vcpu(masks(spec.record.fit)))
    if spec.boot.iothreads:
        domain.append(elements.iothreads(spec.boot.iothreads))
    SubElement(domain, "cputune").extend(elements.cputune(spec, range(1, spec.boot.iothreads + 1), make))
    numatune = elements.numatune(spec)
    if numatune is not None:
        domain.append(numatune)
    domain.append(_os(spec, make))
    domain.extend(_machine(spec, make, virt_type))
    cpu = elements.cpu(spec)
    if cpu:
        SubElement(domain, "cpu").extend(cpu)
    domain.append(_devices(spec, make))
    ElementTree.indent(domain)
    return ElementTree.tostring(domain, encoding="unicode") + "\n"


def _os(spec: GuestSpec, make: BuildContext) -> Element:
    os, boot = Element("os"), spec.boot
    kind = SubElement(os, "type", {"arch": make.platform.arch})
    kind.text = "hvm"
    if make.platform.arch in elements.X86:
        kind.set("machine", "pc")
    if boot.rom:
        loader = SubElement(os, "loader", {"readonly": "yes", "type": "rom"})
        loader.text = boot.rom
    for name, value in (("kernel", boot.kernel), ("initrd", boot.initrd), ("cmdline", boot.cmdline)):
        if value:
            SubElement(os, name).text = value
    if boot.disk:
        SubElement(os, "boot", {"dev": "hd"})
    return os


def _machine(spec: GuestSpec, make: BuildContext, virt_type: str) -> list[Element]:
    found = []
    if make.platform.arch in elements.X86:
        features = Element("features")
        SubElement(features, "acpi")
        SubElement(features, "apic")
        ioapic = elements.without_kernel_pit(spec, make, virt_type)
        if ioapic is not None:
            features.append(ioapic)
        found.append(features)
    clock = Element("clock", {"offset": "utc"})
    timer = elements.without_pit(spec, make)
    if timer is not None:
        clock.append(timer)
    found.append(clock)
    return found


def _devices(spec: GuestSpec, make: BuildContext) -> Element:
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
    SubElement(devices, "controller", {"type": "usb", "model": "none"})
    serial = SubElement(devices, "serial", {"type": "file" if boot.serial_log else "null"})
    if boot.serial_log:
        SubElement(serial, "source", {"path": boot.serial_log})
    SubElement(devices, "memballoon", {"model": "none"})
    return devices

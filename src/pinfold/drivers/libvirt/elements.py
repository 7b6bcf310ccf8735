"""The elements of domain XML that pinfold owns, made from a `GuestSpec`. `emit` and `template` put them into a domain.

Boot, migration and audit use the same elements. Sources: libvirt's formatdomain (CPU tuning, NUMA tuning, memory backing).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from xml.etree.ElementTree import Element, SubElement

from msgspec import Struct

from pinfold.core.cpuset import CpuSet
from pinfold.core.errors import InvariantViolation
from pinfold.core.fit.model import Fit
from pinfold.core.overhead import Masks, masks
from pinfold.drivers.libvirt import metadata
from pinfold.drivers.libvirt.capabilities import Platform
from pinfold.drivers.port import GuestSpec

X86: Final = ("x86_64", "i686")


class BuildContext(Struct, frozen=True, kw_only=True):
    """What a definition needs beside the spec: the host's platform, and the priority of realtime vCPUs."""

    platform: Platform
    realtime_priority: int = 1


def identity(spec: GuestSpec) -> tuple[Element, Element]:
    """`<name>` and `<uuid>`."""
    name, uuid = Element("name"), Element("uuid")
    name.text, uuid.text = spec.name, spec.id
    return name, uuid


def memory(spec: GuestSpec) -> tuple[Element, Element]:
    """`<memory>` and `<currentMemory>`: the amount that the fit charged."""
    whole, current = Element("memory", {"unit": "KiB"}), Element("currentMemory", {"unit": "KiB"})
    whole.text = current.text = str(spec.record.fit.memory_mib * 1024)
    return whole, current


def vcpu(wanted: Masks) -> Element:
    """`<vcpu>`. Its cpuset is the overhead set, because libvirt applies it to iothreads that are added later."""
    element = Element("vcpu", {"placement": "static", "cpuset": _cpulist(wanted.overhead, "the emulator threads")})
    element.text = str(len(wanted.vcpus))
    return element


def iothreads(count: int) -> Element:
    """`<iothreads>`."""
    element = Element("iothreads")
    element.text = str(count)
    return element


def pins(wanted: Masks, iothread_ids: Iterable[int]) -> list[Element]:
    """A pin for each vCPU, ascending, for the emulator, and for each iothread. No pin is empty."""
    children = [
        Element("vcpupin", {"vcpu": str(index), "cpuset": _cpulist(cpus, f"vCPU {index}")}) for index, cpus in enumerate(wanted.vcpus)
    ]
    children.append(emulator_pin(wanted.overhead))
    children.extend(Element("iothreadpin", {"iothread": str(index), "cpuset": str(wanted.overhead)}) for index in iothread_ids)
    return children


def emulator_pin(cpus: CpuSet) -> Element:
    """`<emulatorpin>`."""
    return Element("emulatorpin", {"cpuset": _cpulist(cpus, "the emulator threads")})


def allocating(fit: Fit, small_page_kib: int, *, at_once: bool = False) -> CpuSet:
    """The guest's own pCPUs on host cells whose memory is allocated at the start: huge pages, and with `at_once` small pages too.

    Empty if no cell allocates memory at the start.
    """
    cells = [cell for cell in fit.cells if at_once or cell.page_kib > small_page_kib]
    return CpuSet(pcpu for cell in cells for pcpu in (*(pcpu for _, pcpu in cell.pins), *cell.float_set))


def cputune(spec: GuestSpec, iothread_ids: Iterable[int], make: BuildContext) -> list[Element]:
    """The children of `<cputune>`: the pins, and FIFO for realtime vCPUs."""
    fit = spec.record.fit
    children = pins(masks(fit), iothread_ids)
    if fit.realtime:
        attributes = {"vcpus": str(fit.realtime), "scheduler": "fifo", "priority": str(make.realtime_priority)}
        children.append(Element("vcpusched", attributes))
    return children


def numatune(spec: GuestSpec) -> Element | None:
    """`<numatune>`: each guest cell's memory strictly on its host cell; None for a guest without cells."""
    cells = spec.record.fit.cells
    if not cells:
        return None
    element = Element("numatune")
    nodes = CpuSet(cell.host_cell for cell in cells)
    SubElement(element, "memory", {"mode": "strict", "nodeset": str(nodes)})
    for cell in cells:
        SubElement(element, "memnode", {"cellid": str(cell.guest_cell), "mode": "strict", "nodeset": str(cell.host_cell)})
    return element


def cpu(spec: GuestSpec) -> list[Element]:
    """The children of `<cpu>`: the requested topology and the guest's cells. Without a model the guest runs on any host."""
    children = []
    topology = spec.request.cpu_topology
    if topology is not None:
        sizes = {"sockets": str(topology.sockets), "cores": str(topology.cores), "threads": str(topology.threads)}
        children.append(Element("topology", sizes))
    if spec.record.fit.cells:
        numa = Element("numa")
        for cell in spec.record.fit.cells:
            vcpus = CpuSet(index for index, _ in cell.pins) | cell.float_vcpus
            attributes = {"id": str(cell.guest_cell), "cpus": _cpulist(vcpus, f"guest cell {cell.guest_cell}")}
            SubElement(numa, "cell", attributes | {"memory": str(cell.memory_mib * 1024), "unit": "KiB"})
        children.append(numa)
    return children


def memory_backing(spec: GuestSpec, make: BuildContext) -> list[Element]:
    """The children of `<memoryBacking>`: huge pages of each guest cell, and locked, unshared memory for realtime guests."""
    sizes: dict[int, list[int]] = {}
    for cell in spec.record.fit.cells:
        if cell.page_kib > make.platform.small_page_kib:
            sizes.setdefault(cell.page_kib, []).append(cell.guest_cell)
    children = []
    if sizes:
        pages = Element("hugepages")
        for size, cells in sorted(sizes.items()):
            SubElement(pages, "page", {"size": str(size), "unit": "KiB", "nodeset": str(CpuSet(cells))})
        children.append(pages)
    if spec.record.fit.realtime:
        children.append(Element("nosharepages"))
    if spec.record.fit.realtime or spec.request.locked_memory:
        children.append(Element("locked"))
    return children


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


def record(spec: GuestSpec) -> Element:
    """The `<pinfold:guest>` element for `<metadata>`."""
    return metadata.element(spec.record)


def _cpulist(cpus: CpuSet, what: str) -> str:
    if not cpus:
        # libvirt reads an empty cpuset as "anywhere".
        raise InvariantViolation(f"a fit gives {what} no CPU")
    return str(cpus)

"""The whole domain XML of a guest: write it from a `GuestSpec`, read it as a `HostGuest`. Pure.

`pins`, `guest_memory`, `hardware` and `metadata` have its elements. `template` puts ours into a user's own domain.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from msgspec.structs import replace

from pinfold.core.bounds import MAX_CPU
from pinfold.core.errors import InvalidRequest
from pinfold.core.identity import GuestId
from pinfold.core.overhead import masks
from pinfold.drivers.libvirt import guest_cpu, guest_memory, hardware, interfaces, metadata, pins, template, xmltext
from pinfold.drivers.libvirt.capabilities import BuildContext
from pinfold.drivers.libvirt.guest_memory import HostPages
from pinfold.drivers.port import GuestSpec, GuestState, HostGuest, Record

_WHAT: Final = "domain XML"


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
    domain.extend(hardware.identity(spec))
    SubElement(domain, "metadata").append(metadata.element(spec.record))
    domain.extend(guest_memory.amounts(spec))
    backing = guest_memory.memory_backing(spec, make)
    if backing:
        SubElement(domain, "memoryBacking").extend(backing)
    domain.append(pins.vcpu(masks(spec.record.fit)))
    if spec.boot.iothreads:
        domain.append(pins.iothreads(spec.boot.iothreads))
    limits = pins.cpu_time(spec.request.wants)
    SubElement(domain, "cputune").extend([*limits, *pins.cputune(spec, range(1, spec.boot.iothreads + 1), make)])
    numatune = guest_memory.numatune(spec)
    if numatune is not None:
        domain.append(numatune)
    domain.append(hardware.os_(spec, make))
    domain.extend(hardware.features_and_clock(spec, make, virt_type))
    cpu = guest_cpu.element(make.cpu, virt_type, make.host_cpu)
    cpu.extend(guest_memory.cpu(spec))
    if cpu.attrib or len(cpu):
        domain.append(cpu)
    domain.append(hardware.devices_of(spec, make))
    ElementTree.indent(domain)
    return ElementTree.tostring(domain, encoding="unicode") + "\n"


def host_guest(text: str, *, state: GuestState, persistent: bool, pid: int | None, pages: HostPages) -> HostGuest:
    """The guest of a domain XML. If our record cannot be read, `problem` says why. Raises `InvalidRequest` for broken XML."""
    return replace(_defined(text, pages), state=state, persistent=persistent, pid=pid)


# An agent reads every guest every few seconds, and definitions hardly ever change.
@lru_cache(maxsize=512)
def _defined(text: str, pages: HostPages) -> HostGuest:
    """The guest from the XML alone; state, persistence and process are placeholders."""
    domain = xmltext.parsed(text, _WHAT, root="domain")
    uuid = domain.findtext("uuid", default="")
    record, nova, problem = None, None, ""
    notes = domain.find("metadata")
    if notes is not None:
        ours = metadata.find(notes)
        record, problem = _record(ours, uuid) if ours is not None else (None, "")
        try:
            nova = metadata.nova_record(notes)
        except InvalidRequest as error:
            problem = problem or str(error)
    vcpu = domain.find("vcpu")
    taken, small_mib = guest_memory.taken(domain, pages)
    memory_mib = -(-sum(amount_kib for _, amount_kib in guest_memory.guest_cells(domain)) // 1024)
    disks, nics = hardware.devices(domain)
    return HostGuest(
        id=GuestId(uuid),
        name=domain.findtext("name", default=""),
        state=GuestState.STOPPED,
        vcpus=1 if vcpu is None else xmltext.text_integer(vcpu, _WHAT, most=MAX_CPU + 1),
        memory_mib=memory_mib,
        huge_mib=memory_mib - small_mib,
        persistent=False,
        pid=None,
        record=record,
        nova=nova,
        pins=pins.asked_pins(domain),
        pages=taken,
        iothreads=len(pins.iothread_ids(domain)),
        disks=disks,
        nics=nics,
        macs=interfaces.macs(domain),
        problem=problem,
    )


def _record(ours: Element, uuid: str) -> tuple[Record | None, str]:
    """The record, or None and the reason."""
    try:
        record = metadata.record_of(ours)
    except InvalidRequest as error:
        return None, str(error)
    if record.guest != uuid:
        return None, f"pinfold's record in the domain's metadata is of guest {record.guest}: the definition was copied"
    return record, ""

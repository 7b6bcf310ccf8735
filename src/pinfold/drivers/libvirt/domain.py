"""Acts on one libvirt domain: start, end, undefine, pin. `driver` decides when.

Each function takes libvirt's own objects and raises libvirt's own errors; the caller translates them.
"""

from __future__ import annotations

from typing import Any, Final

from pinfold.core.cpuset import CpuSet
from pinfold.core.drift import ExpectedMasks, iothread_place
from pinfold.drivers.kvm import thread_moves
from pinfold.drivers.libvirt import errors, hardware, metadata, pins, record_1, template
from pinfold.drivers.libvirt.connection import libvirt
from pinfold.drivers.port import Record

_UNDEFINE: Final[int] = (
    libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
    | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
    | libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
)
_FORGET_NVRAM: Final[int] = libvirt.VIR_DOMAIN_UNDEFINE_NVRAM
_KEEP_NVRAM: Final[int] = libvirt.VIR_DOMAIN_UNDEFINE_KEEP_NVRAM


def start_paused(domain: Any) -> None:
    """Start the domain paused."""
    domain.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)


def definition(domain: Any) -> str:
    """The definition that the next start uses, passwords included."""
    text: str = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE)
    return text


def start_paused_with_emulator_on(connection: Any, domain: Any, cpus: CpuSet) -> None:
    """Start the domain paused with its emulator threads on those pCPUs. The stored definition does not change.

    A domain with a saved memory starts from that one, whose definition changes.
    """
    if domain.hasManagedSaveImage():
        saved = domain.managedSaveGetXMLDesc(libvirt.VIR_DOMAIN_SAVE_IMAGE_XML_SECURE)
        domain.managedSaveDefineXML(template.with_emulator_on(saved, cpus))
        start_paused(domain)
        return
    connection.createXML(template.with_emulator_on(definition(domain), cpus), libvirt.VIR_DOMAIN_START_PAUSED)


def forget_saved_memory(domain: Any) -> None:
    """Remove the memory that a save left, so that the next start boots."""
    if domain.hasManagedSaveImage():
        domain.managedSaveRemove()


def shut_down(domain: Any) -> None:
    """Ask the domain to shut down. One that has ended is no error."""
    try:
        domain.shutdown()
    except libvirt.libvirtError as error:
        if error.get_error_code() != errors.OPERATION_INVALID:
            raise


def end(domain: Any) -> None:
    """End the domain's process. One that has ended is no error."""
    if domain.isActive():
        try:
            domain.destroy()
        except libvirt.libvirtError as error:
            # It may have ended by itself in between.
            if error.get_error_code() not in (errors.OPERATION_INVALID, errors.NO_DOMAIN):
                raise


def undefine(domain: Any) -> None:
    """Remove the domain's definition, and the firmware variables if libvirt created them."""
    domain.undefineFlags(_UNDEFINE | (_FORGET_NVRAM if hardware.has_own_nvram(domain.XMLDesc(0)) else _KEEP_NVRAM))


def amend(domain: Any, record: Record) -> None:
    """Replace our record in the domain's metadata: in the definition, and in the running domain. Raises `InvalidRequest` for a record that
    cannot be written.
    """
    text = metadata.text_without_prefix(record)
    flags = libvirt.VIR_DOMAIN_AFFECT_CONFIG if domain.isPersistent() else 0
    if domain.isActive():
        flags |= libvirt.VIR_DOMAIN_AFFECT_LIVE
    domain.setMetadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, text, metadata.PREFIX, metadata.NAMESPACE, flags)
    if metadata.outdates_earlier(record, domain.XMLDesc(0)):
        domain.setMetadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, None, None, record_1.NAMESPACE, flags)


def forget(domain: Any) -> None:
    """Remove our record, of any version, from the domain's metadata: in the definition, and in the running domain."""
    for flag, wanted in (
        (libvirt.VIR_DOMAIN_AFFECT_CONFIG, domain.isPersistent()),
        (libvirt.VIR_DOMAIN_AFFECT_LIVE, domain.isActive()),
    ):
        for namespace in (metadata.NAMESPACE, record_1.NAMESPACE) if wanted else ():
            domain.setMetadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, None, None, namespace, flag)


def stats(connection: Any, domain: Any) -> dict[str, Any]:
    """libvirt's counts of the domain, by its own keys."""
    wanted = (
        libvirt.VIR_DOMAIN_STATS_VCPU
        | libvirt.VIR_DOMAIN_STATS_BALLOON
        | libvirt.VIR_DOMAIN_STATS_INTERFACE
        | libvirt.VIR_DOMAIN_STATS_BLOCK
    )
    found = connection.domainListGetStats([domain], wanted, 0)
    return dict(found[0][1]) if found else {}


def pin_live(domain: Any, wanted: ExpectedMasks) -> None:
    """Set libvirt's live pins, thread class by class. Without a cpuset cgroup some threads do not follow; `thread_moves` moves them."""
    live = libvirt.VIR_DOMAIN_AFFECT_LIVE
    size = 1 + max(thread_moves.named_cpus(wanted))
    domain.pinEmulator(pins.row(wanted.overhead, size), live)
    for row in domain.ioThreadInfo(live):
        domain.pinIOThread(row[0], pins.row(iothread_place(wanted, row[0]), size), live)
    for index, cpus in enumerate(wanted.vcpus):
        if cpus:
            domain.pinVcpuFlags(index, pins.row(cpus, size), live)


def pin_definition(connection: Any, domain: Any, wanted: ExpectedMasks, *, ours: bool) -> None:
    """Replace the pins in the domain's persistent definition, if it has one; in that of a guest of `ours`, the default set too."""
    if domain.isPersistent():
        connection.defineXML(template.repinned(definition(domain), wanted, ours=ours))


def restore_pins(connection: Any, domain: Any, earlier: str) -> None:
    """Give the domain's persistent definition the pins of an `earlier` one. What else has changed in it since then stays."""
    now = definition(domain)
    text = template.with_pins_of(now, earlier)
    if text != now:
        connection.defineXML(text)

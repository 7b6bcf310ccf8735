"""Write the record of version 1, as pinfold did until November 2026: what today's code must still read."""

from __future__ import annotations

from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from msgspec.structs import replace

from pinfold.core.cpuset import CpuSet
from pinfold.core.encoding import encode
from pinfold.core.fit.answer import Fit
from pinfold.core.reasons import Reason
from pinfold.drivers.libvirt.record_1 import NAMESPACE, TAG
from pinfold.drivers.port import Record


def text(record: Record) -> str:
    """The element as text."""
    return prefixed(element(record))


def prefixed(root: Element) -> str:
    """The text of XML with an element of version 1, with the prefix that it had."""
    return ElementTree.tostring(root, encoding="unicode").replace("ns0:", "pinfold:").replace(":ns0=", ":pinfold=")


def element(record: Record) -> Element:
    """The `<pinfold:guest>` element of a record."""
    guest = Element(TAG, {"version": "1", "id": record.guest, "policy": record.policy.value})
    if record.claim is not None:
        guest.set("claim", record.claim)
    guest.set("revision", str(record.revision))
    guest.set("owner", record.owner)
    if record.flavor:
        guest.set("flavor", record.flavor)
    if record.server:
        guest.set("server", record.server)
    guest.append(_fit_element(record.fit))
    if record.request is not None:
        asked = Element(_tag("request"))
        asked.text = encode(replace(record.request, not_acted_upon=()))
        guest.append(asked)
    return guest


def _fit_element(fit: Fit) -> Element:
    inner = Element(_tag("fit"), {"vcpus": str(fit.vcpus), "memory_mib": str(fit.memory_mib), "disk_gib": str(fit.disk_gib)})
    inner.set("emulator", str(fit.emulator))
    inner.set("emulator_placement", fit.emulator_placement.value)
    if fit.emulator_pcpu is not None:
        inner.set("emulator_pcpu", str(fit.emulator_pcpu))
    inner.set("overhead_millicpu", str(fit.overhead_millicpu))
    if fit.overhead_cells:
        inner.set("overhead_cells", _pairs_text(fit.overhead_cells))
    _set_cpus(inner, float_vcpus=fit.float_vcpus, float_set=fit.float_set, realtime=fit.realtime, idle_siblings=fit.idle_siblings)
    for cell in fit.cells:
        child = Element(_tag("cell"), {"guest_cell": str(cell.guest_cell), "host_cell": str(cell.host_cell)})
        child.set("memory_mib", str(cell.memory_mib))
        child.set("page_kib", str(cell.page_kib))
        if cell.pins:
            child.set("pins", _pairs_text(cell.pins))
        _set_cpus(child, float_vcpus=cell.float_vcpus, float_set=cell.float_set)
        inner.append(child)
    inner.extend(_warning_element(warning) for warning in fit.warnings)
    return inner


def _warning_element(reason: Reason) -> Element:
    child = Element(_tag("warning"), {"code": reason.code.value, "kind": reason.kind.value})
    if reason.cell is not None:
        child.set("cell", str(reason.cell))
    child.set("needed", str(reason.needed))
    child.set("available", str(reason.available))
    if reason.detail:
        child.set("detail", reason.detail)
    return child


def _pairs_text(pairs: tuple[tuple[int, int], ...]) -> str:
    return " ".join(f"{one}:{other}" for one, other in pairs)


def _set_cpus(element: Element, **sets: CpuSet) -> None:
    for attribute, cpus in sets.items():
        if cpus:
            element.set(attribute, str(cpus))


def _tag(local: str) -> str:
    return f"{{{NAMESPACE}}}{local}"

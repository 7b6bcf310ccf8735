"""Write and read a `Record` as the metadata element of a domain, and read Nova's metadata as a `NovaRecord`.

The element is `<pinfold:guest>` in the namespace `urn:pinfold:guest:2`. Its text is the record as `core.encoding` writes it.
`record_1` reads what an earlier pinfold wrote in another namespace. That stays beside ours while it names the guest's place, so that the
earlier pinfold still finds it when an operator goes back.
"""

from __future__ import annotations

import re
from typing import Final
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from msgspec.structs import replace

from pinfold.core.bounds import MAX_AMOUNT, MAX_CPU, MAX_RECORD
from pinfold.core.encoding import decoder, encode
from pinfold.core.errors import InvalidRequest
from pinfold.core.fit.invariants import broken
from pinfold.core.fit.written import written
from pinfold.core.overhead import masks
from pinfold.drivers.libvirt import record_1, xmltext
from pinfold.drivers.libvirt.record_1 import RECORD
from pinfold.drivers.port import MAX_RECORD_NAME, NovaRecord, Record

NAMESPACE: Final = "urn:pinfold:guest:2"
PREFIX: Final = "pinfold"
TAG: Final = f"{{{NAMESPACE}}}guest"
NOVA_NAMESPACES: Final = ("http://openstack.org/xmlns/libvirt/nova/1.1", "http://openstack.org/xmlns/libvirt/nova/1.0")

_MAX_PAIRS: Final = 4096
_NOT_XML: Final = re.compile("[\ufffe\uffff]")
"""The characters that XML cannot hold, of those that `core.printable` allows."""

_read_record = decoder(Record)

ElementTree.register_namespace(PREFIX, NAMESPACE)


def element(record: Record) -> Element:
    """The `<pinfold:guest>` element of a record. Raises `InvalidRequest` for a record that could not be read again."""
    guest = Element(TAG)
    guest.text = _json(record)
    return guest


def text(record: Record) -> str:
    """The element of a record as text. Raises `InvalidRequest` like `element`."""
    return ElementTree.tostring(element(record), encoding="unicode")


def text_without_prefix(record: Record) -> str:
    """The same as libvirt's `setMetadata` takes it: libvirt itself puts the outermost element into the namespace, and fails if the element
    declares our prefix already. Raises `InvalidRequest` like `element`.
    """
    guest = element(record)
    guest.tag = "guest"
    return ElementTree.tostring(guest, encoding="unicode")


def record_of_text(xml: str) -> Record:
    """The record of an element as text. Raises `InvalidRequest` for anything else."""
    earlier = record_1.NAMESPACE in xml
    return record_of(xmltext.parsed(xml, RECORD, root=record_1.TAG if earlier else TAG, limit=MAX_RECORD))


def find(metadata: Element) -> Element | None:
    """Our element in a domain's `<metadata>`, or that of an earlier pinfold; None without one."""
    found = metadata.find(TAG)
    return metadata.find(record_1.TAG) if found is None else found


def record_of(guest: Element) -> Record:
    """The record of an element that `find` found.

    Raises `InvalidRequest` when a value is missing, out of bounds or contradicts another, or when a later version wrote it.
    """
    return _checked(record_1.read(guest) if guest.tag == record_1.TAG else _read_json(guest.text or ""))


def outdates_earlier(record: Record, domain: str) -> bool:
    """Whether the domain XML also has the record of an earlier pinfold, which names another place than `record` or cannot be read."""
    earlier = xmltext.parsed(domain, "domain XML", root="domain").find(f"metadata/{record_1.TAG}")
    if earlier is None:
        return False
    try:
        return masks(record_of(earlier).fit) != masks(record.fit)
    except InvalidRequest:
        return True


def nova_record(metadata: Element) -> NovaRecord | None:
    """What Nova wrote into a domain's `<metadata>`; None if it wrote nothing.

    Every release writes the server's name, the flavor's name, vCPUs and memory. Releases since 2025.1 also write extra specs and image
    properties, ordered by key here.
    Raises `InvalidRequest` when they cannot be read.
    """
    what = "Nova's metadata"
    for namespace in NOVA_NAMESPACES:
        flavor = metadata.find(f"{{{namespace}}}instance/{{{namespace}}}flavor")
        if flavor is None:
            continue
        vcpus, memory = flavor.find(f"{{{namespace}}}vcpus"), flavor.find(f"{{{namespace}}}memory")
        if vcpus is None or memory is None:
            raise InvalidRequest(f"{what} has a <flavor> without vcpus or memory", key=what)
        image = metadata.find(f"{{{namespace}}}instance/{{{namespace}}}image/{{{namespace}}}properties")
        return NovaRecord(
            flavor=flavor.get("name", ""),
            vcpus=xmltext.text_integer(vcpus, what, most=MAX_CPU + 1),
            memory_mib=xmltext.text_integer(memory, what, most=MAX_AMOUNT),
            extra_specs=_pairs(flavor.find(f"{{{namespace}}}extraSpecs"), f"{{{namespace}}}extraSpec"),
            image_properties=_pairs(image, f"{{{namespace}}}property"),
            name=metadata.findtext(f"{{{namespace}}}instance/{{{namespace}}}name", default="").strip(),
        )
    return None


def _json(record: Record) -> str:
    """The record as JSON that XML can hold. The server's name, which is for people, is cut so that it keeps no guest from starting."""
    whole = replace(record, fit=written(record.fit), server=record.server[:MAX_RECORD_NAME])
    made = _NOT_XML.sub(lambda found: f"\\u{ord(found[0]):04x}", encode(whole))
    _read_json(made)
    return made


def _read_json(made: str) -> Record:
    if len(made) > MAX_RECORD:
        raise InvalidRequest(f"{RECORD} has {len(made)} characters, at most {MAX_RECORD} are allowed", key=RECORD)
    return _read_record(made, RECORD)


def _checked(record: Record) -> Record:
    """Check that the record is possible, because one that was edited by hand may contain anything."""
    if wrong := broken(record.fit):
        raise InvalidRequest(f"{RECORD} {wrong}", key=RECORD)
    request = record.request
    if request is not None and (request.vcpus, request.emulator_policy) != (record.fit.vcpus, record.policy):
        raise InvalidRequest(f"{RECORD} was asked for another number of vCPUs, or another policy, than it places", key=RECORD)
    return record


def _pairs(parent: Element | None, tag: str) -> tuple[tuple[str, str], ...] | None:
    """The named texts below `parent`, ordered by name; None without it."""
    if parent is None:
        return None
    return tuple(
        sorted(
            {
                item.get("name", ""): (item.text or "")
                for item in xmltext.children(parent, tag, _MAX_PAIRS, "Nova's metadata")
                if item.get("name")
            }.items()
        )
    )

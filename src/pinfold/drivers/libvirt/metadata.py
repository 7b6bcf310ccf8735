"""Write and read a `Record` as the metadata element of a domain, and read Nova's metadata as a `NovaRecord`.

The element is `<pinfold:guest>` in the namespace `urn:pinfold:guest:1`. A reader of version 1 refuses what a later version wrote.
"""

from __future__ import annotations

import re
from typing import Final, TypeVar
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from msgspec.structs import replace

from pinfold.core.bounds import MAX_AMOUNT, MAX_CPU, MAX_GUEST_CELLS, MAX_RECORD
from pinfold.core.cpuset import CpuSet
from pinfold.core.encoding import decoder, encode
from pinfold.core.errors import InvalidRequest
from pinfold.core.fit.invariants import broken
from pinfold.core.fit.model import EmulatorPlacement, Fit, FitCell
from pinfold.core.identity import ClaimId
from pinfold.core.reasons import Kind, Reason, ReasonCode
from pinfold.core.request.model import EmulatorPolicy, GuestRequest
from pinfold.drivers.libvirt import xmltext
from pinfold.drivers.port import NovaRecord, Record

NAMESPACE: Final = "urn:pinfold:guest:1"
PREFIX: Final = "pinfold"
TAG: Final = f"{{{NAMESPACE}}}guest"
NOVA_NAMESPACES: Final = ("http://openstack.org/xmlns/libvirt/nova/1.1", "http://openstack.org/xmlns/libvirt/nova/1.0")

_VERSION: Final = 1
_WHAT: Final = "pinfold's record in the domain's metadata"
_MAX_NAME: Final = 1024
_MAX_REQUEST: Final = 256 * 1024
_MAX_WARNINGS: Final = 64
_MAX_PAIRS: Final = 4096
_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_UNWRITABLE: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

_read_request = decoder(GuestRequest)

Choice = TypeVar("Choice", EmulatorPolicy, EmulatorPlacement, Kind, ReasonCode)

ElementTree.register_namespace(PREFIX, NAMESPACE)


def element(record: Record) -> Element:
    """The `<pinfold:guest>` element of a record. Raises `InvalidRequest` for a name that XML cannot hold."""
    guest = Element(TAG, {"version": str(_VERSION), "id": _name("id", record.guest), "policy": record.policy.value})
    if record.claim is not None:
        guest.set("claim", _name("claim", record.claim))
    guest.set("revision", str(record.revision))
    guest.set("owner", _name("owner", record.owner))
    if record.flavor:
        guest.set("flavor", _name("flavor", record.flavor))
    if record.server:  # a name for people, which must not keep a guest from starting
        guest.set("server", _UNWRITABLE.sub("\N{REPLACEMENT CHARACTER}", record.server)[:_MAX_NAME])
    guest.append(_fit_element(record.fit))
    if record.request is not None:
        asked = Element(_tag("request"))
        asked.text = _name("request", encode(replace(record.request, not_acted_upon=())), most=_MAX_REQUEST)
        guest.append(asked)
    return guest


def text(record: Record) -> str:
    """The element of a record as text. Raises `InvalidRequest` like `element`."""
    return ElementTree.tostring(element(record), encoding="unicode")


def text_without_prefix(record: Record) -> str:
    """The same as libvirt's `setMetadata` takes it: libvirt itself puts the outermost element into the namespace, and fails if the element
    declares our prefix already. Raises `InvalidRequest` like `element`.
    """
    guest = element(record)
    empty = ElementTree.tostring(Element("guest", guest.attrib), encoding="unicode", short_empty_elements=False)
    inner = "".join(ElementTree.tostring(child, encoding="unicode") for child in guest)
    return f"{empty.removesuffix('</guest>')}{inner}</guest>"


def record_of_text(xml: str) -> Record:
    """The record that `text` wrote. Raises `InvalidRequest` for anything else."""
    return record_of(xmltext.parsed(xml, _WHAT, root=TAG, limit=MAX_RECORD))


def record_of(guest: Element) -> Record:
    """The record of a `<pinfold:guest>` element.

    Raises `InvalidRequest` when a value is missing, out of bounds or contradicts another, or when a later version wrote it.
    """
    version = xmltext.integer(guest, "version", _WHAT)
    if version != _VERSION:
        raise InvalidRequest(f"{_WHAT} is of version {version}, this pinfold reads version {_VERSION}", key=_WHAT)
    inner = guest.find(_tag("fit"))
    if inner is None:
        raise InvalidRequest(f"{_WHAT} has no <fit>", key=_WHAT)
    policy, fit = _choice(EmulatorPolicy, guest, "policy"), _checked(_fit(inner))
    return Record(
        guest=_named(guest, "id"),
        policy=policy,
        fit=fit,
        claim=_claim(guest),
        revision=xmltext.integer(guest, "revision", _WHAT),
        flavor=_named(guest, "flavor", default=""),
        owner=_named(guest, "owner"),
        request=_request(guest.find(_tag("request")), policy, fit),
        server=_named(guest, "server", default=""),
    )


def _claim(guest: Element) -> ClaimId | None:
    """The claim's id; None in a record of an older pinfold."""
    value = guest.get("claim")
    if value is not None and not _UUID.fullmatch(value):
        raise InvalidRequest(f"{_WHAT} has claim={value[:_MAX_NAME]!r}, a UUID is expected", key=_WHAT)
    return None if value is None else ClaimId(value)


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


def _request(asked: Element | None, policy: EmulatorPolicy, fit: Fit) -> GuestRequest | None:
    """The recorded request; None in a record of an older pinfold. It must match the recorded fit."""
    if asked is None:
        return None
    request = _read_request(asked.text or "", f"{_WHAT}, <request>")
    if (request.vcpus, request.emulator_policy) != (fit.vcpus, policy):
        raise InvalidRequest(f"{_WHAT} was asked for another number of vCPUs, or another policy, than it places", key=_WHAT)
    return request


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
        child.set("detail", _name("warning", reason.detail))
    return child


def _fit(inner: Element) -> Fit:
    return Fit(
        vcpus=xmltext.integer(inner, "vcpus", _WHAT),
        memory_mib=xmltext.integer(inner, "memory_mib", _WHAT),
        disk_gib=xmltext.integer(inner, "disk_gib", _WHAT),
        cells=tuple(_fit_cell(child) for child in xmltext.children(inner, _tag("cell"), MAX_GUEST_CELLS, _WHAT)),
        float_vcpus=xmltext.cpus(inner, "float_vcpus", _WHAT),
        float_set=xmltext.cpus(inner, "float_set", _WHAT),
        realtime=xmltext.cpus(inner, "realtime", _WHAT),
        emulator_placement=_choice(EmulatorPlacement, inner, "emulator_placement"),
        emulator=xmltext.cpus(inner, "emulator", _WHAT),
        emulator_pcpu=_optional(inner, "emulator_pcpu"),
        idle_siblings=xmltext.cpus(inner, "idle_siblings", _WHAT),
        overhead_millicpu=xmltext.integer(inner, "overhead_millicpu", _WHAT),
        overhead_cells=_pairs_of(inner, "overhead_cells"),
        warnings=tuple(_warning(child) for child in xmltext.children(inner, _tag("warning"), _MAX_WARNINGS, _WHAT)),
    )


def _fit_cell(child: Element) -> FitCell:
    return FitCell(
        guest_cell=xmltext.integer(child, "guest_cell", _WHAT),
        host_cell=xmltext.integer(child, "host_cell", _WHAT),
        pins=_pairs_of(child, "pins"),
        float_vcpus=xmltext.cpus(child, "float_vcpus", _WHAT),
        float_set=xmltext.cpus(child, "float_set", _WHAT),
        memory_mib=xmltext.integer(child, "memory_mib", _WHAT),
        page_kib=xmltext.integer(child, "page_kib", _WHAT),
    )


def _warning(child: Element) -> Reason:
    return Reason(
        code=_choice(ReasonCode, child, "code"),
        kind=_choice(Kind, child, "kind"),
        cell=_optional(child, "cell"),
        needed=xmltext.integer(child, "needed", _WHAT),
        available=_signed(child, "available"),
        detail=_named(child, "detail", default=""),
    )


def _signed(element: Element, attribute: str) -> int:
    """A number that may be negative: an overbooked pool has less than no room."""
    text = element.get(attribute, "")
    if not text.startswith("-"):
        return xmltext.integer(element, attribute, _WHAT)
    return -xmltext.integer(Element(element.tag, {attribute: text[1:]}), attribute, _WHAT)


def _checked(fit: Fit) -> Fit:
    """Check that `fit` is possible, because a record edited by hand may contain anything."""
    wrong = broken(fit)
    if wrong:
        raise InvalidRequest(f"{_WHAT} {wrong}", key=_WHAT)
    return fit


def _pairs_text(pairs: tuple[tuple[int, int], ...]) -> str:
    return " ".join(f"{one}:{other}" for one, other in pairs)


def _pairs_of(element: Element, attribute: str) -> tuple[tuple[int, int], ...]:
    pairs = []
    for word in element.get(attribute, "").split():
        match = re.fullmatch(r"([0-9]{1,5}):([0-9]{1,10})", word)
        if match is None:
            what = "pin" if attribute == "pins" else f"{attribute} entry"
            raise InvalidRequest(f"{_WHAT} has the {what} {word!r}, a pair such as 0:4 is expected", key=_WHAT)
        pairs.append((int(match[1]), int(match[2])))
    return tuple(pairs)


def _choice(kind: type[Choice], element: Element, attribute: str) -> Choice:
    value = element.get(attribute)
    for member in kind:
        if member.value == value:
            return member
    allowed = ", ".join(str(member.value) for member in kind)
    raise InvalidRequest(f"{_WHAT} has {attribute}={value!r}, one of {allowed} is expected", key=_WHAT)


def _optional(element: Element, attribute: str) -> int | None:
    return None if element.get(attribute) is None else xmltext.integer(element, attribute, _WHAT)


def _named(element: Element, attribute: str, *, default: str | None = None) -> str:
    value = element.get(attribute, default)
    if value is None or len(value) > _MAX_NAME:
        raise InvalidRequest(f"{_WHAT} has {attribute} {'missing' if value is None else 'too long'}", key=_WHAT)
    return value


def _name(attribute: str, value: str, *, most: int = _MAX_NAME) -> str:
    if len(value) > most:
        raise InvalidRequest(f"{attribute} has {len(value)} characters, at most {most} are allowed", key=attribute)
    match = _UNWRITABLE.search(value)
    if match is not None:
        raise InvalidRequest(f"{attribute} {value!r} has the character {match[0]!r}, which a domain's metadata cannot hold", key=attribute)
    return value


def _set_cpus(element: Element, **sets: CpuSet) -> None:
    for attribute, cpus in sets.items():
        if cpus:
            element.set(attribute, str(cpus))


def _tag(local: str) -> str:
    return f"{{{NAMESPACE}}}{local}"

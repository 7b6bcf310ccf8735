"""Put our elements into the user's own domain XML. `pins`, `guest_memory`, `hardware` and `metadata` make them.

Ours are name, uuid, memory, our metadata, vcpu, iothreads, numatune, the pins and vCPU schedulers in cputune, huge pages, locking and
sharing (where it is asked for) in memoryBacking, numa and topology in cpu. Every other byte survives: comments, unknown namespaces and
their prefixes, order, white space. A realtime guest loses its PIT, unless the template speaks of it.
"""

from __future__ import annotations

from typing import Final
from xml.etree.ElementTree import Element

from pinfold.core.bounds import MAX_IOTHREADS, MAX_TEMPLATE
from pinfold.core.cpuset import CpuSet
from pinfold.core.drift import ExpectedMasks, iothread_place
from pinfold.core.errors import InvalidRequest
from pinfold.core.overhead import masks
from pinfold.drivers.libvirt import guest_memory, hardware, metadata, outline, pins, record_1, xmltext
from pinfold.drivers.libvirt.capabilities import BuildContext
from pinfold.drivers.libvirt.outline import Edit, Node
from pinfold.drivers.port import GuestSpec

_WHAT: Final = "template"
_PINS: Final = ("vcpupin", "emulatorpin", "iothreadpin")
_CPUTUNE: Final = (*_PINS, "vcpusched")
_CPU: Final = ("topology", "numa")
_ONCE: Final = ("metadata", "memoryBacking", "cputune", "cpu", "clock", "features", "iothreadids", "os")
"""The elements that ours go into or before. libvirt reads the pins of every `<cputune>` in a domain."""


def merged(spec: GuestSpec, make: BuildContext) -> str:
    """The template of `spec` with our elements. `spec.boot` may add iothreads and nothing else.

    Raises `InvalidRequest` for a template that is too long, broken or no domain, and for a boot source in `spec.boot`.
    """
    _refuse_boot(spec)
    text = spec.template
    xmltext.parsed(text, _WHAT, root="domain", limit=MAX_TEMPLATE)
    return _Merge(text.encode("utf-8")).merged(spec, make)


def repinned(text: str, wanted: ExpectedMasks, *, ours: bool = True) -> str:
    """A domain XML with the pins in its cputune replaced, and its `<vcpu>` if it is one of `ours`. Schedulers stay, and so do the pins of
    vCPUs with an empty set. Raises `InvalidRequest` for a broken text.
    """
    kept = dict(pins.asked_pins(xmltext.parsed(text, "domain XML", root="domain")).vcpus)
    vcpus = ((index, cpus or kept.get(index)) for index, cpus in enumerate(wanted.vcpus))
    pinned = [(index, cpus) for index, cpus in vcpus if cpus is not None]
    return _Merge(text.encode("utf-8")).repinned(wanted, pinned, ours=ours)


def with_pins_of(text: str, other: str) -> str:
    """A domain XML with the pins and the `<vcpu>` of another one, and no other change; `text` itself if they are the same. Raises
    `InvalidRequest` for a broken text.
    """
    wanted, own = _placing(other), _placing(text)
    if [(one.tag, one.attrib, one.text) for one in wanted] == [(one.tag, one.attrib, one.text) for one in own]:
        return text
    vcpu = next((one for one in wanted if one.tag == "vcpu"), None)
    return _Merge(text.encode("utf-8")).with_pins(vcpu, [one for one in wanted if one.tag != "vcpu"])


def _placing(text: str) -> list[Element]:
    """Copies of `<vcpu>` and of the pins in a domain XML, without the white space around them."""
    domain = xmltext.parsed(text, "domain XML", root="domain")
    found = [*domain.findall("vcpu"), *(one for one in domain.iterfind("cputune/*") if one.tag in _PINS)]
    copies = [Element(one.tag, one.attrib) for one in found]
    for copy, one in zip(copies, found, strict=True):
        copy.text = (one.text or "").strip() or None
    return copies


def with_emulator_on(text: str, cpus: CpuSet) -> str:
    """A domain XML with another emulator pin and no other change. Raises `InvalidRequest` for a broken text."""
    xmltext.parsed(text, "domain XML", root="domain")
    return _Merge(text.encode("utf-8")).with_emulator_on(cpus)


def iothread_ids(count: int, listed: list[int]) -> tuple[int, ...]:
    """The ids that libvirt gives to `count` iothreads, ascending. Listed ones keep their ids; the others get the lowest free ids.

    >>> iothread_ids(3, [2])
    (1, 2, 3)
    """
    ids, candidate = set(listed), 1
    while len(ids) < count:
        ids.add(candidate)
        candidate += 1
    return tuple(sorted(ids))


def _refuse_boot(spec: GuestSpec) -> None:
    for name in ("rom", "kernel", "initrd", "cmdline", "disk", "config_drive"):
        if getattr(spec.boot, name):
            raise InvalidRequest(f"a template brings what it boots; {name} {getattr(spec.boot, name)!r} cannot stand beside it", key=name)
    for interface in spec.interfaces:
        raise InvalidRequest(f"a template brings its interfaces; network {interface.network.name} cannot stand beside it", key="network")


class _Merge:
    """One text, its outline, and the edits gathered so far."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.domain = outline.outline(data)
        for name in _ONCE:
            if len(self.domain.all(name)) > 1:
                raise InvalidRequest(f"{_WHAT} has {len(self.domain.all(name))} <{name}>, at most one is allowed", key=_WHAT)
        self.edits: list[Edit] = []
        self.indent = self._indent()

    def merged(self, spec: GuestSpec, make: BuildContext) -> str:
        if self.domain.inner_start < 0:
            raise InvalidRequest(f"{_WHAT} is an empty <domain/>", key=_WHAT)
        self._domain_type(spec.virt_type)
        for element in hardware.identity(spec):
            self._whole(element.tag, element)
        self._record(spec)
        self._memory(spec)
        self._inside("memoryBacking", guest_memory.backing_names(spec), guest_memory.memory_backing(spec, make))
        self._whole("vcpu", pins.vcpu(masks(spec.record.fit)))
        self._whole("vcpus", None)
        ids = self._iothreads(spec)
        self._inside("cputune", _CPUTUNE, pins.cputune(spec, ids, make))
        self._whole("numatune", guest_memory.numatune(spec))
        self._inside("cpu", _CPU, guest_memory.cpu(spec))
        virt_type = spec.virt_type or self.domain.attributes.get("type", "")
        self._without_pit(hardware.without_pit(spec, make), hardware.without_kernel_pit(spec, make, virt_type))
        return outline.applied(self.data, self.edits)

    def repinned(self, wanted: ExpectedMasks, vcpus: list[tuple[int, CpuSet]], *, ours: bool) -> str:
        ids = iothread_ids(self._own_iothreads(), self._listed_iothreads())
        if ours:
            self._whole("vcpu", pins.vcpu(wanted))
        iothreads = [(index, iothread_place(wanted, index)) for index in ids]
        self._inside("cputune", _PINS, pins.pins(vcpus, wanted.overhead, iothreads))
        return outline.applied(self.data, self.edits)

    def with_pins(self, vcpu: Element | None, found: list[Element]) -> str:
        self._whole("vcpu", vcpu)
        self._inside("cputune", _PINS, found)
        return outline.applied(self.data, self.edits)

    def with_emulator_on(self, cpus: CpuSet) -> str:
        self._inside("cputune", ("emulatorpin",), [pins.emulator_pin(cpus)])
        return outline.applied(self.data, self.edits)

    def _indent(self) -> str:
        for child in self.domain.children:
            line = outline.line_start(self.data, child.start)
            if line != child.start:
                return self.data[line : child.start].lstrip(b"\r\n").decode("utf-8")
        return "  "

    def _domain_type(self, virt_type: str) -> None:
        if not virt_type or self.domain.attributes.get("type") == virt_type:
            return
        start = self.domain.start
        tag = self.data[start : self.domain.inner_start]
        for quote in (b"'", b'"'):
            old = b"type=" + quote + self.domain.attributes.get("type", "").encode("utf-8") + quote
            at = tag.find(old)
            if at > 0:
                self.edits.append(Edit(start=start + at, end=start + at + len(old), text=f"type='{virt_type}'"))
                return
        raise InvalidRequest(f"{_WHAT} has no type in its <domain>, and virt_type is {virt_type!r}", key=_WHAT)

    def _memory(self, spec: GuestSpec) -> None:
        whole, current = guest_memory.amounts(spec)
        old = self.domain.find("memory")
        if old is not None and "dumpCore" in old.attributes:
            whole.set("dumpCore", old.attributes["dumpCore"])
        self._whole("memory", whole)
        self._whole("currentMemory", current)

    def _iothreads(self, spec: GuestSpec) -> tuple[int, ...]:
        """The ids of the guest's iothreads: the template's own, and more if the boot asks for more."""
        listed, own = self._listed_iothreads(), self._own_iothreads()
        if spec.boot.iothreads > own:
            self._whole("iothreads", pins.iothreads(spec.boot.iothreads))
        return iothread_ids(max(own, spec.boot.iothreads), listed)

    def _listed_iothreads(self) -> list[int]:
        listed = [item.attributes.get("id", "") for ids in self.domain.all("iothreadids") for item in ids.all("iothread")]
        return [_iothread_number("<iothread> with the id", text) for text in listed]

    def _own_iothreads(self) -> int:
        old = self.domain.find("iothreads")
        return len(self._listed_iothreads()) if old is None else _iothread_number("<iothreads> with", old.text.strip())

    def _record(self, spec: GuestSpec) -> None:
        node, record = self.domain.find("metadata"), metadata.element(spec.record)
        ours = [] if node is None else [child for child in node.children if child.namespace in (metadata.NAMESPACE, record_1.NAMESPACE)]
        self._children("metadata", node, ours, [record])

    def _without_pit(self, timer: Element | None, ioapic: Element | None) -> None:
        clock, features = self.domain.find("clock"), self.domain.find("features")
        if clock is not None and any(child.attributes.get("name") == "pit" for child in clock.all("timer")):
            return
        if timer is not None and clock is None:
            clock_of_ours = Element("clock", {"offset": "utc"})
            clock_of_ours.append(timer)
            self._put_in(clock_of_ours)
        elif timer is not None:
            self._children("clock", clock, [], [timer])
        if ioapic is not None and (features is None or features.find("ioapic") is None):
            self._children("features", features, [], [ioapic])

    def _whole(self, name: str, element: Element | None) -> None:
        """Replace the first child of that name and remove others; insert the element if there is none."""
        nodes = self.domain.all(name)
        if element is not None and nodes:
            self.edits.append(Edit(start=nodes[0].start, end=nodes[0].end, text=outline.rendered(element, self.indent, 1)))
            nodes = nodes[1:]
        elif element is not None:
            self._put_in(element)
        for node in nodes:
            self._drop(node)

    def _inside(self, name: str, owned: tuple[str, ...], children: list[Element]) -> None:
        """Replace the owned children within the child of that name."""
        node = self.domain.find(name)
        self._children(name, node, [] if node is None else node.all(*owned), children)

    def _children(self, name: str, node: Node | None, owned: list[Node], children: list[Element]) -> None:
        if node is None:
            if children:
                parent = Element(name)
                parent.extend(children)
                self._put_in(parent)
            return
        for child in owned:
            self._drop(child)
        text = "".join(f"\n{self.indent * 2}{outline.rendered(child, self.indent, 2)}" for child in children)
        if not text:
            return
        if node.inner_start < 0:
            slash = self.data.rindex(b"/", node.start, node.end)
            self.edits.append(Edit(start=slash, end=node.end, text=f">{text}\n{self.indent}</{name}>"))
            return
        at = outline.line_start(self.data, owned[0].start) if owned else outline.line_start(self.data, node.inner_end)
        ending = f"\n{self.indent}" if not owned and at == node.inner_end else ""
        self.edits.append(Edit(start=at, end=at, text=text + ending))

    def _put_in(self, element: Element) -> None:
        """Insert a new child before `<os>`, or at the end if there is no `<os>`. libvirt accepts any order."""
        node = self.domain.find("os")
        at = outline.line_start(self.data, node.start if node is not None else self.domain.inner_end)
        self.edits.append(Edit(start=at, end=at, text=f"\n{self.indent}{outline.rendered(element, self.indent, 1)}"))

    def _drop(self, node: Node) -> None:
        self.edits.append(Edit(start=outline.line_start(self.data, node.start), end=node.end, text=""))


def _iothread_number(what: str, text: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 9 or int(text) > MAX_IOTHREADS:
        raise InvalidRequest(f"{_WHAT} has {what} {text[:60]!r}; a number from 0 to {MAX_IOTHREADS} is allowed", key=_WHAT)
    return int(text)

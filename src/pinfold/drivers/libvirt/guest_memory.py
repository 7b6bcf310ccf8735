"""`<memory>`, `<memoryBacking>`, `<numatune>` and `<cpu>` of domain XML: a guest's memory and cells. Write them and read them. Pure."""

from __future__ import annotations

from typing import Final
from xml.etree.ElementTree import Element, SubElement

from msgspec import Struct

from pinfold.core.bounds import MAX_AMOUNT, MAX_CELL, MAX_CPU, MAX_GUEST_CELLS, MAX_PAGE_KIB
from pinfold.core.cpuset import CpuSet
from pinfold.core.errors import InvalidRequest
from pinfold.core.fit.answer import Fit
from pinfold.core.host import ForeignMemory
from pinfold.core.request.model import GuestCpuTopology
from pinfold.drivers.libvirt import pins, xmltext
from pinfold.drivers.libvirt.capabilities import BuildContext
from pinfold.drivers.port import GuestShape, GuestSpec, ShapeCell

_WHAT: Final = "domain XML"


class HostPages(Struct, frozen=True, kw_only=True):
    """What a definition takes from the host: its cells, and the huge page size that `<hugepages/>` without a size means."""

    cells: tuple[int, ...] = (0,)
    default_huge_kib: int = 2048


def amounts(spec: GuestSpec) -> tuple[Element, Element]:
    """`<memory>` and `<currentMemory>`: the amount that the fit charged."""
    whole, current = Element("memory", {"unit": "KiB"}), Element("currentMemory", {"unit": "KiB"})
    whole.text = current.text = str(spec.record.fit.memory_mib * 1024)
    return whole, current


def memory_backing(spec: GuestSpec, make: BuildContext) -> list[Element]:
    """The children of `<memoryBacking>`: huge pages of each guest cell, locked and unmerged memory for realtime guests, and memory that
    other processes can map, which is a file: in memory (memfd), or of huge pages.
    """
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
    if spec.request.wants.shared_memory:
        if not sizes or any(cell.page_kib <= make.platform.small_page_kib for cell in spec.record.fit.cells):
            children.append(Element("source", {"type": "memfd"}))
        children.append(Element("access", {"mode": "shared"}))
    return children


def backing_names(spec: GuestSpec) -> tuple[str, ...]:
    """The children of `<memoryBacking>` that are ours beside a template. Where nothing shares the memory, its source and access are not."""
    return ("hugepages", "nosharepages", "locked", *(("source", "access") if spec.request.wants.shared_memory else ()))


def can_be_shared(text: str) -> bool:
    """Whether guests can have memory in a file in memory (memfd), by domain capabilities XML. Raises `InvalidRequest`.

    A libvirt that does not say is taken to have it.
    """
    domain = xmltext.parsed(text, "domain capabilities XML", root="domainCapabilities")
    sources = domain.find("memoryBacking/enum[@name='sourceType']")
    return sources is None or "memfd" in [value.text for value in sources.iterfind("value")]


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
            attributes = {"id": str(cell.guest_cell), "cpus": pins.cpulist(vcpus, f"guest cell {cell.guest_cell}")}
            SubElement(numa, "cell", attributes | {"memory": str(cell.memory_mib * 1024), "unit": "KiB"})
        children.append(numa)
    return children


def allocating(fit: Fit, small_page_kib: int, *, at_once: bool = False) -> CpuSet:
    """The guest's own pCPUs on host cells whose memory is allocated at the start: huge pages, and with `at_once` small pages too.

    Empty if no cell allocates memory at the start.
    """
    cells = [cell for cell in fit.cells if at_once or cell.page_kib > small_page_kib]
    return CpuSet(pcpu for cell in cells for pcpu in (*(pcpu for _, pcpu in cell.pins), *cell.float_set))


def is_made_at_once(text: str) -> bool:
    """Whether a definition allocates all memory at the start (`<allocation mode='immediate'/>`, from a template). Pure.

    >>> is_made_at_once("<domain><memoryBacking><allocation mode='immediate'/></memoryBacking></domain>")
    True
    """
    allocation = xmltext.parsed(text, "domain XML", root="domain").find("memoryBacking/allocation")
    return allocation is not None and allocation.get("mode") == "immediate"


def taken(domain: Element, pages: HostPages) -> tuple[tuple[ForeignMemory, ...], int]:
    """The huge pages that a domain takes in each host cell, ordered by cell and size, and its small-page memory in MiB.

    A guest cell without a fixed host cell is spread evenly over the cells that it may use, rounded up.
    """
    huge = _huge_sizes(domain, pages)
    counts: dict[tuple[int, int], int] = {}
    small_kib = 0
    for cell, amount_kib in guest_cells(domain):
        size = huge.get(cell, huge.get(None, 0))
        if not size:
            small_kib += amount_kib
            continue
        where = _host_cells(domain, cell, pages)
        needed = -(-amount_kib // size)
        for host_cell in where:
            counts[host_cell, size] = counts.get((host_cell, size), 0) + -(-needed // len(where))
    taken = tuple(ForeignMemory(cell=cell, size_kib=size, count=count) for (cell, size), count in sorted(counts.items()))
    return taken, -(-small_kib // 1024)


def shape(text: str, pages: HostPages) -> GuestShape:
    """The cells of a guest by its domain XML, ordered by id; without cells of its own, one cell with all vCPUs. Raises `InvalidRequest`."""
    domain = xmltext.parsed(text, _WHAT, root="domain")
    count = domain.find("vcpu")
    vcpus = CpuSet(range(1 if count is None else xmltext.text_integer(count, _WHAT, most=MAX_CPU + 1)))
    plugged = len(vcpus) if count is None else xmltext.integer(count, "current", _WHAT, default=len(vcpus), most=len(vcpus))
    numa = xmltext.children(domain, "cpu/numa/cell", MAX_GUEST_CELLS, _WHAT)
    huge, amounts = _huge_sizes(domain, pages), guest_cells(domain)
    sets = [xmltext.cpus(cell, "cpus", _WHAT) for cell in numa] or [vcpus]
    cells = [
        ShapeCell(
            id=cell,
            vcpus=cpus,
            memory_mib=-(-amount_kib // 1024),
            page_kib=huge.get(cell, huge.get(None, 0)),
            host_cells=_strictly_on(domain, cell),
        )
        for (cell, amount_kib), cpus in zip(amounts, sets, strict=True)
    ]
    topology, backing = domain.find("cpu/topology"), domain.find("memoryBacking")
    return GuestShape(
        cells=tuple(sorted(cells, key=lambda cell: cell.id)),
        unplugged=len(vcpus) - plugged,
        numa=bool(numa),
        cpu_topology=None if topology is None else _cpu_topology(topology),
        locked=backing is not None and backing.find("locked") is not None,
        shared=_is_shared(domain),
    )


def _is_shared(domain: Element) -> bool:
    """Whether other processes can map all memory of the guest: a cell of the guest may differ from the whole."""
    access = domain.find("memoryBacking/access")
    whole = "private" if access is None else access.get("mode", "private")
    cells = xmltext.children(domain, "cpu/numa/cell", MAX_GUEST_CELLS, _WHAT)
    return all(cell.get("memAccess", whole) == "shared" for cell in cells) if cells else whole == "shared"


def _cpu_topology(topology: Element) -> GuestCpuTopology:
    """Dies and clusters are counted as sockets."""
    sockets, cores, threads, dies, clusters = (
        xmltext.integer(topology, name, _WHAT, default=1, most=MAX_CPU + 1) for name in ("sockets", "cores", "threads", "dies", "clusters")
    )
    return GuestCpuTopology(sockets=sockets * dies * clusters, cores=cores, threads=threads)


def _strictly_on(domain: Element, cell: int) -> CpuSet:
    """The host cells that the memory of a guest cell is strictly bound to, empty if it is not bound."""
    nodes = [node for node in xmltext.children(domain, "numatune/memnode", MAX_GUEST_CELLS, _WHAT) if node.get("cellid") == str(cell)]
    whole = domain.find("numatune/memory")
    for node in (*nodes, *([] if whole is None else [whole])):
        if node.get("nodeset"):
            strict = node.get("mode", "strict") in ("strict", "restrictive")
            return xmltext.cells(node, "nodeset", MAX_CELL, _WHAT) if strict else CpuSet()
    return CpuSet()


def guest_cells(domain: Element) -> list[tuple[int, int]]:
    """`(guest cell, KiB)` for each cell. A guest without cells counts as one cell 0."""
    cells = xmltext.children(domain, "cpu/numa/cell", MAX_GUEST_CELLS, _WHAT)
    if cells:
        return [
            (
                xmltext.integer(cell, "id", _WHAT, default=place, most=MAX_GUEST_CELLS - 1),
                _amount_kib(xmltext.integer(cell, "memory", _WHAT), cell.get("unit")),
            )
            for place, cell in enumerate(cells)
        ]
    whole = domain.find("memory")
    return [(0, 0 if whole is None else _amount_kib(xmltext.text_integer(whole, _WHAT), whole.get("unit")))]


def _huge_sizes(domain: Element, pages: HostPages) -> dict[int | None, int]:
    """Guest cell -> huge page in KiB. The key None stands for all cells not named. Empty without huge pages."""
    element = domain.find("memoryBacking/hugepages")
    if element is None:
        return {}
    sizes: dict[int | None, int] = {}
    for page in xmltext.children(element, "page", MAX_GUEST_CELLS, _WHAT):
        size = xmltext.kib(xmltext.integer(page, "size", _WHAT), page.get("unit"), _WHAT)
        if not 1 <= size <= MAX_PAGE_KIB:
            raise InvalidRequest(f"{_WHAT} has huge pages of {size} KiB, 1 to {MAX_PAGE_KIB} are allowed", key=_WHAT)
        for cell in xmltext.cells(page, "nodeset", MAX_GUEST_CELLS - 1, _WHAT) if page.get("nodeset") else (None,):
            sizes[cell] = size
    return sizes or {None: pages.default_huge_kib}


def _amount_kib(amount: int, unit: str | None) -> int:
    kib = xmltext.kib(amount, unit, _WHAT)
    if kib > MAX_AMOUNT * 1024:
        raise InvalidRequest(f"{_WHAT} has {kib} KiB of memory, at most {MAX_AMOUNT} MiB are allowed", key=_WHAT)
    return kib


def _host_cells(domain: Element, cell: int, pages: HostPages) -> tuple[int, ...]:
    for node in xmltext.children(domain, "numatune/memnode", MAX_GUEST_CELLS, _WHAT):
        if xmltext.integer(node, "cellid", _WHAT) == cell and node.get("nodeset"):
            return tuple(xmltext.cells(node, "nodeset", MAX_CELL, _WHAT)) or pages.cells
    whole = domain.find("numatune/memory")
    if whole is not None and whole.get("nodeset"):
        return tuple(xmltext.cells(whole, "nodeset", MAX_CELL, _WHAT)) or pages.cells
    return pages.cells

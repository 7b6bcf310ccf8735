"""The guest's cells, and the sockets, cores and threads that it sees. `policies` has already decided which vCPUs are pinned."""

from __future__ import annotations

from pinfold.core.cpuset import CpuSet
from pinfold.core.errors import InvalidRequest
from pinfold.core.plural import count
from pinfold.core.request.merge import EffectiveSpecs
from pinfold.core.request.model import Flavor, GuestCell, GuestCpuTopology, PageKind, PageRequest
from pinfold.core.request.values import SpecValue, indexes


def build_cells(flavor: Flavor, asked: EffectiveSpecs, dedicated: CpuSet) -> tuple[GuestCell, ...]:
    """The guest cells, ordered by index, or none for a guest that floats.

    A guest has cells if it asks for nodes, for a page size or for pinned vCPUs. vCPUs and memory are divided evenly, or by the lists.
    Lists must partition the vCPUs and add up to the flavor's memory. Raises `InvalidRequest`.

    >>> [str(cell.vcpus) for cell in build_cells(Flavor(vcpus=4, memory_mib=512), EffectiveSpecs(), CpuSet.parse("0-3"))]
    ['0-3']
    """
    _check_lists_have_nodes(asked)
    if asked.numa_nodes is None and asked.page is None and not dedicated:
        return ()
    if asked.numa_nodes is None:
        return (_cell(0, _all(flavor), dedicated, flavor.memory_mib),)
    if asked.numa_cpus or asked.numa_mem_mib:
        cells = _listed(asked.numa_nodes, asked, dedicated)
        _check_partition(flavor, asked)
        return cells
    return _even(flavor, asked.numa_nodes, dedicated)


def _check_lists_have_nodes(asked: EffectiveSpecs) -> None:
    lists: tuple[tuple[int, SpecValue[object]], ...] = (*asked.numa_cpus, *asked.numa_mem_mib)
    if lists and asked.numa_nodes is None:
        given = lists[0][1]
        raise InvalidRequest(f"{given.said()}, but hw:numa_nodes is not set; it needs the number of guest cells", key=given.name)


def _all(flavor: Flavor) -> CpuSet:
    return CpuSet.from_mask((1 << flavor.vcpus) - 1)


def _cell(index: int, vcpus: CpuSet, dedicated: CpuSet, memory_mib: int) -> GuestCell:
    return GuestCell(id=index, vcpus=vcpus, dedicated=vcpus & dedicated, memory_mib=memory_mib)


def _even(flavor: Flavor, nodes: SpecValue[int], dedicated: CpuSet) -> tuple[GuestCell, ...]:
    for amount, said in ((flavor.vcpus, count(flavor.vcpus, "vCPU")), (flavor.memory_mib, f"{flavor.memory_mib} MiB of memory")):
        if amount % nodes.value:
            raise InvalidRequest(
                f"{nodes.said()}, which does not divide the flavor's {said} evenly; "
                "give each cell its part by hw:numa_cpus.N and hw:numa_mem.N",
                key=nodes.name,
            )
    share, memory_mib = flavor.vcpus // nodes.value, flavor.memory_mib // nodes.value
    part = (1 << share) - 1
    return tuple(_cell(index, CpuSet.from_mask(part << index * share), dedicated, memory_mib) for index in range(nodes.value))


def _listed(nodes: SpecValue[int], asked: EffectiveSpecs, dedicated: CpuSet) -> tuple[GuestCell, ...]:
    """The cells that the lists describe. Raises `InvalidRequest` if a cell lacks one of the two values, or a list names another cell."""
    cpus, memories = dict(asked.numa_cpus), dict(asked.numa_mem_mib)
    lists: tuple[tuple[int, SpecValue[object]], ...] = (*asked.numa_cpus, *asked.numa_mem_mib)
    for index, given in lists:
        if index >= nodes.value:
            raise InvalidRequest(
                f"{given.said()}, but there is no cell {index}; {nodes.name}={nodes.text} has only {indexes(nodes.value)}", key=given.name
            )
    cells = []
    for index in range(nodes.value):
        for missing, present in (("hw:numa_cpus", index in cpus), ("hw:numa_mem", index in memories)):
            if not present:
                raise InvalidRequest(
                    f"{missing}.{index} is not set; where one cell has hw:numa_cpus.N and hw:numa_mem.N, all {nodes.value} need both",
                    key=f"{missing}.{index}",
                )
        cells.append(_cell(index, cpus[index].value, dedicated, memories[index].value))
    return tuple(cells)


def _check_partition(flavor: Flavor, asked: EffectiveSpecs) -> None:
    """Check that each vCPU is in exactly one cell and that the cells' memories add up to the flavor's."""
    owners: dict[int, str] = {}
    for _, given in asked.numa_cpus:
        for vcpu in given.value:
            if vcpu in owners:
                raise InvalidRequest(
                    f"{given.said()}, but vCPU {vcpu} is in {owners[vcpu]} already; each vCPU is in one cell", key=given.name
                )
            owners[vcpu] = given.name
    left = _all(flavor) - CpuSet(owners)
    if left:
        first = asked.numa_cpus[0][1]
        lists = first.name.partition(".")[0]
        raise InvalidRequest(f"{lists}.N leave vCPUs {left} in no cell; each of {indexes(flavor.vcpus)} must be in one", key=first.name)
    total = sum(given.value for _, given in asked.numa_mem_mib)
    if total != flavor.memory_mib:
        first_memory = asked.numa_mem_mib[0][1]
        lists = first_memory.name.partition(".")[0]
        raise InvalidRequest(
            f"{lists}.N add up to {total} MiB; the sum must be the flavor's {flavor.memory_mib} MiB", key=first_memory.name
        )


def check_pages(page: SpecValue[PageRequest] | None, cells: tuple[GuestCell, ...]) -> None:
    """Raise `InvalidRequest` if the page size is explicit and some cell's memory is not a whole number of pages."""
    if page is None or page.value.kind is not PageKind.EXPLICIT:
        return
    for cell in cells:
        if cell.memory_mib * 1024 % page.value.size_kib:
            raise InvalidRequest(
                f"{page.said()}, but guest cell {cell.id} has {cell.memory_mib} MiB; "
                f"its memory must be a whole number of pages of {page.value.size_kib} KiB",
                key=page.name,
            )


def guest_cpu_topology(vcpus: int, asked: EffectiveSpecs) -> GuestCpuTopology | None:
    """The sockets, cores and threads that the guest sees; None if no key asks for any.

    Their product is the number of vCPUs. Missing values are filled in: threads are 1, and sockets take the rest. If sockets are given and
    cores are not, cores take the rest. Raises `InvalidRequest` if no whole number fits.

    >>> guest_cpu_topology(8, EffectiveSpecs(threads=SpecValue(name="hw:cpu_threads", text="2", value=2)))
    GuestCpuTopology(sockets=4, cores=1, threads=2)
    """
    if asked.max_sockets or asked.max_cores or asked.max_threads:
        return _within_limits(vcpus, asked)
    given = tuple(part for part in (asked.sockets, asked.cores, asked.threads) if part is not None)
    if not given:
        return None
    product = 1
    for part in given:
        product *= part.value
    if vcpus % product or (len(given) == 3 and product != vcpus):
        said = " and ".join(part.said() for part in given)
        must = "the product must be" if len(given) == 3 else "the product must divide"
        raise InvalidRequest(f"{said}, but the flavor has {count(vcpus, 'vCPU')}; {must} {vcpus}", key=given[0].name)
    rest = vcpus // product
    sockets, cores, threads = (None if part is None else part.value for part in (asked.sockets, asked.cores, asked.threads))
    if threads is None:
        # If sockets and cores are given, threads take the rest. Otherwise there is one thread per core, as in Nova.
        threads, rest = (rest, 1) if sockets is not None and cores is not None else (1, rest)
    if sockets is None:
        sockets, rest = rest, 1
    return GuestCpuTopology(sockets=sockets, cores=rest if cores is None else cores, threads=threads)


def _within_limits(vcpus: int, asked: EffectiveSpecs) -> GuestCpuTopology:
    """The topology within the limits that has the fewest threads, then the most sockets, as Nova chooses; the given parts hold.

    Raises `InvalidRequest` if there is none.
    """
    limits = [part for part in (asked.max_sockets, asked.max_cores, asked.max_threads) if part is not None]
    for part, limit in ((asked.sockets, asked.max_sockets), (asked.cores, asked.max_cores), (asked.threads, asked.max_threads)):
        if part is not None and limit is not None and part.value > limit.value:
            raise InvalidRequest(f"{part.said()}, but {limit.said()}; at most that many are allowed", key=part.name)
    found = [
        GuestCpuTopology(sockets=sockets, cores=cores, threads=vcpus // sockets // cores)
        for sockets in _parts(vcpus, asked.sockets, asked.max_sockets)
        for cores in _parts(vcpus // sockets, asked.cores, asked.max_cores)
        if vcpus // sockets // cores in _parts(vcpus // sockets // cores, asked.threads, asked.max_threads)
    ]
    if not found:
        said = " and ".join(part.said() for part in (*limits, asked.sockets, asked.cores, asked.threads) if part is not None)
        raise InvalidRequest(f"{said}, but no topology within that has {count(vcpus, 'vCPU')}", key=limits[0].name)
    return max(found, key=lambda one: (one.sockets * one.cores, one.sockets))


def _parts(number: int, given: SpecValue[int] | None, most: SpecValue[int] | None) -> list[int]:
    """The divisors of a number that a part of the topology may be."""
    top = number if most is None else min(number, most.value)
    return [part for part in range(1, top + 1) if number % part == 0 and (given is None or part == given.value)]

"""A flavor and an image into a request: the defaults, the cells, the masks, and every combination that is refused."""

from __future__ import annotations

import pytest
from tests.build.requests import flavor

from pinfold.core.cpuset import CpuSet
from pinfold.core.errors import InvalidRequest
from pinfold.core.request.compile import compile_request
from pinfold.core.request.model import (
    CpuPolicy,
    EmulatorPolicy,
    GuestCell,
    GuestCpuTopology,
    GuestRequest,
    PageKind,
    PageRequest,
    ThreadPolicy,
)

DEDICATED = "hw:cpu_policy=dedicated"
MIXED = "hw:cpu_policy=mixed"


def cells_text(request: GuestRequest) -> str:
    """The cells as `vcpus/dedicated/memory`, separated by blanks."""
    return " ".join(f"{cell.vcpus}/{cell.dedicated}/{cell.memory_mib}" for cell in request.cells)


def test_a_bare_flavor_floats() -> None:
    request = compile_request(flavor(disk_gib=20), disks=2, nics=1)
    assert request == GuestRequest(vcpus=4, memory_mib=2048, disk_gib=20, disks=2, nics=1)
    assert request.cells == ()
    assert request.floating == CpuSet.parse("0-3")


def test_a_dedicated_guest_has_one_cell_with_all_its_vcpus_pinned() -> None:
    request = compile_request(flavor(DEDICATED))
    assert request.cells == (GuestCell(id=0, vcpus=CpuSet.parse("0-3"), dedicated=CpuSet.parse("0-3"), memory_mib=2048),)
    assert (request.cpu_policy, request.thread_policy, request.emulator_policy) == (
        CpuPolicy.DEDICATED,
        ThreadPolicy.PREFER,
        EmulatorPolicy.UNSET,
    )
    assert (request.page, request.explicit_page, request.locked_memory) == (PageRequest(kind=PageKind.SMALL), False, False)


CELLS = [
    ("shared without nodes floats", "hw:cpu_policy=shared", ""),
    ("shared with nodes has cells and pins nothing", "hw:numa_nodes=2", "0-1//1024 2-3//1024"),
    ("a page size alone makes one cell", "hw:mem_page_size=small", "0-3//2048"),
    ("one node is one cell", "hw:numa_nodes=1", "0-3//2048"),
    ("dedicated over two nodes is divided evenly", f"{DEDICATED} hw:numa_nodes=2", "0-1/0-1/1024 2-3/2-3/1024"),
    ("mixed pins the mask", f"{MIXED} hw:cpu_dedicated_mask=1-2", "0-3/1-2/2048"),
    ("mixed pins all but an excluding mask", f"{MIXED} hw:cpu_dedicated_mask=^0-1", "0-3/2-3/2048"),
    (
        "mixed over two nodes may have a cell with nothing to pin",
        f"{MIXED} hw:cpu_dedicated_mask=2-3 hw:numa_nodes=2",
        "0-1//1024 2-3/2-3/1024",
    ),
    ("mixed with realtime pins the realtime vCPUs", f"{MIXED} hw:cpu_realtime=true hw:cpu_realtime_mask=^0", "0-3/1-3/2048"),
    (
        "lists may be uneven and out of order",
        f"{DEDICATED} hw:numa_nodes=2 hw:numa_cpus.0=0,2,3 hw:numa_cpus.1=1 hw:numa_mem.0=1536 hw:numa_mem.1=512",
        "0,2-3/0,2-3/1536 1/1/512",
    ),
    ("lists of one cell", "hw:numa_nodes=1 hw:numa_cpus.0=0-3 hw:numa_mem.0=2048", "0-3//2048"),
    ("resources:PCPU pins all", "resources:PCPU=4", "0-3/0-3/2048"),
    ("resources:VCPU floats", "resources:VCPU=4", ""),
]


@pytest.mark.parametrize(("specs", "expected"), [row[1:] for row in CELLS], ids=[row[0] for row in CELLS])
def test_cells(specs: str, expected: str) -> None:
    assert cells_text(compile_request(flavor(specs))) == expected


RESOURCES = [
    ("VCPU alone is shared", "resources:VCPU=4", CpuPolicy.SHARED),
    ("PCPU alone is dedicated", "resources:PCPU=4", CpuPolicy.DEDICATED),
    ("PCPU with a zero of VCPU is dedicated", "resources:PCPU=4 resources:VCPU=0", CpuPolicy.DEDICATED),
    ("VCPU with a zero of PCPU is shared", "resources:VCPU=4 resources:PCPU=0", CpuPolicy.SHARED),
    ("a zero of PCPU alone is shared", "resources:PCPU=0", CpuPolicy.SHARED),
    ("PCPU counts the isolated emulator", "resources:PCPU=5 hw:emulator_threads_policy=isolate", CpuPolicy.DEDICATED),
    ("PCPU does not count a shared emulator", "resources:PCPU=4 hw:emulator_threads_policy=share", CpuPolicy.DEDICATED),
    ("a zero that the policy implies is no news", f"{DEDICATED} resources:VCPU=0", CpuPolicy.DEDICATED),
    ("so is a zero of PCPU beside shared", "hw:cpu_policy=shared resources:PCPU=0", CpuPolicy.SHARED),
]


@pytest.mark.parametrize(("specs", "policy"), [row[1:] for row in RESOURCES], ids=[row[0] for row in RESOURCES])
def test_resources_say_the_cpu_policy(specs: str, policy: CpuPolicy) -> None:
    assert compile_request(flavor(specs)).cpu_policy is policy


@pytest.mark.parametrize("thread", list(ThreadPolicy))
@pytest.mark.parametrize("emulator", [EmulatorPolicy.SHARE, EmulatorPolicy.ISOLATE])
@pytest.mark.parametrize("cpu", [DEDICATED, f"{MIXED} hw:cpu_dedicated_mask=0"])
def test_pinned_guests_take_every_thread_and_emulator_policy(cpu: str, thread: ThreadPolicy, emulator: EmulatorPolicy) -> None:
    request = compile_request(flavor(f"{cpu} hw:cpu_thread_policy={thread.value} hw:emulator_threads_policy={emulator.value}"))
    assert (request.thread_policy, request.emulator_policy) == (thread, emulator)


@pytest.mark.parametrize(("text", "policy"), [("required", ThreadPolicy.REQUIRE), ("forbidden", ThreadPolicy.ISOLATE)])
def test_the_hyperthreading_trait_sets_the_thread_policy(text: str, policy: ThreadPolicy) -> None:
    request = compile_request(flavor(f"{DEDICATED} trait:HW_CPU_HYPERTHREADING={text}"))
    assert request.thread_policy is policy
    traits = request.traits_required if text == "required" else request.traits_forbidden
    assert traits == {"HW_CPU_HYPERTHREADING"}


REALTIME = [
    ("no realtime by default", DEDICATED, "", False),
    ("realtime switched off", f"{DEDICATED} hw:cpu_realtime=no", "", False),
    ("a mask leaves the others out", f"{DEDICATED} hw:cpu_realtime=true hw:cpu_realtime_mask=2-3", "2-3", True),
    ("an excluding mask leaves its own out", f"{DEDICATED} hw:cpu_realtime=yes hw:cpu_realtime_mask=^0", "1-3", True),
    ("all vCPUs with share", f"{DEDICATED} hw:cpu_realtime=true hw:emulator_threads_policy=share", "0-3", True),
    ("all vCPUs with isolate", f"{DEDICATED} hw:cpu_realtime=true hw:emulator_threads_policy=isolate", "0-3", True),
    ("resources:PCPU is pinned enough", "resources:PCPU=4 hw:cpu_realtime=true hw:cpu_realtime_mask=^0", "1-3", True),
]


@pytest.mark.parametrize(("specs", "realtime", "locked"), [row[1:] for row in REALTIME], ids=[row[0] for row in REALTIME])
def test_realtime_vcpus_and_the_locked_memory_they_imply(specs: str, realtime: str, locked: bool) -> None:
    request = compile_request(flavor(specs))
    assert (str(request.realtime), request.locked_memory) == (realtime, locked)


@pytest.mark.parametrize("beside", ["hw:mem_page_size=small", "hw:numa_nodes=1", DEDICATED])
def test_memory_may_be_locked_where_the_guest_has_cells(beside: str) -> None:
    assert compile_request(flavor(f"hw:locked_memory=true {beside}")).locked_memory is True


def test_memory_may_be_said_not_to_be_locked() -> None:
    assert compile_request(flavor("hw:locked_memory=false")).locked_memory is False


def test_realtime_and_locked_memory_agree() -> None:
    specs = f"{DEDICATED} hw:cpu_realtime=true hw:cpu_realtime_mask=^0 hw:locked_memory=true"
    assert compile_request(flavor(specs)).locked_memory is True


@pytest.mark.parametrize("text", ["small", "large", "any"])
def test_a_page_size_word_is_left_to_the_host(text: str) -> None:
    request = compile_request(flavor(f"hw:mem_page_size={text}", memory_mib=2047))
    assert (request.page, request.explicit_page) == (PageRequest(kind=PageKind(text)), True)


def test_an_explicit_page_size_divides_each_cell() -> None:
    request = compile_request(flavor("hw:mem_page_size=1GB hw:numa_nodes=2"))
    assert request.page == PageRequest(kind=PageKind.EXPLICIT, size_kib=1 << 20)


TOPOLOGIES = [
    ("nothing said", "", None),
    ("all three", "hw:cpu_sockets=1 hw:cpu_cores=4 hw:cpu_threads=2", (1, 4, 2)),
    ("sockets alone: cores take the rest", "hw:cpu_sockets=2", (2, 4, 1)),
    ("cores alone: sockets take the rest", "hw:cpu_cores=2", (4, 2, 1)),
    ("threads alone: sockets take the rest", "hw:cpu_threads=2", (4, 1, 2)),
    ("sockets and cores: threads take the rest", "hw:cpu_sockets=2 hw:cpu_cores=2", (2, 2, 2)),
    ("sockets and threads: cores take the rest", "hw:cpu_sockets=2 hw:cpu_threads=2", (2, 2, 2)),
    ("cores and threads: sockets take the rest", "hw:cpu_cores=2 hw:cpu_threads=2", (2, 2, 2)),
]


@pytest.mark.parametrize(("specs", "expected"), [row[1:] for row in TOPOLOGIES], ids=[row[0] for row in TOPOLOGIES])
def test_the_topology_that_the_guest_sees(specs: str, expected: tuple[int, int, int] | None) -> None:
    topology = compile_request(flavor(specs, vcpus=8)).cpu_topology
    if expected is None:
        assert topology is None
    else:
        assert topology == GuestCpuTopology(sockets=expected[0], cores=expected[1], threads=expected[2])


def test_memory_that_the_cells_do_not_divide_is_refused() -> None:
    with pytest.raises(InvalidRequest) as caught:
        compile_request(flavor("hw:numa_nodes=2", memory_mib=2047))
    assert str(caught.value) == (
        "hw:numa_nodes is '2', which does not divide the flavor's 2047 MiB of memory evenly; "
        "give each cell its part by hw:numa_cpus.N and hw:numa_mem.N"
    )


def test_the_sentences_count_one_vcpu_as_one() -> None:
    for specs, part in (
        ("hw:numa_nodes=2", "the flavor's 1 vCPU evenly"),
        (f"{MIXED} hw:cpu_dedicated_mask=0", "which pins all 1 vCPU;"),
        (f"{MIXED} hw:cpu_dedicated_mask=1", "has no vCPU 1; it has 0"),
    ):
        with pytest.raises(InvalidRequest, match=part):
            compile_request(flavor(specs, vcpus=1))


@pytest.mark.parametrize(
    ("sizes", "sentence"),
    [
        ({"vcpus": 0}, "vcpus is 0; it must be from 1 to 8192"),
        ({"vcpus": 8193}, "vcpus is 8193; it must be from 1 to 8192"),
        ({"memory_mib": 0}, "memory_mib is 0; it must be from 1 to 2147483647"),
        ({"memory_mib": 1 << 31}, "memory_mib is 2147483648; it must be from 1 to 2147483647"),
        ({"disk_gib": -1}, "disk_gib is -1; it must be from 0 to 2147483647"),
    ],
)
def test_sizes_are_bounded(sizes: dict[str, int], sentence: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        compile_request(flavor(**sizes))
    assert str(caught.value) == sentence


@pytest.mark.parametrize(("disks", "nics", "key"), [(-1, 0, "disks"), (1025, 0, "disks"), (0, 1025, "nics")])
def test_devices_are_bounded(disks: int, nics: int, key: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        compile_request(flavor(), disks=disks, nics=nics)
    assert caught.value.key == key


def test_the_largest_guest_compiles() -> None:
    request = compile_request(flavor(f"{DEDICATED} hw:numa_nodes=128", vcpus=8192, memory_mib=1 << 30))
    assert len(request.cells) == 128
    assert len(request.dedicated) == 8192

"""What holds for every request, whatever was asked."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pinfold.core.errors import InvalidRequest
from pinfold.core.request.compile import compile_request
from pinfold.core.request.key_table import REGISTRY
from pinfold.core.request.model import CpuPolicy, EmulatorPolicy, Flavor, GuestRequest, Image

WORDS = st.sampled_from(
    [
        "dedicated",
        "shared",
        "mixed",
        "prefer",
        "isolate",
        "require",
        "share",
        "true",
        "no",
        "1",
        "2",
        "4",
        "512",
        "1024",
        "0-1",
        "2-3",
        "^0",
        "^0-1",
        "small",
        "large",
        "any",
        "2MB",
        "2048",
        "1G",
        "required",
        "forbidden",
        "",
        "0",
    ]
)
NAMES = st.one_of(
    st.sampled_from([key.name.replace(".N", ".0") for key in REGISTRY]),
    st.sampled_from([key.name.replace(".N", ".1") for key in REGISTRY]),
    st.sampled_from([key.image.replace(".N", ".0") for key in REGISTRY if key.image]),
    st.sampled_from([key.name for key in REGISTRY]),
)
PLAUSIBLE = st.dictionaries(NAMES, WORDS, max_size=7)
ARBITRARY = st.dictionaries(
    st.one_of(NAMES, st.text(max_size=20), st.text(max_size=10).map("hw:".__add__)), st.one_of(WORDS, st.text(max_size=20))
)
SPECS = st.one_of(PLAUSIBLE, ARBITRARY)

GOOD = {
    "hw:cpu_policy": ["dedicated", "shared", "mixed"],
    "hw:cpu_thread_policy": ["prefer", "isolate", "require"],
    "hw:emulator_threads_policy": ["share", "isolate"],
    "hw:cpu_dedicated_mask": ["0", "^0", "1-2"],
    "hw:cpu_realtime": ["true", "false"],
    "hw:cpu_realtime_mask": ["^0", "1", "0-3"],
    "hw:numa_nodes": ["1", "2", "4"],
    "hw:mem_page_size": ["small", "large", "any", "2MB", "1GB"],
    "hw:locked_memory": ["true", "false"],
    "hw:cpu_sockets": ["1", "2"],
    "hw:cpu_cores": ["1", "2"],
    "hw:cpu_threads": ["1", "2"],
    "trait:CUSTOM_A": ["required", "forbidden"],
}
MOSTLY_GOOD = st.fixed_dictionaries({}, optional={key: st.sampled_from(texts) for key, texts in GOOD.items()})


def _pairs(specs: dict[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(specs.items()))


def _compiled(specs: dict[str, str], properties: dict[str, str], vcpus: int, memory_mib: int) -> GuestRequest | str:
    """The request, or the sentence of its refusal; anything else is a failure of the test."""
    flavor = Flavor(vcpus=vcpus, memory_mib=memory_mib, extra_specs=_pairs(specs))
    try:
        return compile_request(flavor, Image(properties=_pairs(properties)))
    except InvalidRequest as refusal:
        return str(refusal)


@given(SPECS, SPECS, st.integers(-1, 9000), st.integers(-1, 1 << 32))
def test_whatever_is_asked_is_a_request_or_an_invalid_request(
    specs: dict[str, str], properties: dict[str, str], vcpus: int, memory_mib: int
) -> None:
    answer = _compiled(specs, properties, vcpus, memory_mib)
    if isinstance(answer, str):
        assert answer
        assert "\n" not in answer


@given(MOSTLY_GOOD, SPECS, st.sampled_from([1, 2, 4, 8]), st.sampled_from([512, 2048, 4096]))
def test_the_same_input_has_the_same_answer(specs: dict[str, str], properties: dict[str, str], vcpus: int, memory_mib: int) -> None:
    assert _compiled(specs, properties, vcpus, memory_mib) == _compiled(specs, properties, vcpus, memory_mib)


@given(MOSTLY_GOOD, st.integers(0, 1 << 16), st.sampled_from([1, 2, 4, 8]))
def test_the_order_of_the_keys_is_of_no_account(specs: dict[str, str], turn: int, vcpus: int) -> None:
    pairs = _pairs(specs)
    turned = tuple(pairs[turn % len(pairs) :] + pairs[: turn % len(pairs)]) if pairs else ()
    answers = []
    for order in (pairs, turned):
        try:
            answers.append(compile_request(Flavor(vcpus=vcpus, memory_mib=2048, extra_specs=order)))
        except InvalidRequest:
            answers.append(None)
    assert answers[0] == answers[1]


@given(MOSTLY_GOOD, st.sampled_from([1, 2, 4, 8]), st.sampled_from([512, 2048, 4096]))
def test_every_request_keeps_the_promises_of_its_type(specs: dict[str, str], vcpus: int, memory_mib: int) -> None:
    request = _compiled(specs, {}, vcpus, memory_mib)
    if isinstance(request, str):
        return
    _check_cells(request)
    assert request.realtime <= request.dedicated
    assert request.locked_memory or not request.realtime
    assert (request.emulator_policy is EmulatorPolicy.UNSET) or request.dedicated
    assert len(request.realtime) < vcpus or request.emulator_policy is not EmulatorPolicy.UNSET
    assert request.dedicated.isdisjoint(request.floating)
    pinned = {CpuPolicy.SHARED: range(1), CpuPolicy.DEDICATED: range(vcpus, vcpus + 1), CpuPolicy.MIXED: range(1, vcpus)}
    assert len(request.dedicated) in pinned[request.cpu_policy]
    if request.cpu_topology is not None:
        assert request.cpu_topology.sockets * request.cpu_topology.cores * request.cpu_topology.threads == vcpus


def _check_cells(request: GuestRequest) -> None:
    """The cells partition the vCPUs and the memory, and each is a whole number of explicit pages."""
    if not request.cells:
        assert not request.dedicated
        assert not request.explicit_page
        return
    assert [cell.id for cell in request.cells] == list(range(len(request.cells)))
    seen = [vcpu for cell in request.cells for vcpu in cell.vcpus]
    assert sorted(seen) == list(range(request.vcpus))
    assert all(cell.vcpus and cell.memory_mib and cell.dedicated <= cell.vcpus for cell in request.cells)
    assert sum(cell.memory_mib for cell in request.cells) == request.memory_mib
    if request.page.size_kib:
        assert all(cell.memory_mib * 1024 % request.page.size_kib == 0 for cell in request.cells)


@given(st.data(), st.integers(1, 4))
def test_lists_that_partition_the_guest_are_taken_as_they_are(data: st.DataObject, nodes: int) -> None:
    owners = data.draw(st.lists(st.integers(0, nodes - 1), min_size=nodes, max_size=12))
    owners[:nodes] = range(nodes)
    memories = data.draw(st.lists(st.integers(1, 4096), min_size=nodes, max_size=nodes))
    specs = {"hw:numa_nodes": str(nodes), "hw:cpu_policy": "dedicated"}
    for cell in range(nodes):
        specs[f"hw:numa_cpus.{cell}"] = ",".join(str(vcpu) for vcpu, owner in enumerate(owners) if owner == cell)
        specs[f"hw:numa_mem.{cell}"] = str(memories[cell])
    request = compile_request(Flavor(vcpus=len(owners), memory_mib=sum(memories), extra_specs=_pairs(specs)))
    _check_cells(request)
    assert [cell.memory_mib for cell in request.cells] == memories
    assert all(vcpu in request.cells[owner].vcpus for vcpu, owner in enumerate(owners))

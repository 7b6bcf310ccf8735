"""Flavor and image together: who may speak, what agrees, what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinfold.core.errors import InvalidRequest
from pinfold.core.request.compile import compile_request
from pinfold.core.request.merge import MAX_KEYS, EffectiveSpecs, merge
from pinfold.core.request.model import CpuPolicy, Flavor, Image, PageKind, ThreadPolicy


def flavor(vcpus: int = 4, memory_mib: int = 2048, **specs: str) -> Flavor:
    """A flavor; in keyword names `__` stands for the colon and `_dot_` for the dot."""
    return Flavor(vcpus=vcpus, memory_mib=memory_mib, extra_specs=_pairs(specs))


def image(**properties: str) -> Image:
    return Image(properties=_pairs(properties))


def _pairs(keys: dict[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((name.replace("__", ":").replace("_dot_", "."), text) for name, text in keys.items()))


def test_nothing_said_is_nothing_asked() -> None:
    assert merge(flavor()) == EffectiveSpecs()
    assert merge(flavor(), Image()) == EffectiveSpecs()


# The image alone, the flavor alone, and both alike give the same value.
MIRRORED = [
    ("hw:cpu_policy", "hw_cpu_policy", "dedicated", {}),
    ("hw:cpu_thread_policy", "hw_cpu_thread_policy", "isolate", {"hw__cpu_policy": "dedicated"}),
    (
        "hw:cpu_realtime_mask",
        "hw_cpu_realtime_mask",
        "^0",
        {"hw__cpu_policy": "dedicated", "hw__cpu_realtime": "true", "hw__emulator_threads_policy": "share"},
    ),
    ("hw:numa_nodes", "hw_numa_nodes", "2", {}),
    ("hw:locked_memory", "hw_locked_memory", "true", {"hw__numa_nodes": "1"}),
    ("hw:cpu_sockets", "hw_cpu_sockets", "2", {}),
    ("hw:cpu_cores", "hw_cpu_cores", "2", {}),
    ("hw:cpu_threads", "hw_cpu_threads", "2", {}),
    ("trait:HW_CPU_X86_AVX2", "trait:HW_CPU_X86_AVX2", "required", {}),
]


@pytest.mark.parametrize(("spec", "prop", "text", "beside"), MIRRORED, ids=[row[0] for row in MIRRORED])
def test_a_mirrored_key_may_stand_in_the_flavor_the_image_or_both(spec: str, prop: str, text: str, beside: dict[str, str]) -> None:
    rest = _pairs(beside)
    with_spec = Flavor(vcpus=4, memory_mib=2048, extra_specs=tuple(sorted((*rest, (spec, text)))))
    without = Flavor(vcpus=4, memory_mib=2048, extra_specs=rest)
    mirrored = Image(properties=((prop, text),))
    expected = compile_request(with_spec)
    assert compile_request(with_spec, mirrored) == expected
    assert compile_request(without, mirrored) == expected
    assert compile_request(without) != expected


CONFLICTS = [
    ("a dedicated flavor and a shared image", {"hw__cpu_policy": "dedicated"}, {"hw_cpu_policy": "shared"}, "hw:cpu_policy"),
    ("a shared flavor and a dedicated image", {"hw__cpu_policy": "shared"}, {"hw_cpu_policy": "dedicated"}, "hw:cpu_policy"),
    ("a mixed flavor and a dedicated image", {"hw__cpu_policy": "mixed"}, {"hw_cpu_policy": "dedicated"}, "hw:cpu_policy"),
    ("prefer against require", {"hw__cpu_thread_policy": "prefer"}, {"hw_cpu_thread_policy": "require"}, "hw:cpu_thread_policy"),
    ("isolate against prefer", {"hw__cpu_thread_policy": "isolate"}, {"hw_cpu_thread_policy": "prefer"}, "hw:cpu_thread_policy"),
    ("other numbers of nodes", {"hw__numa_nodes": "2"}, {"hw_numa_nodes": "1"}, "hw:numa_nodes"),
    ("locked against not locked", {"hw__locked_memory": "no"}, {"hw_locked_memory": "yes"}, "hw:locked_memory"),
    ("other sockets", {"hw__cpu_sockets": "2"}, {"hw_cpu_sockets": "4"}, "hw:cpu_sockets"),
    ("other cores", {"hw__cpu_cores": "2"}, {"hw_cpu_cores": "4"}, "hw:cpu_cores"),
    ("other threads", {"hw__cpu_threads": "2"}, {"hw_cpu_threads": "1"}, "hw:cpu_threads"),
    (
        "other realtime vCPUs",
        {"hw__cpu_realtime": "1", "hw__cpu_realtime_mask": "^0"},
        {"hw_cpu_realtime_mask": "^0-1"},
        "hw:cpu_realtime_mask",
    ),
    ("a small flavor and a large image", {"hw__mem_page_size": "small"}, {"hw_mem_page_size": "large"}, "hw:mem_page_size"),
    ("an explicit flavor and another size", {"hw__mem_page_size": "2MB"}, {"hw_mem_page_size": "1GB"}, "hw:mem_page_size"),
    ("a large flavor and a small image", {"hw__mem_page_size": "large"}, {"hw_mem_page_size": "small"}, "hw:mem_page_size"),
    ("a large flavor and any page", {"hw__mem_page_size": "large"}, {"hw_mem_page_size": "any"}, "hw:mem_page_size"),
    ("a large flavor and the smallest page", {"hw__mem_page_size": "large"}, {"hw_mem_page_size": "4"}, "hw:mem_page_size"),
    ("a forbidden trait that the image requires", {"trait__CUSTOM_A": "forbidden"}, {"trait__CUSTOM_A": "required"}, "trait:CUSTOM_A"),
]


@pytest.mark.parametrize(("specs", "properties", "key"), [row[1:] for row in CONFLICTS], ids=[row[0] for row in CONFLICTS])
def test_flavor_and_image_that_disagree_are_refused(specs: dict[str, str], properties: dict[str, str], key: str) -> None:
    with pytest.raises(InvalidRequest, match=r"in the flavor, but .* in the image; they must agree, or only one be set") as caught:
        merge(flavor(**specs), image(**properties))
    assert caught.value.key == key


def test_the_sentence_of_a_disagreement() -> None:
    with pytest.raises(InvalidRequest) as caught:
        merge(flavor(hw__cpu_thread_policy="prefer"), image(hw_cpu_thread_policy="require"))
    assert str(caught.value) == (
        "hw:cpu_thread_policy is 'prefer' in the flavor, but hw_cpu_thread_policy is 'require' in the image; "
        "they must agree, or only one be set"
    )


def test_agreement_is_of_meaning_not_of_spelling() -> None:
    specs = {"hw__locked_memory": "yes", "hw__mem_page_size": "2048", "hw__cpu_realtime": "on", "hw__cpu_realtime_mask": "^0"}
    properties = {"hw_locked_memory": "True", "hw_mem_page_size": "2MB", "hw_cpu_realtime_mask": "1-3"}
    assert merge(flavor(**specs), image(**properties)) == merge(flavor(**specs))


@pytest.mark.parametrize(
    ("ours", "theirs", "kind", "kib"),
    [
        ("any", "small", PageKind.SMALL, 0),
        ("any", "large", PageKind.LARGE, 0),
        ("any", "4KB", PageKind.EXPLICIT, 4),
        ("any", "any", PageKind.ANY, 0),
        ("large", "large", PageKind.LARGE, 0),
        ("large", "1GB", PageKind.EXPLICIT, 1 << 20),
        ("2MB", "2048", PageKind.EXPLICIT, 2048),
        ("small", "small", PageKind.SMALL, 0),
    ],
)
def test_an_image_narrows_the_page_size_that_the_flavor_leaves_open(ours: str, theirs: str, kind: PageKind, kib: int) -> None:
    page = merge(flavor(hw__mem_page_size=ours), image(hw_mem_page_size=theirs)).page
    assert page is not None
    assert (page.value.kind, page.value.size_kib) == (kind, kib)


def test_an_image_alone_chooses_no_page_size() -> None:
    with pytest.raises(InvalidRequest) as caught:
        merge(flavor(), image(hw_mem_page_size="2MB"))
    assert caught.value.key == "hw_mem_page_size"
    assert str(caught.value) == (
        "hw_mem_page_size is '2MB' in the image, but the flavor has no hw:mem_page_size; "
        "there it must be large or any for an image to choose"
    )


def test_lists_of_cells_come_from_the_image_too() -> None:
    lists = {"hw_numa_cpus_dot_0": "0-2", "hw_numa_cpus_dot_1": "3", "hw_numa_mem_dot_0": "1024", "hw_numa_mem_dot_1": "1024"}
    cells = compile_request(flavor(hw__numa_nodes="2"), image(**lists)).cells
    assert [str(cell.vcpus) for cell in cells] == ["0-2", "3"]


@pytest.mark.parametrize(
    ("properties", "sentence"),
    [
        (
            {"hw_numa_cpus_dot_0": "0", "hw_numa_cpus_dot_1": "1-3"},
            "hw:numa_cpus.0 is '0-1' in the flavor, but hw_numa_cpus.0 is '0' in the image; they must agree, or only one be set",
        ),
        (
            {"hw_numa_cpus_dot_0": "0-1"},
            "hw:numa_cpus.1 is '2-3', but the image has other cells; both lists must agree, or only one be set",
        ),
        (
            {"hw_numa_cpus_dot_0": "0-1", "hw_numa_cpus_dot_1": "2-3", "hw_numa_cpus_dot_2": "3"},
            "hw_numa_cpus.2 is '3', but the flavor has other cells; both lists must agree, or only one be set",
        ),
    ],
)
def test_two_different_lists_of_cells_are_refused(properties: dict[str, str], sentence: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        merge(flavor(hw__numa_cpus_dot_0="0-1", hw__numa_cpus_dot_1="2-3"), image(**properties))
    assert str(caught.value) == sentence


def test_traits_add_up() -> None:
    request = compile_request(flavor(trait__CUSTOM_A="required", trait__CUSTOM_B="forbidden"), image(trait__CUSTOM_C="required"))
    assert request.traits_required == {"CUSTOM_A", "CUSTOM_C"}
    assert request.traits_forbidden == {"CUSTOM_B"}


def test_an_image_forbids_no_trait() -> None:
    with pytest.raises(InvalidRequest) as caught:
        merge(flavor(), image(trait__CUSTOM_A="forbidden"))
    assert str(caught.value) == "trait:CUSTOM_A is 'forbidden' in the image; there it must be required"


def test_foreign_image_properties_are_ignored() -> None:
    foreign = image(os_distro="debian", hw_disk_bus="virtio", hw_cpu_polcy="dedicated", owner="x" * 10000, img_mappings='[{"a": "\n"}]')
    assert merge(flavor(), foreign) == EffectiveSpecs()


def test_known_image_properties_without_effect_are_listed() -> None:
    assert merge(flavor(hw__boot_menu="true"), image(hw_boot_menu="false", hw_usb_model="none")).not_acted_upon == (
        "hw:boot_menu",
        "hw_boot_menu",
        "hw_usb_model",
    )


def test_image_properties_that_only_look_like_ours_are_listed() -> None:
    assert merge(flavor(), image(hw_emulator_threads_policy="share")).not_acted_upon == ("hw_emulator_threads_policy",)


def test_an_image_realtime_mask_is_idle_without_realtime() -> None:
    merged = merge(flavor(vcpus=1), image(hw_cpu_realtime_mask="^0-1"))
    assert merged.realtime_mask is None
    assert merged.not_acted_upon == ("hw_cpu_realtime_mask",)


def test_a_flavor_mask_is_idle_where_realtime_is_switched_off() -> None:
    merged = merge(flavor(hw__cpu_realtime="no", hw__cpu_realtime_mask="^0"))
    assert merged.realtime_mask is None
    assert merged.not_acted_upon == ("hw:cpu_realtime_mask",)


REFUSED_KEYS = [
    ("hw:emulator_threads", "share", "hw:emulator_threads is not a known extra spec; did you mean hw:emulator_threads_policy?"),
    ("hw:emulator_thread_policy", "share", "hw:emulator_thread_policy is not a known extra spec; did you mean hw:emulator_threads_policy?"),
    ("hw:qqq", "1", "hw:qqq is not a known extra spec; it must be one of those in the reference of extra specs"),
    ("hw_cpu_policy", "dedicated", "hw_cpu_policy is an image property; in a flavor the key is hw:cpu_policy"),
    (
        "hw:pci_numa_affinity_policy",
        "required",
        "hw:pci_numa_affinity_policy is 'required', but it is not supported: devices are not placed with the guest",
    ),
    ("hw:pmem", "16GB", "hw:pmem is '16GB', but it is not supported: it is not placed with the guest"),
    ("hw:mem_encryption", "true", "hw:mem_encryption is 'true', but it is not supported: the slots for encrypted guests are not counted"),
    (
        "resources:CUSTOM_GOLD",
        "1",
        (
            "resources:CUSTOM_GOLD is '1', but it is not supported: only vCPUs, memory and disk of the flavor are counted, "
            "together with the overhead that they cause"
        ),
    ),
    (
        "resources2:PCPU",
        "4",
        (
            "resources2:PCPU is '4', but it is not supported: a host is one resource provider, "
            "so there are no groups of resources or traits to keep apart"
        ),
    ),
    (
        "group_policy",
        "isolate",
        (
            "group_policy is 'isolate', but it is not supported: a host is one resource provider, "
            "so there are no groups of resources or traits to keep apart"
        ),
    ),
    ("pci_passthrough:alias", "gpu:1", "pci_passthrough:alias is 'gpu:1', but it is not supported: devices are not placed with the guest"),
    ("accel:device_profile", "fpga", "accel:device_profile is 'fpga', but it is not supported: devices are not placed with the guest"),
    ("trait:custom", "required", "trait:custom names no trait; its name must be capital letters, digits and '_'"),
    ("trait:CUSTOM_A", "yes", "trait:CUSTOM_A is 'yes'; it must be required or forbidden (in an image: required)"),
    ("", "1", "the key '' is not one; it must be 1 to 255 ASCII letters, digits, blanks and any of '_.:-'"),
    ("hw:a\nb", "1", "the key 'hw:a\\nb' is not one; it must be 1 to 255 ASCII letters, digits, blanks and any of '_.:-'"),
    ("quota:x", "y" * 1025, "quota:x has a value of 1025 characters; at most 1024 are allowed"),
    ("hw:numa_mem.128", "1", "hw:numa_mem.128 is '1', but a guest has at most 128 cells, 0 to 127"),
]


@pytest.mark.parametrize(("key", "text", "sentence"), REFUSED_KEYS, ids=[row[2][:60] for row in REFUSED_KEYS])
def test_unknown_unsupported_and_malformed_keys_are_refused(key: str, text: str, sentence: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        merge(Flavor(vcpus=4, memory_mib=2048, extra_specs=((key, text),)))
    assert str(caught.value) == sentence
    assert caught.value.key == key


def test_an_unsupported_image_property_is_refused_too() -> None:
    with pytest.raises(InvalidRequest, match="hw_pci_numa_affinity_policy is 'socket', but it is not supported"):
        merge(flavor(), image(hw_pci_numa_affinity_policy="socket"))


def test_memory_encryption_that_is_switched_off_is_accepted() -> None:
    assert merge(flavor(hw__mem_encryption="false"), image(hw_mem_encryption="no")).not_acted_upon == (
        "hw:mem_encryption",
        "hw_mem_encryption",
    )


def test_keys_of_other_namespaces_are_listed() -> None:
    specs = (("aggregate_instance_extra_specs:ssd", "true"), ("os:distro", "x"), ("quota:vif_limit", "10"), ("tier", "gold"))
    assert merge(Flavor(vcpus=1, memory_mib=1, extra_specs=specs)).not_acted_upon == tuple(key for key, _ in specs)


def test_a_key_that_stands_twice_is_refused() -> None:
    for key in ("hw:cpu_policy", "quota:a"):
        with pytest.raises(InvalidRequest, match="stands twice in the flavor"):
            merge(Flavor(vcpus=1, memory_mib=1, extra_specs=((key, "shared"), (key, "shared"))))
    with pytest.raises(InvalidRequest, match="stands twice in the image"):
        merge(flavor(), Image(properties=(("hw_cpu_policy", "shared"), ("hw_cpu_policy", "shared"))))


def test_the_number_of_keys_is_bounded() -> None:
    many = tuple((f"x:{index}", "") for index in range(MAX_KEYS + 1))
    with pytest.raises(InvalidRequest, match="the flavor has 513 extra specs; at most 512 are allowed"):
        merge(Flavor(vcpus=1, memory_mib=1, extra_specs=many))
    with pytest.raises(InvalidRequest, match="the image has 513 properties; at most 512 are allowed"):
        merge(flavor(), Image(properties=many))


MIRRORS = {
    "hw:cpu_policy": ["dedicated", "shared"],
    "hw:cpu_thread_policy": [policy.value for policy in ThreadPolicy],
    "hw:numa_nodes": ["1", "2"],
    "hw:locked_memory": ["true", "no"],
    "hw:mem_page_size": ["small", "large", "any", "2MB"],
    "hw:cpu_sockets": ["1", "2"],
    "hw:cpu_threads": ["1", "2"],
    "trait:CUSTOM_A": ["required"],
}


@given(
    st.fixed_dictionaries({}, optional={key: st.sampled_from(texts) for key, texts in MIRRORS.items()}),
    st.sets(st.sampled_from(sorted(MIRRORS))),
)
def test_an_image_that_agrees_changes_nothing(specs: dict[str, str], repeated: set[str]) -> None:
    ours = Flavor(vcpus=4, memory_mib=2048, extra_specs=tuple(sorted(specs.items())))
    shared = sorted((key.replace("hw:", "hw_"), text) for key, text in specs.items() if key in repeated)
    assert merge(ours, Image(properties=tuple(shared))) == merge(ours)


@given(st.sampled_from(list(CpuPolicy)), st.sampled_from(list(CpuPolicy)))
def test_two_cpu_policies_agree_only_when_equal(ours: CpuPolicy, theirs: CpuPolicy) -> None:
    try:
        merged = merge(flavor(hw__cpu_policy=ours.value), image(hw_cpu_policy=theirs.value))
    except InvalidRequest:
        assert ours is not theirs
    else:
        assert merged.cpu_policy is not None
        assert merged.cpu_policy.value is ours is theirs

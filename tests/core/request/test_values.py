"""How each kind of value is read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinfold.core.errors import InvalidRequest
from pinfold.core.request import values
from pinfold.core.request.model import PageKind


@pytest.mark.parametrize("text", ["1", "t", "true", "on", "y", "yes", "True", "YES"])
def test_words_for_true(text: str) -> None:
    assert values.boolean("hw:cpu_realtime", text) is True


@pytest.mark.parametrize("text", ["0", "f", "false", "off", "n", "no", "False", "NO"])
def test_words_for_false(text: str) -> None:
    assert values.boolean("hw:cpu_realtime", text) is False


@pytest.mark.parametrize("text", ["", "2", "enabled", " true", "ja"])
def test_other_words_are_refused_and_not_taken_as_false(text: str) -> None:
    with pytest.raises(InvalidRequest, match="it must be true or false") as caught:
        values.boolean("hw:cpu_realtime", text)
    assert caught.value.key == "hw:cpu_realtime"


@pytest.mark.parametrize(
    ("text", "kib"),
    [
        ("4", 4),
        ("2048", 2048),
        ("4K", 4),
        ("4k", 4),
        ("64KB", 64),
        ("64KiB", 64),
        ("2M", 2048),
        ("2MB", 2048),
        ("2MiB", 2048),
        ("2Mi", 2048),
        ("2097152B", 2048),
        ("1G", 1 << 20),
        ("1GB", 1 << 20),
        ("1GiB", 1 << 20),
        ("1048576", 1 << 20),
        ("16GB", 16 << 20),
    ],
)
def test_a_page_size_is_the_same_however_it_is_written(text: str, kib: int) -> None:
    page = values.page_size("hw:mem_page_size", text)
    assert (page.kind, page.size_kib) == (PageKind.EXPLICIT, kib)


@pytest.mark.parametrize("text", ["small", "large", "any"])
def test_a_page_size_may_be_a_word(text: str) -> None:
    page = values.page_size("hw:mem_page_size", text)
    assert (page.kind.value, page.size_kib) == (text, 0)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "1",
        "3",
        "3MB",
        "2",
        "2MBB",
        "2MiBi",
        "2iB",
        "2iM",
        "-2048",
        "2 MB",
        "2m",
        "1g",
        "1T",
        "32GB",
        "explicit",
        "Large",
        "huge",
        "2.5M",
        "1025B",
        "٢M",
        "9" * 40,
    ],
)
def test_other_page_sizes_are_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="it must be small, large, any, or a power of two") as caught:
        values.page_size("hw:mem_page_size", text)
    assert caught.value.key == "hw:mem_page_size"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("2Mb", "hw:mem_page_size is '2Mb', which counts bits; write 2MB for bytes"),
        ("2Mib", "hw:mem_page_size is '2Mib', which counts bits; write 2MiB for bytes"),
        ("1Gbit", "hw:mem_page_size is '1Gbit', which counts bits; write 1GB for bytes"),
        ("4096b", "hw:mem_page_size is '4096b', which counts bits; write 4096B for bytes"),
    ],
)
def test_page_sizes_in_bits_are_refused(text: str, sentence: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        values.page_size("hw:mem_page_size", text)
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0-1", "0-1"),
        ("^0-1", "2-7"),
        ("^0", "1-7"),
        ("^0,^7", "1-6"),
        ("^7,0", "0-6"),
        (" ^0", "1-7"),
        ("0-7,^2", "0-1,3-7"),
        ("0,2,4", "0,2,4"),
        ("0,,1,", "0-1"),
    ],
)
def test_a_leading_caret_means_all_but(text: str, expected: str) -> None:
    assert str(values.vcpu_mask("hw:cpu_dedicated_mask", text, vcpus=8)) == expected


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("8", "hw:cpu_dedicated_mask is '8', but the flavor has no vCPU 8; it has 0 to 7"),
        ("^9", "hw:cpu_dedicated_mask is '^9', but the flavor has no vCPU 9; it has 0 to 7"),
        ("0-7,^11", "hw:cpu_dedicated_mask is '0-7,^11', but the flavor has no vCPU 11; it has 0 to 7"),
        ("^0-7", "hw:cpu_dedicated_mask is '^0-7', which names no vCPU; at least one is needed"),
        ("", "hw:cpu_dedicated_mask is '', which names no vCPU; at least one is needed"),
        ("3,^3", "hw:cpu_dedicated_mask is '3,^3', which names no vCPU; at least one is needed"),
    ],
)
def test_masks_that_name_other_vcpus_or_none_are_refused(text: str, sentence: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        values.vcpu_mask("hw:cpu_dedicated_mask", text, vcpus=8)
    assert str(caught.value) == sentence


@pytest.mark.parametrize("text", ["a", "0-", "1-0", ",", "^", "^^0", "0x3", "99999999999999999999"])
def test_malformed_masks_are_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="it must be a list of the flavor's vCPUs"):
        values.vcpu_mask("hw:cpu_realtime_mask", text, vcpus=8)


def test_a_list_of_vcpus_knows_no_all_but() -> None:
    with pytest.raises(InvalidRequest, match="it must be a list of the flavor's vCPUs such as 0-3,8"):
        values.vcpu_list("hw:numa_cpus.0", "^1", vcpus=4)


@pytest.mark.parametrize("text", ["", "0", "-1", "+1", "1.0", "129", "1 ", "٣", "9" * 5000])
def test_numbers_out_of_bounds_are_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="it must be a whole number from 1 to 128"):
        values.whole_number("hw:numa_nodes", text, least=1, most=128)


def test_a_long_value_is_cut_in_the_sentence() -> None:
    with pytest.raises(InvalidRequest) as caught:
        values.cpu_policy("hw:cpu_policy", "x" * 4000)
    assert len(str(caught.value)) < 200


@given(text=st.text(max_size=30), vcpus=st.integers(1, 64))
def test_a_mask_is_a_non_empty_subset_or_refused(text: str, vcpus: int) -> None:
    try:
        mask = values.vcpu_mask("hw:cpu_realtime_mask", text, vcpus=vcpus)
    except InvalidRequest:
        return
    assert mask
    assert max(mask) < vcpus

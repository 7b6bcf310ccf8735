"""CPU sets: the cpulist in and out, set algebra, and what is refused."""

from __future__ import annotations

import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinfold.core.cpuset import MAX_CPU, CpuSet
from pinfold.core.errors import InvalidRequest

SETS = st.sets(st.integers(0, 200))


@pytest.mark.parametrize(
    ("text", "cpus"),
    [
        pytest.param("", [], id="nothing"),
        pytest.param("  ", [], id="blanks"),
        pytest.param("3", [3], id="one"),
        pytest.param("0-3,8", [0, 1, 2, 3, 8], id="a range and one"),
        pytest.param(" 1 , 4 - 6 ", [1, 4, 5, 6], id="blanks within"),
        pytest.param("0-7,^2,^4-5", [0, 1, 3, 6, 7], id="exclusions"),
        pytest.param("^2,0-3", [0, 1, 3], id="an exclusion that stands first"),
        pytest.param("^9,0-1", [0, 1], id="an exclusion of nothing"),
        pytest.param("1,,2, ,3,", [1, 2, 3], id="empty items"),
        pytest.param("5,5,4-6", [4, 5, 6], id="the same twice"),
        pytest.param(f"{MAX_CPU}", [MAX_CPU], id="the highest"),
    ],
)
def test_parse(text: str, cpus: list[int]) -> None:
    assert list(CpuSet.parse(text)) == cpus


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        pytest.param("a", "neither a CPU index nor a range", id="a word"),
        pytest.param(",", "it names no CPU", id="commas alone"),
        pytest.param("1,^,2", "'\\^' is neither", id="an exclusion of no CPU"),
        pytest.param("1-", "'1-' is neither", id="an open range"),
        pytest.param("-1", "'-1' is neither", id="a negative index"),
        pytest.param("1-2-3", "'1-2-3' is neither", id="two dashes"),
        pytest.param("3-1", "ends before it starts", id="a range backwards"),
        pytest.param("8192", "above the highest CPU index 8191", id="too high"),
        pytest.param("99999999999999999999", "neither", id="far too high"),
        pytest.param("^1", "only excludes", id="exclusions alone"),
        pytest.param("٣", "neither", id="digits of another script"),
        pytest.param("1," * 40000, "too long", id="too long a text"),
    ],
)
def test_parse_refuses(text: str, sentence: str) -> None:
    with pytest.raises(InvalidRequest, match=sentence):
        CpuSet.parse(text)


def test_a_sentence_does_not_repeat_a_long_list() -> None:
    with pytest.raises(InvalidRequest) as refused:
        CpuSet.parse("1," * 20_000 + "x")
    assert len(str(refused.value)) < 200


@given(SETS)
def test_text_and_back(cpus: set[int]) -> None:
    one = CpuSet(cpus)
    assert CpuSet.parse(str(one)) == one
    assert list(one) == sorted(cpus)
    assert len(one) == len(cpus)
    assert [cpu for first, last in one.ranges() for cpu in range(first, last + 1)] == sorted(cpus)


@given(SETS, SETS)
def test_algebra_is_that_of_sets(a: set[int], b: set[int]) -> None:
    one, two = CpuSet(a), CpuSet(b)
    assert [set(one | two), set(one & two), set(one - two), set(one ^ two)] == [a | b, a & b, a - b, a ^ b]
    assert [one <= two, one.isdisjoint(two), one == two, bool(one)] == [a <= b, a.isdisjoint(b), a == b, bool(a)]
    assert (hash(one) == hash(two)) or a != b


def test_a_set_does_not_change() -> None:
    one = CpuSet.of(1, 2)
    with pytest.raises(AttributeError):
        one.mask = 0  # type: ignore[misc]
    with pytest.raises(AttributeError):
        del one.mask
    with pytest.raises(AttributeError):
        one.other = 0  # type: ignore[attr-defined]
    assert copy.deepcopy(one) == pickle.loads(pickle.dumps(one)) == CpuSet.parse("1-2")


def test_edges() -> None:
    assert CpuSet.of(5, 3).first == 3
    assert 3 in CpuSet.of(3)
    assert -1 not in CpuSet.of(3)
    assert "3" not in CpuSet.of(3)
    assert CpuSet.of(3) != 8
    with pytest.raises(ValueError, match="no first"):
        _ = CpuSet().first
    for wrong in (-1, MAX_CPU + 1):
        with pytest.raises(InvalidRequest, match="not within"):
            CpuSet.of(wrong)
    with pytest.raises(InvalidRequest, match="within CPUs"):
        CpuSet.from_mask(-1)

"""The kernel's command line: whatever stands there, it is read or refused."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinfold.core import kernel_line
from pinfold.core.errors import InvalidRequest


@pytest.mark.parametrize(
    ("value", "expected"),
    [("1-3,5", "1-3,5"), ("all", "0-7"), ("N", "7"), ("2-N", "2-7"), ("0-7:1/2", "0,2,4,6"), ("1-6:2/3,0", "0-2,4-5"), ("", "")],
)
def test_the_lists_of_the_kernel_are_read(value: str, expected: str) -> None:
    assert str(kernel_line.cpu_list(value, 7)) == expected


@pytest.mark.parametrize(
    "value",
    ["x", "3-1", "0-7:1", "0-7:1/0", "0-7:a/b", "0-99999", "0-7:1/99999", "0-7:" + "1" * 5_000 + "/2", ":1/2", "-1"],
    ids=lambda value: value[:12],
)
def test_other_lists_are_refused(value: str) -> None:
    with pytest.raises(InvalidRequest):
        kernel_line.cpu_list(value, 7)


@given(st.text(), st.integers(min_value=0, max_value=8191))
def test_no_text_does_more_than_be_refused(text: str, last: int) -> None:
    value = kernel_line.option(f"rcu_nocbs={text}", "rcu_nocbs")
    assert value is not None
    with suppress(InvalidRequest):
        kernel_line.cpu_list(value, last)
    flags, cpus = kernel_line.isolation(value)
    assert flags and isinstance(cpus, str)

"""A stream is compared with the files of images piece by piece."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinfold.api.image.catalog import read_catalog
from pinfold.api.image.comparison import Comparison

FILES = {"a": b"\x00" * 8, "b": b"\x00" * 7 + b"\x01", "c": b"\x00" * 9, "d": b"", "e": b"\x00" * 8}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("images")
    for name, content in FILES.items():
        (made / f"{name}.raw").write_bytes(content)
    return made


@given(
    content=st.sampled_from((*FILES.values(), b"\x00" * 10, b"\x02", b"\x00" * 3)),
    cuts=st.lists(st.integers(min_value=0, max_value=10), max_size=4),
)
def test_the_first_image_that_equals_the_stream_is_found_however_it_is_cut(folder: Path, content: bytes, cuts: list[int]) -> None:
    comparison = Comparison(read_catalog(folder))
    ends = [0, *sorted(cuts), len(content)]
    for start, end in pairwise(ends):
        comparison.add(content[start:end])
    found = comparison.equal()
    assert comparison.size == len(content)
    assert (None if found is None else found.name) == next((name for name, there in FILES.items() if there == content), None)


def test_a_file_that_has_gone_equals_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.raw").write_bytes(b"x")
    comparison = Comparison(read_catalog(tmp_path))
    (tmp_path / "a.raw").unlink()
    comparison.add(b"x")
    assert comparison.equal() is None

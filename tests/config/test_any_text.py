"""Whatever stands in a file, reading it ends in a value or in one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pinfold.config import load
from pinfold.config.flavors import read_flavors
from pinfold.config.options import GROUPS
from pinfold.core.errors import InvalidRequest

_NAMES = [(group.name, opt.name) for group in GROUPS for opt in group.options]
_VALUES = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        ["", "0", "-1", "0-3", "^1", "0-3,^1", "1e999", "nan", "$host", "${compute.cpu_shared_set}", "%(x)s", "node:0", "true", "\\"]
    ),
)
_LINES = st.one_of(
    st.tuples(st.sampled_from(_NAMES), _VALUES).map(lambda one: f"[{one[0][0]}]\n{one[0][1]} = {one[1]}"),
    st.text(max_size=30),
    st.sampled_from(["[", "]", "[]", "=", ":", " x", "[DEFAULT]", "[compute]", "#", "a=b"]),
)
_SETTINGS = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@_SETTINGS
@given(lines=st.lists(_LINES, max_size=6))
def test_any_configuration_is_read_or_refused_in_one_sentence(tmp_path: Path, lines: list[str]) -> None:
    path = tmp_path / "any.conf"
    path.write_bytes("\n".join(lines).encode("utf-8", "surrogatepass"))
    _one_sentence(lambda: load([str(path)]))


@_SETTINGS
@given(data=st.binary(max_size=60))
def test_any_bytes_are_read_or_refused_in_one_sentence(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "any.conf"
    path.write_bytes(data)
    _one_sentence(lambda: load([str(path)]))
    _one_sentence(lambda: read_flavors(str(path)))


@_SETTINGS
@given(
    text=st.lists(
        st.sampled_from(
            ['[flavors."a"]', "vcpus = 1", "ram = 1", "disk = {}", "x = [1]", "[flavors.a.properties]", '"hw:x" = 1.5', "=", "'"]
        )
    )
)
def test_any_flavors_are_read_or_refused_in_one_sentence(tmp_path: Path, text: list[str]) -> None:
    path = tmp_path / "flavors.toml"
    path.write_text("\n".join(text))
    _one_sentence(lambda: read_flavors(str(path)))


def _one_sentence(read: object) -> None:
    assert callable(read)
    try:
        read()
    except InvalidRequest as error:
        if "\n" in str(error) or len(str(error)) > 600:
            pytest.fail(f"not one sentence: {error}")

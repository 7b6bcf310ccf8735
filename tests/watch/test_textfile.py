"""The file for node_exporter: whole or not at all."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from pinfold.core.errors import InvalidRequest, Unavailable
from pinfold.watch import textfile


def test_the_file_is_replaced_and_everybody_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "pinfold.prom"
    for text in (b"a 1\n", b"a 2\n"):
        textfile.write(path, text)
        assert path.read_bytes() == text
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert [one.name for one in tmp_path.iterdir()] == ["pinfold.prom"]


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    path = tmp_path / "gone" / "pinfold.prom"
    with pytest.raises(Unavailable, match=r"pinfold\.prom cannot be written: No such file or directory"):
        textfile.write(path, b"")


def test_a_file_that_nobody_would_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"whose names end in \.prom"):
        textfile.check_path(tmp_path / "pinfold.txt")
    with pytest.raises(InvalidRequest, match="there is no folder"):
        textfile.check_path(tmp_path / "gone" / "pinfold.prom")

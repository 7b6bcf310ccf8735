"""The map of the code in DEVELOPING.md names every package, and no file that is not there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "pinfold"
_PAGE = (ROOT / "DEVELOPING.md").read_text(encoding="utf-8")


def test_every_package_has_its_line_in_the_map() -> None:
    packages = {str(made.parent.relative_to(SOURCE)) for made in SOURCE.rglob("__init__.py") if made.parent != SOURCE}
    assert set(re.findall(r"^\| `([\w/]+)` \|", _PAGE, re.MULTILINE)) == packages


def test_every_file_of_the_walks_is_there() -> None:
    named = re.findall(r"`([\w/]+\.py)`", _PAGE)
    assert len(named) > 30
    assert [name for name in named if not (SOURCE / name).is_file()] == []

"""The script that makes the pictures of the web page runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from docs.screens import KEPT, VIEWS, picture
from tests.rig.browser import needs_chromium

_PNG = b"\x89PNG"


@needs_chromium
@pytest.mark.slow
@pytest.mark.real_placement
def test_the_script_makes_the_pictures(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "docs.screens", "--folder", str(tmp_path)], check=True)
    assert {one.name for one in tmp_path.iterdir()} == {picture(view, shape) for view in VIEWS for shape in KEPT}
    assert all(one.read_bytes().startswith(_PNG) for one in tmp_path.iterdir())

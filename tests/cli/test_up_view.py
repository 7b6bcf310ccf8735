"""What `pinfold up` prints for another shell."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pinfold.cli.up import _folder
from pinfold.cli.views.up import up_view


def lines(**more: str) -> list[str]:
    return [str(line) for line in up_view("http://127.0.0.1:8774", "/s/clouds.yaml", "c1", "/s/images", **more)]


def test_the_lines_to_export_stand_below_their_title_and_the_path_comes_first() -> None:
    shown = lines(config="/etc/a.conf", folder="/opt/my clone/.venv/bin")
    start = shown.index("In another shell:")
    assert shown[start + 1 : start + 5] == [
        "  export PATH='/opt/my clone/.venv/bin':$PATH",
        "  export PINFOLD_CONFIG=/etc/a.conf",
        "  export OS_CLIENT_CONFIG_FILE=/s/clouds.yaml",
        "  export OS_CLOUD=pinfold",
    ]
    assert not any("PATH=" in line for line in lines())


def test_the_folder_of_the_command_is_told_where_a_shell_finds_none_or_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("venv", "other", "links"):
        (tmp_path / name).mkdir()
    for name in ("venv", "other"):
        (tmp_path / name / "pinfold").write_text("#!/bin/sh\n")
        (tmp_path / name / "pinfold").chmod(0o755)
    (tmp_path / "links/pinfold").symlink_to(tmp_path / "venv/pinfold")
    told = {}
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "venv/pinfold"), "up"])
    for path in ("venv", "other", "links", "nowhere"):
        monkeypatch.setenv("PATH", str(tmp_path / path))
        told[path] = _folder()
    here = str(tmp_path / "venv")
    assert told == {"venv": "", "other": here, "links": "", "nowhere": here}
    monkeypatch.setattr(sys, "argv", ["/usr/lib/python3/pinfold/__main__.py", "up"])
    assert _folder() == "", "python -m pinfold is no command that a shell finds"

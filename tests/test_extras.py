"""What a command says that misses an extra, by where pinfold came from."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from pinfold.extras import installing

ROOT = Path(__file__).parents[1]


def test_in_a_clone_its_own_setup_installs_the_extra(tmp_path: Path) -> None:
    setup = tmp_path / "bin" / "setup"
    setup.parent.mkdir()
    setup.write_text("")
    assert installing("fleet", root=tmp_path, prefix=str(tmp_path / ".venv")) == f"{setup} --service"
    assert f"{setup}" not in installing("fleet", root=tmp_path, prefix=sys.prefix), "another environment, which bin/setup does not touch"


def test_a_command_without_its_extra_says_so_in_one_sentence() -> None:
    code = "import sys; sys.modules['numpy'] = None; sys.argv = ['pinfold', 'simulate']; import pinfold.__main__ as m; m.main()"
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT, env=os.environ | {"COLUMNS": "200"}
    )
    advice = f"install the service's parts: {installing('fleet')}"
    assert ended.stderr == f"pinfold: this command needs the Python package numpy, which is not installed; {advice}\n"
    assert ended.returncode == 3

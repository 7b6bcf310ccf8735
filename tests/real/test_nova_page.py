"""The example of the page about Nova's compute nodes: its files saved, its commands and the printed repair typed as they stand there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs/how-to/audit-a-nova-node.md"
SHOWN = "policy share wants emulator threads on 0, the definition puts them on 1"

pytestmark = [pytest.mark.real_libvirt, pytest.mark.timeout(600)]


def test_the_example_of_the_page_is_found_and_repaired(lab_possible: None, lab_name: str, tmp_path: Path) -> None:
    if not {0, 1} <= os.sched_getaffinity(0):
        pytest.skip("the example is about pCPUs 0 and 1")
    name = f"{lab_name}-nova"
    text = PAGE.read_text(encoding="utf-8").replace("novatry", name)
    conf, definition, commands = (
        re.findall(rf"^```{kind}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)[0] for kind in ("ini", "xml", "sh")
    )
    (tmp_path / "nova.conf").write_text(conf)
    (tmp_path / "vm.xml").write_text(definition)
    assert SHOWN in text
    try:
        printed = typed(commands, tmp_path)
        assert SHOWN in " ".join(printed.split())
        repair = re.findall(r"repair: (virsh .*instance-00000001.*)$", printed, re.MULTILINE)
        after = typed(f"{repair[0]}\npinfold audit --config nova.conf", tmp_path)
        assert re.search(r"db1 +Nova's +running +share +\d+ +as recorded", after), after
    finally:
        typed(f"pinfold lab down {name}", tmp_path)


def typed(commands: str, folder: Path) -> str:
    """What the commands print in one shell on the way to the end."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PINFOLD", "PYTEST"))}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", commands],
        cwd=folder,
        env=kept | {"PATH": path, "COLUMNS": "120"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr and "error:" not in done.stderr, done.stderr
    return done.stdout

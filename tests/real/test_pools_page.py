"""The example of the page about changed pools: its files saved, and its commands typed as they stand there."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from tests.real.test_nova_page import typed

PAGE = Path(__file__).parents[2] / "docs/how-to/change-pools-live.md"

pytestmark = [pytest.mark.real_libvirt, pytest.mark.timeout(600)]


def test_the_example_of_the_page_moves_the_threads_of_a_running_guest(lab_possible: None, lab_name: str, tmp_path: Path) -> None:
    if not {0, 1} <= os.sched_getaffinity(0):
        pytest.skip("the example is about pCPUs 0 and 1")
    name = f"{lab_name}-pools"
    text = PAGE.read_text(encoding="utf-8").replace("poolstry", name)
    conf, flavors, commands = (re.findall(rf"^```{kind}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)[0] for kind in ("ini", "toml", "sh"))
    (tmp_path / "pools.conf").write_text(conf)
    (tmp_path / "flavors.toml").write_text(flavors)
    tmp_path.chmod(0o711)
    try:
        printed = typed(commands, tmp_path)
        (ending,) = re.findall(r"The plan ends with\n\n```\n(.*?)\n```", text)
        assert ending in printed, printed
        plan, applied = printed.split(ending)
        assert re.search(r"emulator +\d+ +0 +0-1", plan), plan
        assert "guest web keeps pCPU 1, which retires" in plan
        assert "✓ 1 guest moved" in applied
        assert "emulator threads on 0-1" in applied and re.search(r"CPU 0/\w+ .* 1 ", applied), applied
    finally:
        typed(f"pinfold lab down {name}", tmp_path)

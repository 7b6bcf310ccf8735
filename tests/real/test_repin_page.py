"""The example of the page about moves inside a host cell: its files saved, and its commands typed as they stand there."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from tests.real.test_nova_page import typed

PAGE = Path(__file__).parents[2] / "docs/how-to/repin-guests.md"

pytestmark = [pytest.mark.real_libvirt, pytest.mark.timeout(600)]


def test_the_example_of_the_page_frees_a_retiring_pcpu(lab_possible: None, lab_name: str, tmp_path: Path) -> None:
    if not {0, 1} <= os.sched_getaffinity(0):
        pytest.skip("the example is about pCPUs 0 and 1")
    name = f"{lab_name}-repin"
    text = PAGE.read_text(encoding="utf-8").replace("repintry", name)
    conf, flavors, commands = (re.findall(rf"^```{kind}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)[0] for kind in ("ini", "toml", "sh"))
    (tmp_path / "repin.conf").write_text(conf)
    (tmp_path / "flavors.toml").write_text(flavors)
    tmp_path.chmod(0o711)
    try:
        printed = typed(commands, tmp_path)
        (ending,) = re.findall(r"then ends with\n\n```\n(.*?)\n```", text, re.DOTALL)
        assert ending in printed, printed
        plan, applied = printed.split(ending)
        assert "guest web keeps pCPU 0, which retires" in plan
        assert re.search(r"1 +web +vCPU 0 +0 +1", plan), plan
        assert "✓ 1 guest moved" in applied
        assert re.search(r"CPU 0/\w+ .* 1 ", applied), applied
    finally:
        typed(f"pinfold lab down {name}", tmp_path)

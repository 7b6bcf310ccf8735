"""The example of the page about adoption: its files saved, and its commands typed as they stand there."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from tests.real.test_nova_page import typed

PAGE = Path(__file__).parents[2] / "docs/how-to/adopt-a-guest.md"

pytestmark = [pytest.mark.real_libvirt, pytest.mark.timeout(600)]


def test_the_example_of_the_page_adopts_and_releases_a_running_guest(lab_possible: None, lab_name: str, tmp_path: Path) -> None:
    if not {0, 1} <= os.sched_getaffinity(0):
        pytest.skip("the example is about pCPUs 0 and 1")
    name = f"{lab_name}-adopt"
    text = PAGE.read_text(encoding="utf-8").replace("adopttry", name)
    conf, definition, commands = (
        re.findall(rf"^```{kind}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)[0] for kind in ("ini", "xml", "sh")
    )
    (tmp_path / "adopt.conf").write_text(conf)
    (tmp_path / "vm.xml").write_text(definition)
    tmp_path.chmod(0o711)
    try:
        printed = typed(commands, tmp_path)
        (ending,) = re.findall(r"ends with\n\n```\n(.*?)\n```", text, re.DOTALL)
        assert ending in printed, printed
        plan, applied = printed.split(ending)
        (beginning,) = re.findall(r"plan begins with `(.*?)`", text)
        assert beginning in plan and re.search(r"emulator +\d+ +0-\d+ +0", plan), plan
        shown = applied.partition("✓ guest vm is adopted")[2]
        assert len(re.findall(r"CPU 0/\w+ .* 1 ", shown)) == 2, shown
        assert "guest vm is released" in " ".join(shown.split())
    finally:
        typed(f"pinfold lab down {name}", tmp_path)

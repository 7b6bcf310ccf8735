"""The units that pages show for an installation by hand are those of the Debian package, but for the path of the program."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = {
    "pinfold-watch": ("watch-a-host.md", "/usr/local/bin/pinfold"),
    "pinfold-agent": ("fleet-on-postgresql.md", "/opt/pinfold/.venv/bin/pinfold"),
}


def test_each_unit_of_the_package_is_on_a_page() -> None:
    assert {path.stem for path in (ROOT / "deb/units").iterdir()} == set(PAGES)


@pytest.mark.parametrize("unit", PAGES)
def test_the_page_shows_the_unit_of_the_package(unit: str) -> None:
    name, program = PAGES[unit]
    page = (ROOT / "docs/how-to" / name).read_text(encoding="utf-8")
    shown = re.search(rf"^`/etc/systemd/system/{unit}\.service`:\n\n```\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert shown is not None
    assert shown[1] == (ROOT / f"deb/units/{unit}.service").read_text(encoding="utf-8").replace("/usr/bin/pinfold", program)

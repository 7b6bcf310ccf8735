"""Writes `docs/reference/`: every page is made from the code, so that none can be out of date. Pages written by hand do not belong here.

`python -m docs.generate` writes the pages; `--check` only says which differ, and fails if one does.
"""

from __future__ import annotations

import sys
from pathlib import Path

from docs.bounds_page import limits
from docs.check_page import checks
from docs.command_page import commands
from docs.form_page import forms
from docs.network_page import networks
from docs.openstack_page import openstack
from docs.pages import configuration, extra_specs, findings, reasons
from docs.policy_page import policies
from docs.service_page import metrics, placement, routes
from docs.tempest_page import tempest

FOLDER = Path(__file__).parent / "reference"
_NOTE = "<!-- Written by `python -m docs.generate` from the code; edit the code instead. -->\n\n"


def pages() -> dict[str, str]:
    """Every generated page by its file name."""
    made = {
        "policies.md": policies(),
        "configuration.md": configuration(),
        "extra-specs.md": extra_specs(),
        "reasons.md": reasons(),
        "findings.md": findings(),
        "checks.md": checks(),
        "commands.md": commands(),
        "forms.md": forms(),
        "routes.md": routes(),
        "placement.md": placement(),
        "metrics.md": metrics(),
        "limits.md": limits(),
        "networks.md": networks(),
        "openstack.md": openstack(),
        "tempest.md": tempest(),
    }
    return {name: _NOTE + text for name, text in made.items()}


def stale() -> list[str]:
    """The file names of pages that are missing or differ from what the code says."""
    return [name for name, text in pages().items() if not (FOLDER / name).is_file() or (FOLDER / name).read_text(encoding="utf-8") != text]


def main() -> int:
    """Write the pages, or with `--check` name the stale ones."""
    if "--check" in sys.argv[1:]:
        found = stale()
        for name in found:
            print(f"docs/reference/{name} is not what the code says; run `make docs`")
        return 1 if found else 0
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Writes the files that Prometheus and Grafana are given, beside this module.

`python -m monitoring.generate` writes them; a test says when one differs from what it makes.
"""

from __future__ import annotations

from pathlib import Path

from monitoring.alerts import rules
from monitoring.dashboards import DASHBOARDS, dashboard

FOLDER = Path(__file__).parent
_NOTE = "# Written by `python -m monitoring.generate`; edit monitoring/alerts.py instead.\n"


def files() -> dict[str, str]:
    """Every file by its name."""
    return {"pinfold-alerts.yml": _NOTE + rules()} | {f"{made.uid}.json": dashboard(made) for made in DASHBOARDS}


def main() -> None:
    """Write the files."""
    for name, text in files().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

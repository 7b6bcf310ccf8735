"""The files in `monitoring/` are what its script makes, and Prometheus takes the rules, those that pages print among them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from monitoring.alerts import GROUPS
from monitoring.dashboards import DASHBOARDS, dashboard
from monitoring.generate import FOLDER, files
from tests.rig.prometheus import needs_prometheus, promtool

from pinfold.api.metrics import METRICS, PROCESS_METRICS
from pinfold.watch.metrics import METRICS as OF_WATCH

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to"
ALERTS = tuple(alert for alerts in GROUPS.values() for alert in alerts)


@pytest.mark.parametrize("name", files())
def test_each_file_is_what_the_script_makes(name: str) -> None:
    assert (FOLDER / name).read_text(encoding="utf-8") == files()[name], "run `python -m monitoring.generate`"


def test_every_metric_of_a_rule_and_a_panel_exists() -> None:
    known = {*METRICS, *PROCESS_METRICS, *OF_WATCH}
    queries = [*(alert.expr for alert in ALERTS), *(panel.query for made in DASHBOARDS for panel in made.panels)]
    assert {name for query in queries for name in re.findall(r"\bpinfold_\w+", query)} - known == set()


@pytest.mark.parametrize("made", DASHBOARDS, ids=lambda made: made.uid)
def test_panels_have_titles_of_their_own_and_do_not_overlap(made: object) -> None:
    panels = json.loads(dashboard(made))["panels"]  # type: ignore[arg-type]
    titles = [panel["title"] for panel in panels if panel["type"] != "row"]
    assert len(set(titles)) == len(titles)
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(taken)) == len(taken)


def test_the_page_says_of_every_alert_what_to_do() -> None:
    page = (HOW_TO / "monitor.md").read_text(encoding="utf-8")
    assert [alert.name for alert in ALERTS if not re.search(rf"^\| {alert.name} \| .+ \| .+ \|$", page, re.MULTILINE)] == []


@needs_prometheus
def test_promtool_takes_the_rules() -> None:
    assert f"SUCCESS: {len(ALERTS)} rules found" in promtool("check", "rules", str(FOLDER / "pinfold-alerts.yml"))


@needs_prometheus
def test_promtool_takes_every_alert_that_a_page_prints(tmp_path: Path) -> None:
    blocks = [block for page in sorted(HOW_TO.glob("*.md")) for block in _blocks(page) if "alert:" in block]
    assert blocks
    for block in blocks:
        printed = yaml.safe_load(block)
        whole = printed if isinstance(printed, dict) else {"groups": [{"name": "printed", "rules": printed}]}
        (tmp_path / "rules.yml").write_text(yaml.safe_dump(whole))
        promtool("check", "rules", str(tmp_path / "rules.yml"))


def _blocks(page: Path) -> list[str]:
    return re.findall(r"^```yaml\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)

"""Every query of the dashboard for the service, asked of a Prometheus that scrapes the API."""

from __future__ import annotations

from pathlib import Path

from monitoring.dashboards import SERVICE
from msgspec.structs import replace
from tests.build.hosts import report
from tests.rig.in_process import Fleet
from tests.rig.prometheus import needs_prometheus, scraping
from tests.stories.test_drift import STRAY, finds

from pinfold.core.repairs import counts_text
from pinfold.store.records import REPAIRS

pytestmark = needs_prometheus


def test_every_query_of_the_dashboard_yields_series(fleet: Fleet, tmp_path: Path) -> None:
    agent = fleet.host("c1", replace(report(cells=2, cores=4, shared="0-1"), facts=((REPAIRS, counts_text({("emulator", "done"): 1})),)))
    fleet.flavor("pin", vcpus=3, hw_cpu_policy="dedicated")
    fleet.create("vm", "pin")
    finds(agent, STRAY)
    with scraping(tmp_path, lambda: fleet.http.get("/metrics").content, "pinfold") as prometheus:
        prometheus.until_all_yield(SERVICE.panels, variable="host")

"""Every query of the dashboard for hosts, asked of a Prometheus that scrapes `pinfold watch`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from monitoring.dashboards import WATCH
from tests.real.host.bench import Bench
from tests.real.host.domains import define, virsh
from tests.real.host.watching import watching
from tests.rig.prometheus import needs_prometheus, scraping

pytestmark = [needs_prometheus, pytest.mark.skipif(not {0, 1} <= os.sched_getaffinity(0), reason="the pools are pCPUs 0 and 1")]

FLAVORS = """
[flavors.pin]
vcpus = 1
ram = 16
[flavors.pin.properties]
"hw:cpu_policy" = "dedicated"
"""

WITHOUT = {
    "Free dedicated pCPUs that no flavor can use": "the guests have the only dedicated pCPU",
    "Other findings": "with one pCPU in each pool there is no part of a pool, and no kernel thread strays",
}
"""Panels whose queries yield nothing here, and why."""


def test_every_query_of_the_dashboard_yields_series(own_bench: Bench, tmp_path: Path) -> None:
    flavors = tmp_path / "flavors.toml"
    flavors.write_text(FLAVORS)
    share = {"hw:cpu_policy": "dedicated", "hw:emulator_threads_policy": "share"}
    with watching(tmp_path, own_bench.lab.uri, "--repair", "nova", flavors=flavors) as watch:
        define(own_bench, "web", cputune="<vcpupin vcpu='0' cpuset='1'/><emulatorpin cpuset='0'/>", nova=True, specs=share)
        watch.until_value("pinfold_guest_info", guest="web", policy="share")
        virsh(own_bench, "emulatorpin", "web", "1", "--live")  # drift, which the watch repairs
        watch.until_value("pinfold_repairs_total", result="done")
        define(own_bench, "second", cputune="<vcpupin vcpu='0' cpuset='1'/><emulatorpin cpuset='0'/>")  # drift that it does not repair

        def metrics() -> bytes:
            virsh(own_bench, "qemu-monitor-command", "web", "--hmp", "info status")  # its emulator has something to do
            return watch.text().encode()

        with scraping(tmp_path, metrics, "pinfold-watch") as prometheus:
            prometheus.until_all_yield(WATCH.panels, variable="instance", without=WITHOUT)

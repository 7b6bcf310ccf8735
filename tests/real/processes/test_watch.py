"""The watch of QEMU that was started by hand: its counters, and a repair of one such guest."""

from __future__ import annotations

import os
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families
from tests.real.processes.conftest import Bench

from pinfold.config import load
from pinfold.core.settings import RepairScope
from pinfold.drivers import registry
from pinfold.host.repair import repair_guest


def test_one_sweep_into_a_file_has_what_the_kernel_counted_of_each_class(bench: Bench, kind: str, tmp_path: Path) -> None:
    hand, path = bench.start(kind, "-object", "iothread,id=io0", paused=False), tmp_path / "pinfold.prom"
    assert bench.pinfold("watch", "--once", "--textfile", str(path)) == ""
    found = {
        sample.labels["class"]: sample.value
        for family in text_string_to_metric_families(path.read_text())
        for sample in family.samples
        if sample.name == "pinfold_guest_run_seconds_total" and sample.labels["id"] == hand.id
    }
    assert {"vcpu", "emulator", "iothread"} <= found.keys()
    assert all(value > 0 for value in found.values())


def test_a_guest_that_floats_over_dedicated_pcpus_is_moved_only_where_all_guests_may_be(bench: Bench, kind: str) -> None:
    hand = bench.start(kind)
    settings = load([str(bench.folder / "pinfold.conf")], audits=True).settings
    driver = registry.open_driver("processes:")
    for scope in (RepairScope.OFF, RepairScope.OURS, RepairScope.NOVA):
        assert repair_guest(driver, settings, hand.id, scope).moved == ()
        assert os.sched_getaffinity(hand.pid) == {0, 1}
    done = repair_guest(driver, settings, hand.id, RepairScope.ALL)
    assert done.moved and not done.left
    assert {frozenset(os.sched_getaffinity(int(tid))) for tid in os.listdir(f"/proc/{hand.pid}/task")} == {frozenset({0})}
    assert repair_guest(driver, settings, hand.id, RepairScope.ALL).moved == (), "there is nothing to move any more"

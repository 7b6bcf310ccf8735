"""`pinfold watch` beside guests that `virsh` made: what it sees, counts and keeps."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from tests.real.host.bench import Bench
from tests.real.host.domains import define, everything, virsh
from tests.real.host.watching import pinfold, watching
from tests.real.patience import until

from pinfold.core.cpuset import CpuSet
from pinfold.core.overhead import ThreadClass
from pinfold.core.overhead.hours import Place
from pinfold.watch.journal import read_hours, read_shapes

SHARE = {"hw:cpu_policy": "dedicated", "hw:emulator_threads_policy": "share"}
DRIFT = {"code": "emulator-thread", "class": "emulator"}
PINS = "<vcpupin vcpu='0' cpuset='1'/><emulatorpin cpuset='0'/>"

pytestmark = pytest.mark.skipif(not {0, 1} <= os.sched_getaffinity(0), reason="the pools are pCPUs 0 and 1")


def test_the_watch_counts_what_threads_use_and_sees_one_that_is_moved(bench: Bench, tmp_path: Path) -> None:
    with watching(tmp_path, bench.lab.uri) as watch:
        define(bench, "web", cputune=PINS, nova=True, specs=SHARE)
        web = bench.guest("web")
        watch.until_value("pinfold_guest_info", guest="web", id=web.id, policy="share", origin="nova", server="vm", state="running")
        watch.until_value("pinfold_pcpu_owner", pcpu="1", guest="web", **{"class": "vcpu"})
        watch.until_value("pinfold_guest_run_seconds_total", 0.001, id=web.id, **{"class": "emulator"})
        watch.until_value("pinfold_guest_slices_total", id=web.id, **{"class": "vcpu"})
        assert watch.values("pinfold_pool_booked_cpus", pool="overhead") == [pytest.approx(0.022)]
        assert watch.values("pinfold_pool_guests", pool="overhead") == [1.0]
        path = next((tmp_path / "state").glob("*.journal"))
        until(lambda: any(hour.slices and hour.guest_seconds for hour in read_hours(path)), "its overhead is in the journal")
        shapes = until(lambda: [one for one in read_shapes(path) if one.thread_class is ThreadClass.EMULATOR and one.slices], "by shape")
        assert {(one.place, *one.shape) for one in shapes} == {(Place.POOL, web.vcpus, web.disks, web.nics)}
        assert watch.values("pinfold_drift", **DRIFT) == []  # other processes of this machine may be on pCPU 1
        before = everything(bench)
        assert web.pid is not None
        os.sched_setaffinity(web.pid, {0, 1} if bench.lab.cgroups == "none" else {0})
        if bench.lab.cgroups == "none":
            watch.until_value("pinfold_drift", **DRIFT)
            os.sched_setaffinity(web.pid, {0})
            watch.until_none("pinfold_drift", **DRIFT)
        assert before.unchanged(everything(bench))
        if bench.lab.cgroups == "none":
            shown = pinfold(watch.config, "history", "--guest", "web").stdout
            assert shown.index("drift: guest web: emulator thread") < shown.index("no more drift: guest web: emulator thread")
        virsh(bench, "destroy", "web")
        watch.until_value("pinfold_guest_info", guest="web", state="stopped")
        watch.until_none("pinfold_guest_run_seconds_total", id=web.id)
        virsh(bench, "undefine", "web")
        watch.until_none("pinfold_guest_info", guest="web")
    tenures = json.loads(pinfold(watch.config, "history", "--pcpu", "1", "--json").stdout)["tenures"]
    assert [[(owner["guest"], owner["class"]) for owner in one["owners"]] for one in tenures] == [[], [("web", "vcpu")], []]
    assert "guest web does not run any more (nova, share, server vm)" in pinfold(watch.config, "history").stdout


def test_the_samples_of_the_last_minutes_are_shown_by_host_history(bench: Bench, tmp_path: Path) -> None:
    if bench.lab.cgroups != "none":
        pytest.skip("samples do not depend on cgroups, and take half a minute")
    with watching(tmp_path, bench.lab.uri) as watch:
        define(bench, "web", cputune=PINS, nova=True, specs=SHARE)
        watch.until_value("pinfold_guest_info", guest="web", state="running")

        def samples() -> list[dict[str, Any]]:
            found = json.loads(pinfold(watch.config, "host", "history", "--guest", "web", "--pcpus", "1", "--json").stdout or "{}")
            return [row for row in found.get("guests", []) if any(number is not None for number in row["work_millicpu"])]

        rows = until(samples, "there are samples of the guest", seconds=300)
        assert {"web"} == {row["name"] for row in rows}
        assert "vcpu" in {row["thread_class"] for row in rows}
        shown = pinfold(watch.config, "host", "history", "--from", f"unix:{watch.path}", "--minutes", "5").stdout
        assert "web vcpu" in shown and "pCPU 1" in shown and "pool overhead" in shown
        assert " in the last minute" in pinfold(watch.config, "host", "map").stdout, "the map shows the load, too"
        picture = tmp_path / "map.svg"
        assert pinfold(watch.config, "host", "map", "--svg", str(picture)).returncode == 0
        assert "waited; full width: all the time" in picture.read_text(encoding="utf-8")


def test_novas_share_guest_follows_pools_that_change_in_the_file(bench: Bench, tmp_path: Path) -> None:
    with watching(tmp_path, bench.lab.uri, "--pools", "apply") as watch:
        define(bench, "web", cputune=PINS, nova=True, specs=SHARE, iothreads=1)
        watch.until_value("pinfold_guest_info", guest="web", policy="share")
        before = bench.guest("web")
        text = watch.config.read_text(encoding="utf-8")
        watch.config.write_text(text.replace("cpu_shared_set = 0\ncpu_dedicated_set = 1", "cpu_shared_set = 0-1"), encoding="utf-8")
        until(lambda: bench.guest("web").pins.emulator == CpuSet.parse("0-1"), "the emulator follows the file")
        until(lambda: bench.guest("web").pins.iothreads == ((1, CpuSet.parse("0-1")),), "the IOThread follows")
        assert bench.guest("web").pid == before.pid
        threads = [thread for thread in bench.driver.observe(before).threads if thread.thread_class is ThreadClass.EMULATOR]
        assert {thread.allowed for thread in threads} == {CpuSet.parse("0-1")}
        until(lambda: "guest web follows the pools" in pinfold(watch.config, "history", "--guest", "web").stdout, "the journal says so")
        shown = " ".join(pinfold(watch.config, "history").stdout.split())
        assert "the shared pool is 0-1; before: 0" in shown
        assert "at its next hard reboot Nova writes its pins anew, by the cpu_shared_set that nova-compute was started with" in shown


def test_a_nova_guest_is_repaired_live_and_its_definition_stays(bench: Bench, tmp_path: Path) -> None:
    with watching(tmp_path, bench.lab.uri, "--repair", "nova") as watch:
        define(bench, "web", cputune=PINS, nova=True, specs=SHARE)
        define(bench, "strange", cputune="<vcpupin vcpu='0' cpuset='0'/>")
        kept = virsh(bench, "dumpxml", "--inactive", "web")
        watch.until_value("pinfold_guest_info", guest="web", policy="share")
        watch.until_none("pinfold_drift", **DRIFT)
        virsh(bench, "emulatorpin", "web", "1", "--live")
        watch.until_value("pinfold_repairs_total", result="done")
        watch.until_none("pinfold_drift", code="definition-pins")
        web = bench.guest("web")
        assert virsh(bench, "dumpxml", "--inactive", "web") == kept
        threads = [thread for thread in bench.driver.observe(web).threads if thread.thread_class is ThreadClass.EMULATOR]
        assert [thread for thread in threads if thread.allowed != CpuSet.of(0)] == []
        virsh(bench, "emulatorpin", "web", "1", "--live")
        watch.until_value("pinfold_repairs_total", result="undone")
        shown = pinfold(watch.config, "history", "--guest", "web").stdout
        assert "guest web was repaired, its threads are in their places; what would undo it: Nova, when it starts, hard reboots" in shown
        assert "guest web: somebody undid its repair" in shown


def test_a_vcpu_that_is_added_to_a_running_guest_and_floats_is_found(own_bench: Bench, tmp_path: Path) -> None:
    with watching(tmp_path, own_bench.lab.uri) as watch:
        define(own_bench, "web", vcpus=2, current=1, placement="0")
        watch.until_value("pinfold_guest_info", guest="web", state="running")
        watch.until_none("pinfold_drift", code="foreign-floating")
        virsh(own_bench, "setvcpus", "web", "2", "--live")
        virsh(own_bench, "vcpupin", "web", "1", "0-1", "--live")
        watch.until_value("pinfold_drift", code="foreign-floating")
        own_bench.driver.stop(own_bench.guest("web").id, remove=True)


def test_libvirtd_that_is_restarted_during_a_repair_does_not_keep_the_threads_away(own_bench: Bench, tmp_path: Path) -> None:
    with watching(tmp_path, own_bench.lab.uri, "--repair", "nova") as watch:
        define(own_bench, "web", cputune=PINS, nova=True, specs=SHARE)
        watch.until_value("pinfold_guest_info", guest="web", policy="share")
        web = own_bench.guest("web")
        virsh(own_bench, "emulatorpin", "web", "1", "--live")
        own_bench.lab.restart_daemon()
        watch.until_value("pinfold_repairs_total", result="done")
        watch.until_none("pinfold_drift", code="emulator-policy")
        assert own_bench.guest("web").pid == web.pid
        threads = [thread for thread in own_bench.driver.observe(web).threads if thread.thread_class is ThreadClass.EMULATOR]
        assert {thread.allowed for thread in threads} == {CpuSet.of(0)}
        own_bench.driver.stop(web.id, remove=True)

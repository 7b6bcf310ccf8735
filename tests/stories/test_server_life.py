"""The life of a server, told in order: made, built, stopped, started, rebooted, deleted, gone; Placement is asked at every turn."""

from __future__ import annotations

from tests.rig.in_process import Fleet
from tests.rig.promises import at_rest

from pinfold.store.records import Observed


def test_a_server_from_its_create_to_nothing_left(fleet: Fleet) -> None:
    c1 = fleet.host("c1")
    flavor = fleet.flavor("rt.share", vcpus=4, ram=1024, disk=1, hw_cpu_policy="dedicated", hw_emulator_threads_policy="share")
    vm = fleet.create("vm1", flavor)

    shown = fleet.show(vm)
    assert (shown["status"], shown["OS-EXT-STS:task_state"], shown["OS-EXT-SRV-ATTR:host"]) == ("BUILD", "spawning", "c1")
    assert fleet.usage("c1") == {"PCPU": 4, "MEMORY_MB": 1024, "DISK_GB": 1, "CUSTOM_OVERHEAD_MILLICPU": 38}
    nodes = fleet.ask("GET", f"/servers/{vm}/topology", status=200).json()["nodes"]
    assert [sorted(node["cpu_pinning"]) for node in nodes] == [["0", "1", "2", "3"]]
    at_rest(fleet.database, fleet.services.placement)

    order = c1.order(vm)
    assert (order["name"], order["desired"], order["boot"]) == ("vm1", "running", 1)
    assert c1.says(vm, Observed.RUNNING, boot=1, revision=order["claim"]["revision"]).status_code == 204
    shown = fleet.show(vm)
    assert (shown["status"], shown["OS-EXT-STS:power_state"], shown["OS-EXT-STS:task_state"]) == ("ACTIVE", 1, None)
    assert shown["OS-SRV-USG:launched_at"] is not None

    for action, status, power in (("os-stop", "SHUTOFF", 4), ("os-start", "ACTIVE", 1)):
        fleet.ask("POST", f"/servers/{vm}/action", {action: None}, status=202)
        assert fleet.show(vm)["OS-EXT-STS:task_state"] is not None
        c1.obey()
        shown = fleet.show(vm)
        assert (shown["status"], shown["OS-EXT-STS:power_state"], shown["OS-EXT-STS:task_state"]) == (status, power, None)
        assert fleet.usage("c1")["PCPU"] == 4

    fleet.ask("POST", f"/servers/{vm}/action", {"reboot": {"type": "HARD"}}, status=202)
    assert fleet.status(vm) == "HARD_REBOOT"
    c1.says(vm, Observed.RUNNING, boot=2, revision=order["claim"]["revision"])
    assert fleet.status(vm) == "HARD_REBOOT"
    c1.obey()
    assert fleet.status(vm) == "ACTIVE"

    fleet.ask("DELETE", f"/servers/{vm}", status=204)
    shown = fleet.show(vm)
    assert (shown["status"], shown["OS-EXT-STS:task_state"]) == ("ACTIVE", "deleting")
    assert fleet.usage("c1")["PCPU"] == 4
    c1.obey()
    fleet.ask("GET", f"/servers/{vm}", status=404)
    assert fleet.usage("c1") == {}
    assert c1.orders()["orders"] == []
    at_rest(fleet.database, fleet.services.placement)

"""Starts that fail: a guest goes elsewhere only after its agent has confirmed that nothing remains, and on three hosts at most."""

from __future__ import annotations

from tests.rig.in_process import Fleet
from tests.rig.promises import at_rest

from pinfold.agent.wire import FAILURE_MOST
from pinfold.store.records import Observed


def _host(fleet: Fleet, server: str) -> str:
    return str(fleet.show(server)["OS-EXT-SRV-ATTR:host"])


def test_a_failed_start_moves_elsewhere_and_ends_in_error_after_three_hosts(fleet: Fleet) -> None:
    for name in ("c1", "c2", "c3", "c4"):
        fleet.host(name)
    server = fleet.create("vm", fleet.flavor("pin", vcpus=2, hw_cpu_policy="dedicated"))
    been: list[str] = []
    for turn in (1, 2, 3):
        here = _host(fleet, server)
        assert here not in been
        been.append(here)
        agent = fleet.agents[here]
        assert agent.gone(server, agent.order(server)["claim"]["revision"], failure=f"no such disk, {turn}").status_code == 204
        assert fleet.usage(here) == {}
    shown = fleet.show(server)
    assert (shown["status"], shown["OS-EXT-SRV-ATTR:host"]) == ("ERROR", None)
    for turn, name in enumerate(been, start=1):
        assert f"{name}: the start failed: no such disk, {turn}" in shown["fault"]["message"]
    assert all(fleet.usage(name) == {} for name in fleet.agents)
    at_rest(fleet.database, fleet.services.placement)
    fleet.ask("DELETE", f"/servers/{server}", status=204)
    fleet.ask("GET", f"/servers/{server}", status=404)


def test_a_failed_start_with_nowhere_else_to_go_tells_both(fleet: Fleet) -> None:
    c1 = fleet.host("c1")
    server = fleet.create("vm", fleet.flavor("pin", vcpus=2, hw_cpu_policy="dedicated"))
    c1.gone(server, c1.order(server)["claim"]["revision"], failure="QEMU ended")
    message = fleet.show(server)["fault"]["message"]
    assert "c1: the start failed: QEMU ended" in message
    assert c1.orders()["orders"] == []


def test_a_failure_that_no_agent_of_ours_would_tell_is_refused_and_changes_nothing(fleet: Fleet) -> None:
    c1 = fleet.host("c1")
    server = fleet.create("vm", fleet.flavor("pin", vcpus=2, hw_cpu_policy="dedicated"))
    revision = c1.order(server)["claim"]["revision"]
    for path, body in ((f"/guests/{server}/absence", {}), (f"/guests/{server}", {"observed": "stopped", "boot": 1})):
        answer = c1.ask("POST", path, {"revision": revision, "failure": "x" * (FAILURE_MOST + 1), **body})
        assert answer.status_code == 400
        assert f"of length <= {FAILURE_MOST} - at `$.failure`" in answer.text
    assert fleet.status(server) == "BUILD"
    assert c1.gone(server, revision, failure="x" * FAILURE_MOST).status_code == 204
    assert fleet.status(server) == "ERROR"


def test_the_guest_that_started_at_last_has_no_fault(fleet: Fleet) -> None:
    fleet.host("c1"), fleet.host("c2")
    server = fleet.create("vm", fleet.flavor("pin", vcpus=2, hw_cpu_policy="dedicated"))
    first = fleet.agents[_host(fleet, server)]
    first.gone(server, first.order(server)["claim"]["revision"], failure="QEMU ended")
    second = fleet.agents[_host(fleet, server)]
    assert second is not first
    fleet.obey()
    shown = fleet.show(server)
    assert shown["status"] == "ACTIVE"
    assert "fault" not in shown
    told = fleet.http.get(f"/v1/servers/{server}/placement").json()
    (failed,) = (refusal for refusal in told["refusals"] if "QEMU ended" in refusal["sentence"])
    assert (failed["revision"], failed["kind"], failed["reasons"]) == (None, None, [])


def test_a_confirmation_of_an_earlier_claim_changes_nothing(fleet: Fleet) -> None:
    fleet.host("c1"), fleet.host("c2")
    server = fleet.create("vm", fleet.flavor("pin", vcpus=2, hw_cpu_policy="dedicated"))
    agent = fleet.agents[_host(fleet, server)]
    revision = agent.order(server)["claim"]["revision"]
    for wrong in (revision - 1, revision + 1):
        assert agent.gone(server, wrong, failure="late").status_code == 204
    other = next(one for one in fleet.agents.values() if one is not agent)
    assert other.gone(server, revision, failure="not mine").status_code == 204
    assert _host(fleet, server) == agent.name
    assert fleet.usage(agent.name)["PCPU"] == 2
    agent.says(server, Observed.RUNNING, boot=1, revision=revision - 1)
    assert fleet.status(server) == "BUILD"
    other.says(server, Observed.RUNNING, boot=1, revision=revision)
    assert fleet.status(server) == "BUILD"
    agent.says(server, Observed.RUNNING, boot=1, revision=revision)
    assert fleet.status(server) == "ACTIVE"


def test_a_guest_that_vanished_but_is_wanted_keeps_its_claim(fleet: Fleet) -> None:
    c1 = fleet.host("c1")
    server = fleet.create("vm", fleet.flavor("pin", vcpus=2, hw_cpu_policy="dedicated"))
    c1.obey()
    revision = c1.order(server)["claim"]["revision"]
    assert c1.gone(server, revision).status_code == 204
    c1.says(server, Observed.ABSENT, revision=revision)
    assert fleet.status(server) == "SHUTOFF"
    assert fleet.usage("c1")["PCPU"] == 2


def test_a_server_deleted_before_it_started_waits_for_the_confirmation(fleet: Fleet) -> None:
    c1 = fleet.host("c1")
    server = fleet.create("vm", fleet.flavor("pin", vcpus=2, hw_cpu_policy="dedicated"))
    revision = c1.order(server)["claim"]["revision"]
    fleet.ask("DELETE", f"/servers/{server}", status=204)
    assert c1.order(server)["desired"] == "absent"
    assert fleet.usage("c1")["PCPU"] == 2
    c1.gone(server, revision)
    fleet.ask("GET", f"/servers/{server}", status=404)
    assert fleet.usage("c1") == {}


def test_a_crash_is_shown_and_a_hard_reboot_mends_it(fleet: Fleet) -> None:
    c1 = fleet.host("c1")
    server = fleet.create("vm", fleet.flavor("pin", vcpus=2, hw_cpu_policy="dedicated"))
    c1.obey()
    revision = c1.order(server)["claim"]["revision"]
    c1.says(server, Observed.CRASHED, boot=1, revision=revision)
    shown = fleet.show(server)
    assert (shown["status"], shown["OS-EXT-STS:power_state"]) == ("SHUTOFF", 6)
    fleet.ask("POST", f"/servers/{server}/action", {"reboot": {"type": "SOFT"}}, status=409)
    fleet.ask("POST", f"/servers/{server}/action", {"reboot": {"type": "HARD"}}, status=202)
    c1.obey()
    assert fleet.status(server) == "ACTIVE"


def test_actions_that_the_state_forbids_answer_409(fleet: Fleet) -> None:
    c1 = fleet.host("c1")
    server = fleet.create("vm", fleet.flavor("pin", vcpus=2, hw_cpu_policy="dedicated"))
    stop, start = {"os-stop": None}, {"os-start": None}
    answer = fleet.ask("POST", f"/servers/{server}/action", stop, status=409)
    assert answer.json()["conflictingRequest"]["message"] == f"Cannot 'stop' instance {server} while it is in task_state spawning"
    c1.obey()
    fleet.ask("POST", f"/servers/{server}/action", start, status=409)
    fleet.ask("POST", f"/servers/{server}/action", stop, status=202)
    fleet.ask("POST", f"/servers/{server}/action", start, status=409)
    c1.obey()
    fleet.ask("POST", f"/servers/{server}/action", stop, status=409)
    fleet.ask("POST", f"/servers/{server}/action", start, status=202)
    fleet.ask("POST", f"/servers/{server}/action", {"resize": {"flavorRef": "x"}}, status=501)
    fleet.ask("POST", f"/servers/{server}/action", {"dance": None}, status=400)
    fleet.ask("POST", "/servers/none/action", start, status=404)

"""Servers that are paused, suspended, locked and reset: what is shown and refused at each moment, and what the agent is told."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace
from tests.build.hosts import report
from tests.rig.in_process import Agent, Fleet
from tests.stories.test_stops_and_reboots import HARD, SOFT, START, STOP, act, words

from pinfold.agent.wire import PROTOCOL, GuestReport
from pinfold.api.accounts import Account, Role
from pinfold.api.caller import of_account
from pinfold.api.compute.servers.single import unlocked
from pinfold.core.encoding import plain
from pinfold.core.errors import Conflict
from pinfold.store.records import PROTOCOL_FACT, Observed

PAUSE, UNPAUSE, SUSPEND, RESUME = {"pause": None}, {"unpause": None}, {"suspend": None}, {"resume": None}
KNOWS_PAUSES = replace(report(), facts=((PROTOCOL_FACT, str(PROTOCOL)),))
ACTIVE = ("ACTIVE", "active", None, 1)


@pytest.fixture
def server(fleet: Fleet) -> str:
    """A server that runs on `c1`."""
    fleet.host("c1", KNOWS_PAUSES)
    made = fleet.create("vm", fleet.flavor("pin", vcpus=2, hw_cpu_policy="dedicated"))
    fleet.obey()
    return made


def says(agent: Agent, server: str, observed: Observed, **more: Any) -> None:
    order = agent.order(server)
    facts = {"boot": order["boot"]} | more
    told = GuestReport(revision=order["claim"]["revision"], observed=observed, claim=order["claim"]["id"], **facts)
    assert agent.ask("POST", f"/guests/{server}", plain(told)).status_code == 204


def test_a_server_is_paused_in_memory_and_goes_on(fleet: Fleet, server: str) -> None:
    c1 = fleet.agents["c1"]
    act(fleet, server, PAUSE)
    assert words(fleet, server) == ("ACTIVE", "active", "pausing", 1)
    assert (c1.order(server)["desired"], c1.order(server)["pause"], c1.order(server)["boot"]) == ("running", "memory", 1)
    says(c1, server, Observed.RUNNING)
    assert words(fleet, server)[2] == "pausing"
    says(c1, server, Observed.PAUSED)
    assert words(fleet, server) == ("PAUSED", "paused", None, 3)
    for action in (PAUSE, SUSPEND, RESUME, START, STOP, SOFT):
        assert "while it is in vm_state paused" in act(fleet, server, action, 409)
    act(fleet, server, UNPAUSE)
    assert words(fleet, server) == ("PAUSED", "paused", "unpausing", 3)
    assert "pause" not in c1.order(server) or c1.order(server)["pause"] == ""
    says(c1, server, Observed.PAUSED)
    assert words(fleet, server)[2] == "unpausing"
    says(c1, server, Observed.RUNNING)
    assert words(fleet, server) == ACTIVE
    assert "while it is in vm_state active" in act(fleet, server, UNPAUSE, 409)


@pytest.mark.parametrize(("rests", "goes_on"), [((PAUSE, Observed.PAUSED), UNPAUSE), ((SUSPEND, Observed.STOPPED), RESUME)])
def test_a_server_that_cannot_go_on_is_in_error_until_its_agent_succeeds(fleet: Fleet, server: str, rests: Any, goes_on: Any) -> None:
    c1 = fleet.agents["c1"]
    act(fleet, server, rests[0])
    says(c1, server, rests[1])
    act(fleet, server, goes_on)
    for _ in range(2):
        says(c1, server, Observed.PAUSED, failure="pCPU 3 is taken; it stays paused")
        assert words(fleet, server) == ("ERROR", "error", None, 3)
    assert "pCPU 3 is taken" in fleet.ask("GET", f"/servers/{server}").json()["server"]["fault"]["message"]
    for action in (PAUSE, UNPAUSE, SUSPEND, RESUME, START, SOFT):
        assert "while it is in vm_state error" in act(fleet, server, action, 409)
    says(c1, server, Observed.RUNNING)
    assert words(fleet, server) == ACTIVE
    act(fleet, server, PAUSE)


@pytest.mark.parametrize("action", [STOP, HARD])
def test_a_server_that_cannot_go_on_and_was_reset_waits_for_no_second_unpause(fleet: Fleet, server: str, action: Any) -> None:
    """Its agent has told everything that it sees, and would not tell it again."""
    c1 = fleet.agents["c1"]
    act(fleet, server, PAUSE)
    says(c1, server, Observed.PAUSED)
    act(fleet, server, UNPAUSE)
    says(c1, server, Observed.PAUSED, failure="pCPU 3 is taken; it stays paused")
    act(fleet, server, {"os-resetState": {"state": "active"}})
    assert words(fleet, server) == ("PAUSED", "paused", None, 3)
    before = c1.order(server)
    assert "it is to run already, and its agent tries until it does" in act(fleet, server, UNPAUSE, 409)
    assert (words(fleet, server), c1.order(server)) == (("PAUSED", "paused", None, 3), before)
    act(fleet, server, action)
    c1.obey()
    assert words(fleet, server) == (ACTIVE if action is HARD else ("SHUTOFF", "stopped", None, 4))


def test_a_server_is_suspended_to_disk_and_resumed(fleet: Fleet, server: str) -> None:
    c1 = fleet.agents["c1"]
    act(fleet, server, SUSPEND)
    says(c1, server, Observed.PAUSED)  # while its memory is written
    assert words(fleet, server) == ("ACTIVE", "active", "suspending", 3)
    says(c1, server, Observed.STOPPED)
    assert words(fleet, server) == ("SUSPENDED", "suspended", None, 4)
    for action in (PAUSE, UNPAUSE, SUSPEND, START, STOP, SOFT):
        assert "while it is in vm_state suspended" in act(fleet, server, action, 409)
    act(fleet, server, RESUME)
    assert words(fleet, server) == ("SUSPENDED", "suspended", "resuming", 4)
    assert (c1.order(server)["boot"], c1.order(server).get("hard", False)) == (2, False)
    says(c1, server, Observed.RUNNING)
    assert words(fleet, server) == ACTIVE
    assert fleet.ask("GET", "/servers?status=SUSPENDED").json()["servers"] == []


@pytest.mark.parametrize(("action", "resting"), [(PAUSE, Observed.PAUSED), (SUSPEND, Observed.STOPPED)], ids=["paused", "suspended"])
def test_a_hard_reboot_and_a_delete_take_a_server_out_of_its_pause(fleet: Fleet, server: str, action: Any, resting: Observed) -> None:
    c1 = fleet.agents["c1"]
    act(fleet, server, action)
    says(c1, server, resting)
    act(fleet, server, HARD)
    order = c1.order(server)
    assert (order["boot"], order["hard"], order.get("pause", "")) == (2, True, "")
    c1.obey()
    assert words(fleet, server) == ACTIVE
    act(fleet, server, action)
    says(c1, server, resting)
    fleet.ask("DELETE", f"/servers/{server}", status=204)
    fleet.obey()
    fleet.ask("GET", f"/servers/{server}", status=404)


def test_a_paused_server_whose_host_lost_it_is_off_and_can_be_started(fleet: Fleet, server: str) -> None:
    c1 = fleet.agents["c1"]
    act(fleet, server, PAUSE)
    says(c1, server, Observed.PAUSED)
    says(c1, server, Observed.STOPPED)
    assert words(fleet, server) == ("SHUTOFF", "stopped", None, 4)
    act(fleet, server, START)
    c1.obey()
    assert words(fleet, server) == ACTIVE


def test_a_server_that_cannot_be_suspended_goes_on_running(fleet: Fleet, server: str) -> None:
    c1 = fleet.agents["c1"]
    act(fleet, server, SUSPEND)
    says(c1, server, Observed.RUNNING, not_paused="it has a host device")
    assert words(fleet, server) == ACTIVE
    assert c1.order(server).get("pause", "") == ""
    says(c1, server, Observed.RUNNING, not_paused="it has a host device")  # told twice
    assert words(fleet, server) == ACTIVE


def test_an_agent_of_an_earlier_pinfold_is_ordered_no_pause(fleet: Fleet) -> None:
    old = fleet.host("c1")
    server = fleet.create("vm", fleet.flavor("tiny", vcpus=1))
    old.obey()
    for action in (PAUSE, SUSPEND):
        assert "the agent of host c1 is of an earlier pinfold; upgrade it" in act(fleet, server, action, 409)
    assert words(fleet, server) == ACTIVE
    old.protocol = 1
    assert "pause" not in old.order(server)


def test_a_locked_server_shows_so_and_admins_may_still_change_it(fleet: Fleet, server: str) -> None:
    def shown(version: str = "2.96") -> tuple[Any, Any]:
        found = fleet.ask("GET", f"/servers/{server}", version=version).json()["server"]
        return found.get("locked"), found.get("locked_reason")

    assert (shown(), shown("2.9"), shown("2.8")) == ((False, None), (False, None), (None, None))
    fleet.ask("POST", f"/servers/{server}/action", {"lock": {}}, version="2.1", status=202)
    act(fleet, server, {"lock": {"locked_reason": "maintenance"}})
    assert (shown(), shown("2.9")) == ((True, "maintenance"), (True, None))
    assert [one["id"] for one in fleet.ask("GET", "/servers?locked=true").json()["servers"]] == [server]
    assert fleet.ask("GET", "/servers?locked=false").json()["servers"] == []
    act(fleet, server, STOP)
    fleet.obey()
    assert words(fleet, server)[0] == "SHUTOFF"
    act(fleet, server, {"unlock": None})
    assert shown() == (False, None)
    act(fleet, server, {"lock": None})
    assert shown() == (True, None)


@pytest.mark.parametrize("reason", [{"locked_reason": ""}, {"locked_reason": "x" * 256}, {"locked_reason": 1}, {"a": "b"}, "why"])
def test_a_reason_that_is_none_is_refused(fleet: Fleet, server: str, reason: Any) -> None:
    assert "locked_reason" in fleet.ask("POST", f"/servers/{server}/action", {"lock": reason}, status=400).text
    answer = fleet.ask("POST", f"/servers/{server}/action", {"lock": {"locked_reason": "x"}}, version="2.72", status=400)
    assert "2.73" in answer.text


def test_others_than_admins_cannot_change_a_locked_server(fleet: Fleet, server: str) -> None:
    def asking(role: Role) -> Any:
        return SimpleNamespace(state=SimpleNamespace(caller=of_account(Account(name="x", role=role, hash=""))))

    assert unlocked(fleet.services, asking(Role.READER), server).id == server
    act(fleet, server, {"lock": None})
    assert unlocked(fleet.services, asking(Role.ADMIN), server).id == server
    with pytest.raises(Conflict, match="is locked"):
        unlocked(fleet.services, asking(Role.READER), server)


def test_an_admin_sets_a_server_to_error_and_back(fleet: Fleet, server: str) -> None:
    act(fleet, server, {"os-resetState": {"state": "error"}})
    assert words(fleet, server) == ("ERROR", "error", None, 1)
    fleet.obey()
    assert words(fleet, server) == ("ERROR", "error", None, 1)
    assert "while it is in vm_state error" in act(fleet, server, SOFT, 409)
    act(fleet, server, {"os-resetState": {"state": "active"}})
    assert words(fleet, server) == ACTIVE
    act(fleet, server, {"os-resetState": {"state": "error"}})
    act(fleet, server, HARD)
    fleet.obey()
    assert words(fleet, server) == ACTIVE
    for state in ({}, {"state": "paused"}, {"state": ["error"]}, None):
        fleet.ask("POST", f"/servers/{server}/action", {"os-resetState": state}, status=400)


def test_a_reset_ends_a_task_and_a_fault_that_nobody_will_end(fleet: Fleet, server: str) -> None:
    act(fleet, server, PAUSE)
    act(fleet, server, {"os-resetState": {"state": "active"}})
    assert words(fleet, server) == ACTIVE
    act(fleet, server, UNPAUSE, 409)
    act(fleet, server, SUSPEND)
    assert fleet.agents["c1"].order(server)["pause"] == "disk"


def test_a_reset_ends_no_delete(fleet: Fleet, server: str) -> None:
    act(fleet, server, {"os-resetState": {"state": "error"}})
    fleet.ask("DELETE", f"/servers/{server}", status=204)
    act(fleet, server, {"os-resetState": {"state": "active"}})
    assert words(fleet, server) == ("ACTIVE", "active", "deleting", 1)
    fleet.obey()
    fleet.ask("GET", f"/servers/{server}", status=404)
    events = fleet.ask("GET", f"/servers/{server}/os-instance-actions", status=200).json()["instanceActions"]
    assert [(event["action"], event["message"]) for event in events] == [("delete", None), ("create", None)]


def test_a_server_that_no_host_takes_stays_in_error(fleet: Fleet) -> None:
    """It would be shown in BUILD, and nobody would build it."""
    server = fleet.create("vm", fleet.flavor("pin", vcpus=2, hw_cpu_policy="dedicated"))
    assert fleet.status(server) == "ERROR"
    assert act(fleet, server, {"os-resetState": {"state": "active"}}, 409).endswith("to active: it is on no host. It can be deleted")
    assert fleet.status(server) == "ERROR"
    fleet.ask("DELETE", f"/servers/{server}", status=204)


def test_a_forced_delete_deletes(fleet: Fleet, server: str) -> None:
    act(fleet, server, {"forceDelete": None})
    fleet.obey()
    fleet.ask("GET", f"/servers/{server}", status=404)
    assert fleet.usage("c1") == {}

"""Servers that are stopped, rebooted softly and hard, and whose later start fails: what is shown, and that host, claim and disk stay."""

from __future__ import annotations

from typing import Any

import pytest
from tests.rig.in_process import Agent, Fleet
from tests.rig.promises import at_rest

from pinfold.agent.wire import GuestReport
from pinfold.core.encoding import plain
from pinfold.service.guests.lifecycle import TRIES, Lifecycle
from pinfold.store.records import GuestRecord, Observed

START, STOP = {"os-start": None}, {"os-stop": None}
SOFT, HARD = {"reboot": {"type": "SOFT"}}, {"reboot": {"type": "HARD"}}


@pytest.fixture
def server(fleet: Fleet) -> str:
    """A server that runs on `c1`; there is a `c2` for it to go to."""
    fleet.host("c1"), fleet.host("c2")
    made = fleet.create("vm", fleet.flavor("pin", vcpus=2, hw_cpu_policy="dedicated"), host="c1")
    fleet.obey()
    return made


def act(fleet: Fleet, server: str, action: dict[str, Any], status: int = 202) -> str:
    answer = fleet.ask("POST", f"/servers/{server}/action", action, status=status)
    return "" if status == 202 else str(answer.json()["conflictingRequest"]["message"])


def words(fleet: Fleet, server: str) -> tuple[str, str, str | None, int]:
    shown = fleet.show(server)
    return shown["status"], shown["OS-EXT-STS:vm_state"], shown["OS-EXT-STS:task_state"], shown["OS-EXT-STS:power_state"]


def fails(agent: Agent, server: str, failure: str, observed: Observed = Observed.STOPPED, *, boot: int | None = None) -> None:
    """The agent says that the boot that is wanted led to nothing."""
    order = agent.order(server)
    told = GuestReport(revision=order["claim"]["revision"], observed=observed, boot=boot or order["boot"], failure=failure)
    assert agent.ask("POST", f"/guests/{server}", plain(told)).status_code == 204


def test_a_server_that_shuts_down_runs_until_it_is_off(fleet: Fleet, server: str) -> None:
    c1 = fleet.agents["c1"]
    revision = c1.order(server)["claim"]["revision"]
    act(fleet, server, STOP)
    assert words(fleet, server) == ("ACTIVE", "active", "powering-off", 1)
    c1.says(server, Observed.RUNNING, boot=1, revision=revision)
    assert words(fleet, server) == ("ACTIVE", "active", "powering-off", 1)
    c1.says(server, Observed.STOPPED, boot=1, revision=revision)
    assert words(fleet, server) == ("SHUTOFF", "stopped", None, 4)
    act(fleet, server, START)
    assert words(fleet, server) == ("SHUTOFF", "stopped", "powering-on", 4)
    c1.obey()
    assert words(fleet, server) == ("ACTIVE", "active", None, 1)


def test_a_server_whose_definition_is_gone_before_it_stops_is_off(fleet: Fleet, server: str) -> None:
    c1 = fleet.agents["c1"]
    act(fleet, server, STOP)
    c1.says(server, Observed.ABSENT, boot=1, revision=c1.order(server)["claim"]["revision"])
    assert words(fleet, server) == ("SHUTOFF", "stopped", None, 4)
    act(fleet, server, START)
    c1.obey()
    assert words(fleet, server) == ("ACTIVE", "active", None, 1)


def test_a_delete_overtakes_a_stop(fleet: Fleet, server: str) -> None:
    act(fleet, server, STOP)
    fleet.ask("DELETE", f"/servers/{server}", status=204)
    assert fleet.agents["c1"].order(server)["desired"] == "absent"
    assert fleet.show(server)["OS-EXT-STS:task_state"] == "deleting"


def test_a_soft_reboot_and_the_hard_one_that_overtakes_it(fleet: Fleet, server: str) -> None:
    c1 = fleet.agents["c1"]
    act(fleet, server, SOFT)
    assert words(fleet, server) == ("REBOOT", "active", "rebooting", 1)
    assert (c1.order(server)["boot"], c1.order(server)["hard"]) == (2, False)
    assert act(fleet, server, SOFT, 409) == f"Cannot 'reboot' instance {server} while it is in task_state rebooting"
    act(fleet, server, HARD)
    assert words(fleet, server) == ("HARD_REBOOT", "active", "rebooting_hard", 1)
    assert (c1.order(server)["boot"], c1.order(server)["hard"]) == (3, True)
    assert act(fleet, server, HARD, 409) == f"Cannot 'reboot' instance {server} while it is in task_state rebooting_hard"
    c1.says(server, Observed.RUNNING, boot=2, revision=c1.order(server)["claim"]["revision"])
    assert words(fleet, server)[2] == "rebooting_hard"
    c1.obey()
    assert words(fleet, server) == ("ACTIVE", "active", None, 1)
    assert c1.order(server)["hard"] is False


def test_a_server_that_is_off_is_rebooted_hard_or_not_at_all(fleet: Fleet, server: str) -> None:
    act(fleet, server, STOP)
    fleet.obey()
    assert act(fleet, server, SOFT, 409) == f"Cannot 'reboot' instance {server} while it is in vm_state stopped"
    act(fleet, server, HARD)
    assert words(fleet, server) == ("SHUTOFF", "stopped", "rebooting_hard", 4)
    fleet.obey()
    assert words(fleet, server) == ("ACTIVE", "active", None, 1)


@pytest.mark.parametrize("again", [START, HARD], ids=["start", "hard reboot"])
@pytest.mark.parametrize("observed", [Observed.STOPPED, Observed.ABSENT], ids=lambda observed: observed.value)
def test_a_later_start_that_fails_leaves_the_server_where_its_disk_is(
    fleet: Fleet, server: str, observed: Observed, again: dict[str, Any]
) -> None:
    c1, held = fleet.agents["c1"], fleet.usage("c1")
    act(fleet, server, STOP)
    c1.obey()
    act(fleet, server, START)
    fails(c1, server, "pCPU 4 is not online on this host", observed)
    shown = fleet.show(server)
    power = 4 if observed is Observed.STOPPED else 0
    assert words(fleet, server) == ("ERROR", "error", None, power)
    assert (shown["OS-EXT-SRV-ATTR:host"], shown["fault"]["code"]) == ("c1", 500)
    assert shown["fault"]["message"] == "The start failed on c1: pCPU 4 is not online on this host"
    assert (fleet.usage("c1"), fleet.usage("c2")) == (held, {})
    assert fleet.agents["c2"].orders()["orders"] == [] and c1.orders()["tombstones"] == []
    at_rest(fleet.database, fleet.services.placement)

    assert act(fleet, server, SOFT, 409) == f"Cannot 'reboot' instance {server} while it is in vm_state error"
    assert act(fleet, server, STOP, 409) == f"Cannot 'stop' instance {server} while it is in vm_state error"
    act(fleet, server, again)
    assert words(fleet, server)[:2] == ("ERROR", "error")
    fails(c1, server, "pCPU 4 is not online on this host", observed, boot=2)
    assert words(fleet, server)[2] is not None, "an old failure ends what was asked since"
    c1.obey()
    shown = fleet.show(server)
    assert (shown["status"], shown["OS-EXT-SRV-ATTR:host"]) == ("ACTIVE", "c1")
    assert "fault" not in shown


def test_a_failure_that_is_told_again_changes_nothing_and_one_that_is_tried_again_is_new(fleet: Fleet, server: str) -> None:
    c1 = fleet.agents["c1"]
    act(fleet, server, HARD)
    fails(c1, server, "no such image")
    first = fleet.show(server)["fault"]
    fails(c1, server, "no such image")
    assert fleet.show(server)["fault"] == first
    act(fleet, server, START)
    fails(c1, server, "no such image")
    assert words(fleet, server)[2] is None
    act(fleet, server, START)
    fails(c1, server, "no such disk")
    assert fleet.show(server)["fault"]["message"].endswith("no such disk")


def test_a_server_that_somebody_started_by_hand_after_a_failure_is_off_and_not_in_error_once_it_is_stopped(
    fleet: Fleet, server: str
) -> None:
    c1 = fleet.agents["c1"]
    act(fleet, server, HARD)
    fails(c1, server, "no such image")
    c1.says(server, Observed.RUNNING, boot=2, revision=c1.order(server)["claim"]["revision"])
    assert words(fleet, server) == ("ACTIVE", "active", None, 1)
    act(fleet, server, STOP)
    fails(c1, server, "no such image")
    assert words(fleet, server) == ("SHUTOFF", "stopped", None, 4)


def test_a_server_whose_start_failed_can_be_deleted(fleet: Fleet, server: str) -> None:
    act(fleet, server, HARD)
    fails(fleet.agents["c1"], server, "no such image", Observed.ABSENT)
    fleet.ask("DELETE", f"/servers/{server}", status=204)
    fleet.obey()
    fleet.ask("GET", f"/servers/{server}", status=404)
    assert fleet.usage("c1") == {}


def test_an_agent_that_says_that_a_server_is_gone_does_not_make_it_begin_elsewhere(fleet: Fleet, server: str) -> None:
    c1 = fleet.agents["c1"]
    act(fleet, server, HARD)
    assert c1.gone(server, c1.order(server)["claim"]["revision"], failure="the order is older than the guest's removal").status_code == 204
    shown = fleet.show(server)
    assert (shown["status"], shown["OS-EXT-SRV-ATTR:host"]) == ("ERROR", "c1")
    assert fleet.usage("c1")["PCPU"] == 2 and fleet.usage("c2") == {}


def test_orders_tell_whether_a_guest_ran_before(fleet: Fleet, server: str) -> None:
    other = fleet.create("vm2", "pin", host="c1")
    c1 = fleet.agents["c1"]
    assert (c1.order(server)["booted"], c1.order(other)["booted"]) == (1, 0)


@pytest.mark.parametrize(("overtaken", "status"), [(1, 202), (TRIES, 409)], ids=["once", "each time"])
def test_a_report_that_comes_between_reading_and_writing_a_server_refuses_no_action(
    fleet: Fleet, server: str, monkeypatch: pytest.MonkeyPatch, overtaken: int, status: int
) -> None:
    """An agent that has just started reports every guest, while users go on."""
    left, c1, quiet = [overtaken], fleet.agents["c1"], Lifecycle._quiet

    def overtake(lifecycle: Lifecycle, guest_id: str, verb: str, *, unless: str = "") -> GuestRecord:
        found = quiet(lifecycle, guest_id, verb, unless=unless)
        if left[0]:
            left[0] -= 1
            order = c1.order(server)
            c1.says(server, Observed.RUNNING, boot=order["boot"], revision=order["claim"]["revision"])
        return found

    monkeypatch.setattr(Lifecycle, "_quiet", overtake)
    for action in (STOP,) if status != 202 else (SOFT, STOP):
        left[0] = overtaken
        said = act(fleet, server, action, status=status)
        assert said == "" or "has changed meanwhile" in said
        c1.obey()

"""What the service is told of guests, and what each sweep repeats."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from tests.agent.script import RULES, G, H, Script, guest, kinds, order

from pinfold.agent.actions import SaveMemory, SendGuest
from pinfold.agent.events import OrdersRead, Outcome, Saved
from pinfold.agent.reconcile import Act, LastBoot, Memory
from pinfold.agent.responses import ParsedOrders
from pinfold.agent.wire import Orders
from pinfold.drivers.port import GuestState
from pinfold.store.records import Desired, Pause


def told(script: Script) -> list[str]:
    """What the service was told of guests, in order."""
    return [f"{action.guest[-1]} {action.report.observed.value}" for action in script.begun if isinstance(action, SendGuest)]


OFF = (order(desired=Desired.STOPPED),)


def test_a_guests_report_is_sent_once_and_again_when_it_changes() -> None:
    script = Script()
    script.plays(OFF, guest())
    script.plays(OFF, guest())
    script.plays(OFF, guest(state=GuestState.CRASHED))
    script.plays(OFF, guest())
    assert told(script) == ["1 stopped", "1 crashed", "1 stopped"]


def test_a_paused_guest_that_could_not_go_on_is_told_with_the_reason_and_tried_again_until_it_runs() -> None:
    script = Script(memory=Memory(booted=(LastBoot(guest=G, boot=1, host_boot="boot-1"),)))
    script.plays((replace(order(), pause=Pause.IN_MEMORY),), guest(state=GuestState.PAUSED))
    goes_on = OrdersRead(parsed=ParsedOrders(orders=Orders(count=2, orders=(order(),))), polled=True, when=script.when())
    script.tell(goes_on)
    for outcome in (Outcome(booted=True, failure="pCPU 3 is taken"), Outcome(booted=True)):
        script.plays((order(),), guest(state=GuestState.PAUSED))
        assert script.performing().task.act is Act.FINISH
        (save,) = [action for action in script.ends(outcome=outcome) if isinstance(action, SaveMemory)]
        script.tell(Saved(memory=save.memory, when=script.when()))
        script.plays((order(),), guest(state=GuestState.PAUSED if outcome.failure else GuestState.RUNNING))
        script.at += 2.0
    reports = [action.report for action in script.begun if isinstance(action, SendGuest)]
    assert [(one.observed.value, one.failure) for one in reports] == [("paused", ""), ("paused", "pCPU 3 is taken"), ("running", "")]


@pytest.mark.parametrize("away", [True, False], ids=["without an answer", "refused"])
def test_the_service_may_have_stored_a_report_that_failed(away: bool) -> None:
    script = Script()
    script.plays(OFF, guest())
    script.plays(OFF, guest(state=GuestState.CRASHED), failing=away)
    script.plays(OFF, guest())
    assert told(script) == ["1 stopped", "1 crashed", "1 stopped"]


def test_a_report_without_an_answer_may_be_stored_late_so_the_next_sweep_repeats_the_newest() -> None:
    script = Script()
    script.plays(OFF, guest(state=GuestState.CRASHED), failing=True)
    script.plays(OFF, guest())
    script.plays(OFF, guest())
    assert told(script) == ["1 crashed", "1 stopped"]
    for _ in range(3):
        script.at += RULES.sweep_seconds
        script.plays(OFF, guest())
    assert told(script) == ["1 crashed", "1 stopped", "1 stopped"]


@pytest.mark.parametrize("away", [True, False], ids=["away", "refusing"])
def test_a_service_that_is_away_ends_the_turn_and_an_error_with_one_guest_does_not(away: bool) -> None:
    script = Script()
    script.plays((*OFF, order(H, Desired.STOPPED)), guest(), guest(H), failing=away)
    assert told(script) == (["1 stopped"] if away else ["1 stopped", "2 stopped"])
    assert f"report of guest {G}: no answer" in script.logged


def test_a_running_guest_is_verified_at_each_sweep() -> None:
    script = Script(memory=Memory(booted=(LastBoot(guest=G, boot=1, host_boot="boot-1"),)))
    for _ in range(3):
        script.plays((order(),), guest(state=GuestState.RUNNING))
        script.plays((order(),), guest(state=GuestState.RUNNING))
        script.at += RULES.sweep_seconds
    assert kinds(script.begun).count("Verify") == 3
    assert told(script) == ["1 running"]


def test_drift_and_hangs_are_logged_when_they_begin_and_when_they_end() -> None:
    script = Script(memory=Memory(booted=(LastBoot(guest=G, boot=1, host_boot="boot-1"),)))
    for drift, hangs in (("", ""), ("a thread strays", ""), ("a thread strays", "no answer"), ("", "")):
        script.plays((order(),), guest(state=GuestState.RUNNING, hangs=hangs), drift=drift)
        script.at += RULES.sweep_seconds
    name = f"guest instance-{G}"
    assert script.logged == [
        f"{name} has drifted: a thread strays",
        f"{name} hangs: no answer",
        f"over: {name} hangs: no answer",
        f"over: {name} has drifted: a thread strays",
    ]

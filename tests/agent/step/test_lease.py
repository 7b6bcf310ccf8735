"""Heartbeats and the lease: what the agent sends while its service waits, and what a silence makes it do."""

from __future__ import annotations

from tests.agent.script import LEASE, guest, kinds, order, up

from pinfold.agent.actions import Look, ReadOrders, SendHeartbeat
from pinfold.agent.events import Saved
from pinfold.drivers.port import GuestState


def test_a_heartbeat_is_sent_while_a_look_takes_long_but_not_longer_than_the_lease() -> None:
    script = up()
    script.sees()
    script.welcome()
    assert kinds(script.passes(LEASE * 0.25)) == ["Look"]
    beats = 0
    for _ in range(40):
        if SendHeartbeat() in script.passes(LEASE * 0.1):
            beats += 1
            script.welcome()
    assert beats == 2  # the look began at a quarter of the lease, and takes longer than the lease from one and a quarter on


def test_no_heartbeat_hides_that_the_last_look_failed() -> None:
    script = up()
    script.sees()
    script.welcome()
    script.passes(LEASE * 0.25)
    script.fails(Look(), "libvirt is away", away=False)
    assert SendHeartbeat() not in [action for _ in range(9) for action in script.passes(LEASE * 0.1)]


def test_only_a_turn_ends_a_silence() -> None:
    script = up()
    script.sees()
    script.welcome()
    script.passes(LEASE * 0.25)
    script.at += LEASE
    assert script.passes(0.0) == []


def test_a_turn_waits_for_the_heartbeat_that_is_under_way_and_begins_nothing() -> None:
    script = up(order())
    script.sees(guest(state=GuestState.RUNNING))
    script.welcome()
    assert kinds(script.tell(Saved(memory=script.state.memory, when=script.when()))) == ["Verify"]
    assert SendHeartbeat() in script.passes(LEASE * 0.5)
    script.fails(script.begun[-2], "procfs is away", away=False)
    script.passes(LEASE * 0.3)
    assert kinds(script.sees()) == []
    script.fails(SendHeartbeat())
    assert "no heartbeat: no answer" in script.logged
    assert script.begun[-1] == SendHeartbeat()  # the turn's own


def test_a_heartbeat_that_finds_another_report_at_the_service_makes_the_next_turn_send_it_again() -> None:
    script = up()
    script.sees()
    script.welcome("new")
    script.passes(LEASE * 0.25)
    assert kinds(script.sees()) == ["SendHeartbeat"]
    assert kinds(script.welcome("old")) == ["Look"]
    assert kinds(script.sees()) == ["SendReport"]


def test_a_report_without_an_answer_is_sent_again() -> None:
    script = up()
    (sent,) = script.sees()
    script.fails(sent)
    script.passes(LEASE)
    assert script.begun[-1] == ReadOrders()
    script.orders()
    assert script.sees() == [sent]

"""Heartbeats and the lease: what the agent sends while its service waits, and what a silence makes it do."""

from __future__ import annotations

from msgspec.structs import replace
from tests.agent.script import LEASE, Script, guest, kinds, order, up

from pinfold.agent.actions import Action, Look, PollOrders, ReadOrders, SendHeartbeat, SendReport
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


def polling() -> Script:
    """An agent whose report is answered and whose poll, which began before that, has just ended: the next one is a sign of life."""
    script = up()
    script.sees()
    script.welcome()
    script.at += 1.0
    assert PollOrders(after=1, wait=LEASE / 3, alive=True) in script.poll_ends(renewed=False)
    return script


def lives(script: Script, seconds: float, *, renewed: bool = True, digest: str = "d") -> list[Action]:
    """Let time pass while the service answers all that the agent asks, polls after their wait; what the agent asked."""
    until, asked, ends = script.at + seconds, [], script.at + LEASE / 3
    while script.at < until:
        waiting = script.passes(0.25)
        if script.state.polling and script.at >= ends:
            waiting += script.poll_ends(digest, renewed=renewed)
            ends = script.at + LEASE / 3
        while waiting:
            action = waiting.pop(0)
            asked.append(action)
            if isinstance(action, Look):
                waiting += script.sees()
            elif isinstance(action, SendHeartbeat | SendReport):
                waiting += script.welcome()
    return asked


def test_a_poll_that_ends_without_news_after_newer_orders_were_read_takes_none_of_them_away() -> None:
    script = polling()
    script.passes(2 * LEASE)
    assert script.begun[-1] == ReadOrders()
    assert script.state.polling
    script.orders(order(), count=2)
    script.poll_ends()  # with the count 1, and no orders
    assert script.state.orders is not None
    assert [one.guest for one in script.state.orders.orders] == [order().guest]


def test_no_heartbeat_is_sent_while_polls_prolong_the_lease() -> None:
    script = polling()
    lives(script, LEASE)
    asked = kinds(lives(script, 20 * LEASE))
    assert "SendHeartbeat" not in asked
    assert asked.count("Look") > 40  # the host is looked at as often as before
    assert 50 < asked.count("PollOrders") <= 61


def test_heartbeats_are_sent_to_a_service_that_prolongs_no_lease_by_polls() -> None:
    script = polling()
    assert 30 < kinds(lives(script, 10 * LEASE, renewed=False)).count("SendHeartbeat") <= 40


def test_a_poll_that_has_no_answer_in_time_makes_the_agent_send_a_heartbeat_before_the_lease_ends() -> None:
    script = polling()
    lives(script, 2 * LEASE)
    began = script.state.lease.spoke
    while "SendHeartbeat" not in kinds(asked := script.passes(0.1)):
        assert script.at - began < LEASE
        if "Look" in kinds(asked):
            script.sees()
    assert 0.7 * LEASE < script.at - began < 0.8 * LEASE


def test_a_poll_that_fails_makes_the_agent_send_heartbeats_again() -> None:
    script = polling()
    lives(script, 2 * LEASE)
    script.fails(PollOrders(after=1, wait=LEASE / 3, alive=True))
    assert not script.state.lease.polls
    assert SendHeartbeat() in lives(script, LEASE / 4, renewed=False)


def test_a_poll_is_no_sign_of_life_while_the_host_cannot_be_looked_at() -> None:
    script = polling()
    script.passes(LEASE * 0.25)
    script.fails(Look(), "libvirt is away", away=False)
    assert PollOrders(after=1, wait=LEASE / 3, alive=False) in script.poll_ends()


def test_after_a_silence_no_poll_is_sent_until_the_host_is_up() -> None:
    script = polling()
    script.at += 2 * LEASE
    before = len(script.begun)
    script.fails(PollOrders(after=1, wait=LEASE / 3, alive=True))
    for _ in range(8):
        script.passes(LEASE / 2)
    assert kinds(script.begun[before:]) == ["ReadOrders"], "the service is away"
    assert kinds(script.orders(order(), count=2)) == ["Look"]
    assert kinds(script.sees()) == ["SendHeartbeat"]
    script.welcome()
    script.passes(1.0)
    assert PollOrders(after=2, wait=LEASE / 3, alive=True) in script.begun


def test_a_poll_that_began_before_a_look_hung_is_followed_by_others() -> None:
    script = polling()
    assert "Look" in kinds(script.passes(LEASE / 4))
    script.at += 2 * LEASE
    assert PollOrders(after=1, wait=LEASE / 3, alive=False) in script.poll_ends(renewed=False)


def test_a_poll_that_finds_another_report_at_the_service_makes_the_next_turn_send_it_again() -> None:
    script = polling()
    assert SendReport not in map(type, lives(script, LEASE))
    script.at += LEASE / 3
    assert "Look" in kinds(script.poll_ends("another"))
    assert kinds(script.sees()) == ["SendReport"]


def test_a_poll_that_began_before_the_last_report_was_answered_says_nothing_about_it() -> None:
    script = polling()
    lives(script, LEASE)
    script.state = replace(script.state, lease=replace(script.state.lease, told=script.at + 0.1, digest="new"))
    script.at += LEASE / 3
    script.poll_ends("d")
    assert script.state.lease.reported is not None

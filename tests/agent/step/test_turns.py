"""The turns of an agent, and the orders that they begin with. State in, state out."""

from __future__ import annotations

import pytest
from tests.agent.script import LEASE, RULES, G, H, Script, guest, kinds, order, up, up_and_polling

from pinfold.agent.actions import Announce, Look, Perform, PollOrders, ReadOrders, SendReport
from pinfold.agent.events import HostChanged
from pinfold.agent.reconcile import Act, LastBoot, Memory
from pinfold.agent.responses import RefusedOrder
from pinfold.agent.state import starting
from pinfold.agent.step import step
from pinfold.agent.wire import Orders
from pinfold.drivers.port import Event, EventKind
from pinfold.host.loop_events import Moment, Tick
from pinfold.store.records import Desired


def test_the_same_state_and_event_give_the_same_answer_and_the_old_state_stays() -> None:
    state, tick = starting(Memory(), RULES, 0.0), Tick(when=Moment(at=1.0))
    first, second = step(state, tick), step(state, tick)
    assert first == second
    assert state == starting(Memory(), RULES, 0.0)


def test_nothing_is_begun_before_the_service_has_accepted_the_hosts_report() -> None:
    script = up(order())
    assert kinds(script.sees()) == ["SendReport"]
    begun = script.welcome()
    assert kinds(begun) == ["Announce", "Perform", "PollOrders"]
    perform = begun[1]
    assert isinstance(perform, Perform)
    assert (perform.task.act, perform.task.guest, perform.ran) == (Act.START, G, False)


@pytest.mark.parametrize("seconds", [0.0, 11.0], ids=["at once", "late"])
def test_the_process_is_told_once_whether_the_host_has_reported(seconds: float) -> None:
    script = up()
    script.passes(seconds)
    script.sees()
    script.welcome()
    script.passes(LEASE)
    script.sees(guest(H))  # a stranger: the report changes
    script.welcome()
    assert [action for action in script.begun if isinstance(action, Announce)] == [Announce(reported=seconds == 0.0)]


def test_a_turn_that_fails_is_tried_again_after_a_pause_and_logged_once() -> None:
    script = up()
    for _ in range(3):
        assert script.fails(Look(), "libvirt is away", away=False) == []
        assert kinds(script.passes(1.0)) == []
        assert "ReadOrders" in kinds(script.passes(1.0))
        assert kinds(script.orders()) == ["Look"]
    script.sees()
    script.welcome()
    assert script.logged == ["libvirt is away", "over: libvirt is away"]


def test_an_event_within_a_turn_makes_another_turn_follow_at_once() -> None:
    script = up()
    script.tell(HostChanged(event=Event(kind=EventKind.STARTED, guest="x"), when=script.when()))
    script.sees()
    assert kinds(script.welcome()) == ["Announce", "PollOrders", "Look"]


def test_orders_that_come_within_a_turn_count_from_the_next_one() -> None:
    script = up_and_polling()
    assert "Look" in kinds(script.passes(LEASE / 4))
    assert kinds(script.orders(order(), count=2, polled=True)) == ["PollOrders"]
    assert kinds(script.sees()) == ["SendHeartbeat"]
    assert kinds(script.welcome()) == ["Look"]
    assert kinds(script.sees()) == ["Perform"]


def test_a_poll_whose_answer_was_overtaken_by_a_reading_changes_nothing_and_the_next_poll_asks_again() -> None:
    script = up_and_polling()
    script.passes(LEASE + 1)  # the answer hangs; the turn after the silence reads the orders anew
    assert script.begun[-1] == ReadOrders()
    script.orders(order(), count=7)
    begun = script.orders(order(desired=Desired.STOPPED), count=6, polled=True)
    assert script.state.orders == Orders(count=7, orders=(order(),))
    begun += script.sees()
    begun += script.welcome()
    assert [action.after for action in begun if isinstance(action, PollOrders)] == [7]
    assert [action.task.order for action in begun if isinstance(action, Perform)] == [order()]


def test_a_reading_that_was_overtaken_by_a_poll_goes_on_with_what_the_poll_told() -> None:
    script = Script(memory=Memory(booted=(LastBoot(guest=G, boot=1, host_boot="boot-1"),)))
    script.passes(0.0)
    script.orders(order())
    script.sees()
    assert "ReadOrders" in kinds(script.welcome())  # a guest that ran here is missing
    script.passes(0.5)
    assert "PollOrders" in kinds(script.orders(order(boot=2), count=2, polled=True))
    script.orders(order(boot=3), count=3, polled=True)
    assert kinds(script.orders(order(boot=2), count=2)) == ["Look"]
    assert script.state.orders == Orders(count=3, orders=(order(boot=3),))
    script.sees()
    assert script.performing().task.order == order(boot=3)


def test_orders_with_a_lower_count_are_followed_if_they_were_asked_for_later() -> None:
    script = up_and_polling(order(boot=9))
    script.orders(order(boot=8), count=0, polled=True)  # the service's database was restored
    assert script.state.orders == Orders(count=0, orders=(order(boot=8),))


def test_after_a_silence_the_orders_are_read_anew_before_the_host_is_reported() -> None:
    script = up()
    script.sees()
    script.welcome()
    script.passes(LEASE + 1)
    assert script.begun[-1] == ReadOrders()
    assert script.fails(ReadOrders()) == []
    script.passes(LEASE)
    assert script.begun[-1] == ReadOrders()
    assert kinds(script.orders()) == ["Look"]


def test_a_look_that_outlasts_the_lease_counts_for_nothing_until_the_orders_are_read_anew() -> None:
    script = up()
    script.sees()
    script.welcome()
    assert kinds(script.passes(LEASE * 0.25)) == ["Look"]
    script.at += LEASE
    assert script.sees() == [ReadOrders()]
    assert kinds(script.orders()) == ["Look"]
    script.at += LEASE
    assert kinds(script.sees()) == ["SendHeartbeat"]


def test_a_service_that_answers_at_once_with_nothing_new_is_asked_again_after_a_pause() -> None:
    script = up_and_polling()
    assert kinds(script.orders(count=1, polled=True)) == []
    assert "PollOrders" not in kinds(script.passes(0.5))
    assert "PollOrders" in kinds(script.passes(0.5))
    script.at += 1.5
    assert "PollOrders" in kinds(script.orders(count=1, polled=True))


def test_a_poll_that_fails_is_tried_again_and_logged_once() -> None:
    script = up_and_polling()
    for _ in range(2):
        script.fails(PollOrders(after=-1, wait=25.0))
        assert "PollOrders" in kinds(script.passes(script.state.poll_again - script.at))
    script.orders(count=2, polled=True)
    assert script.logged == ["no orders: no answer", "over: no orders: no answer"]


def test_a_refused_order_is_logged_once_and_its_guest_is_no_stranger() -> None:
    script, refused = Script(), (RefusedOrder(place="order 1", guest=G, why="it is damaged"),)
    script.passes(0.0)
    script.orders(refused=refused)
    assert script.logged == [refused[0].sentence()]
    (sent,) = script.sees(guest(G))
    assert isinstance(sent, SendReport)
    assert sent.report.foreign == ()
    script.orders(refused=refused, count=2, polled=True)
    assert len(script.logged) == 1

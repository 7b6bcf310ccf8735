"""A service that is busy says when it may be asked again, and its agents keep to that."""

from __future__ import annotations

from msgspec.structs import replace
from tests.agent.script import LEASE, RULES, G, Script, kinds, order, up, up_and_polling

from pinfold.agent.actions import Audit, Look, PollOrders, ReadOrders, SendFindings, SendHeartbeat, SendReport
from pinfold.agent.events import Audited, HostChanged
from pinfold.agent.step import BACKOFF_SECONDS, due_at
from pinfold.core.drift.written import findings_report
from pinfold.drivers.port import Event, EventKind

AGAIN = 20.0


def begun_within(script: Script, seconds: float) -> list[str]:
    """What the agent begins in that time, in which it wakes each half second."""
    return [kind for _ in range(int(2 * seconds)) for kind in kinds(script.passes(0.5))]


def test_orders_are_not_read_before_the_service_wants_to_be_asked() -> None:
    script = Script()
    script.passes(0.0)
    script.fails(ReadOrders(), "the service failed: come again", again=AGAIN)
    assert due_at(script.state) == script.at + AGAIN
    assert set(begun_within(script, AGAIN - 0.5)) <= {"Announce"}
    assert kinds(script.passes(0.5)) == ["ReadOrders"]


def test_a_report_that_was_refused_is_sent_again_when_the_service_wants_it_whatever_happens_on_the_host() -> None:
    script = up()
    assert kinds(script.sees()) == ["SendReport"]
    report = next(action for action in script.begun if isinstance(action, SendReport))
    script.fails(report, "the service failed: come again", again=AGAIN)
    changed = Event(guest=G, kind=EventKind.STARTED)
    assert kinds(script.tell(HostChanged(event=changed, when=script.when()))) == []
    assert set(begun_within(script, AGAIN - 0.5)) <= {"Announce"}
    # The service has been silent for a lease by then: the turn begins with the orders.
    assert kinds(script.passes(0.5)) == ["ReadOrders"]
    assert kinds(script.orders(order())) == ["Look"]


def test_a_poll_that_was_refused_is_sent_again_when_the_service_wants_it() -> None:
    script = up()
    script.sees()
    script.welcome()
    poll = next(action for action in script.begun if isinstance(action, PollOrders))
    script.fails(poll, "the service failed: come again", again=3.0)
    polls = [0.5 * number for number in range(1, 9) if any(isinstance(one, PollOrders) for one in script.passes(0.5))]
    assert polls == [3.0]


def test_a_report_of_findings_that_was_refused_holds_up_no_heartbeat() -> None:
    script = up()
    script.sees()
    script.welcome()
    assert any(isinstance(action, Audit) for action in script.begun)
    script.tell(Audited(findings=(), when=script.when()))
    assert any(isinstance(action, SendFindings) for action in script.begun)
    script.fails(SendFindings(report=findings_report(())), "the service failed: come again", again=AGAIN)
    found = [action for _ in range(10) for action in script.passes(LEASE * 0.1)]
    assert SendHeartbeat() in found
    assert not any(isinstance(action, SendFindings) for action in found)


def blind() -> Script:
    """An agent that cannot look at its host, and polls the service all the same."""
    script = up()
    script.fails(Look(), "libvirt is away", away=False)
    assert "PollOrders" in kinds(script.passes(LEASE / 4))
    return script


def pauses_of_polls(script: Script, count: int) -> list[float]:
    """Let so many polls fail, one after another, and say after how many seconds each was sent again."""
    poll, pauses = next(action for action in reversed(script.begun) if isinstance(action, PollOrders)), []
    for _ in range(count):
        script.fails(poll)
        again = script.state.poll_again
        pauses.append(again - script.at)
        script.at = again
        poll = next(action for action in script.passes(0.0) if isinstance(action, PollOrders))
    return pauses


def test_polls_that_fail_are_sent_ever_more_seldom_and_those_of_other_hosts_at_other_moments() -> None:
    one, other = blind(), blind()
    other.state = replace(other.state, rules=replace(RULES, owner="the agent of c2"))
    ones, others = pauses_of_polls(one, 8), pauses_of_polls(other, 8)
    bare = [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]
    for pauses in (ones, others):
        assert all(pause <= found < 1.5 * pause for pause, found in zip(bare, pauses, strict=True))
    assert not set(ones) & set(others)


def test_a_service_that_answers_again_is_polled_soon() -> None:
    script = up_and_polling()
    pauses_of_polls(script, 2)
    poll = next(action for action in reversed(script.begun) if isinstance(action, PollOrders))
    script.fails(poll)
    assert script.state.poll_again >= script.at + 4.0
    assert script.begun.count(SendHeartbeat()) == 1
    script.welcome()
    assert script.state.poll_again == script.at + BACKOFF_SECONDS
    assert pauses_of_polls(script, 1)[0] < 1.5, "it begins anew"

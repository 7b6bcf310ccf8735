"""The agent as a function: what it begins after which event. State in, state out."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from tests.agent.script import CLAIM, LEASE, RULES, G, H, Script, guest, id_of, kinds, order

from pinfold.agent.actions import (
    Announce,
    Confirm,
    Look,
    Perform,
    PollOrders,
    ReadOptions,
    ReadOrders,
    SaveMemory,
    SaveStories,
    SendGuest,
    SendHeartbeat,
    SendReport,
    Verify,
)
from pinfold.agent.events import Confirmed, HostChanged, HungUp, Moment, OptionsRead, Outcome, Saved, Stop, StoriesSaved, Tick
from pinfold.agent.reconcile import Act, LastBoot, Memory
from pinfold.agent.responses import RefusedOrder
from pinfold.agent.state import STARTS_AT_ONCE, starting
from pinfold.agent.step import step
from pinfold.agent.wire import GuestOrder
from pinfold.core.options import Option
from pinfold.drivers.port import Event, EventKind, GuestState
from pinfold.store.records import Desired, Tombstone


def up(*orders: GuestOrder) -> Script:
    """An agent that has read its orders, and whose look is under way."""
    script = Script()
    assert kinds(script.passes(0.0)) == ["ReadOrders"]
    assert kinds(script.orders(*orders)) == ["Look", "PollOrders"]
    return script


# -- turns -------------------------------------------------------------------------------------------------------------------------------


def test_the_same_state_and_event_give_the_same_answer_and_the_old_state_stays() -> None:
    state, tick = starting(Memory(), RULES, 0.0), Tick(when=Moment(at=1.0))
    first, second = step(state, tick), step(state, tick)
    assert first == second
    assert state == starting(Memory(), RULES, 0.0)


def test_nothing_is_begun_before_the_service_has_accepted_the_hosts_report() -> None:
    script = up(order())
    assert kinds(script.sees()) == ["SendReport"]
    begun = script.welcome()
    assert kinds(begun) == ["Announce", "Perform"]
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
        assert kinds(script.passes(1.0)) == ["ReadOrders"]
        assert kinds(script.orders()) == ["Look"]
    script.sees()
    script.welcome()
    assert script.logged == ["libvirt is away", "over: libvirt is away"]


def test_an_event_within_a_turn_makes_another_turn_follow_at_once() -> None:
    script = up()
    script.tell(HostChanged(event=Event(kind=EventKind.STARTED, guest="x"), when=script.when()))
    script.sees()
    assert kinds(script.welcome()) == ["Announce", "Look"]


def test_orders_that_come_within_a_turn_count_from_the_next_one() -> None:
    script = up()
    assert kinds(script.orders(order(), count=2, polled=True)) == ["PollOrders"]
    script.sees()
    assert kinds(script.welcome()) == ["Announce", "Look"]
    assert kinds(script.sees()) == ["Perform"]


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
    script = up()
    assert kinds(script.orders(count=1, polled=True)) == []
    assert "PollOrders" not in kinds(script.passes(0.5))
    assert PollOrders(after=1) in script.passes(0.5)
    script.at += 20
    assert PollOrders(after=1) in script.orders(count=1, polled=True)


def test_a_poll_that_fails_is_tried_again_and_logged_once() -> None:
    script = up()
    for _ in range(3):
        script.fails(PollOrders(after=-1))
        assert PollOrders(after=1) in script.passes(1.0)
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


# -- the lease ---------------------------------------------------------------------------------------------------------------------------


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


# -- tasks -------------------------------------------------------------------------------------------------------------------------------


def removing() -> Script:
    """An agent that has performed a removal: the save of its tombstone is under way."""
    script = up(order(desired=Desired.ABSENT))
    script.sees(guest())
    assert kinds(script.welcome()) == ["Announce", "Perform"]
    assert kinds(script.ends(outcome=Outcome(gone=True))) == ["SaveMemory"]
    return script


def test_a_removal_is_confirmed_only_once_its_tombstone_is_in_its_file() -> None:
    script = removing()
    memory = script.state.memory
    assert memory.tombstones == (Tombstone(guest=G, revision=3, claim=CLAIM),)
    begun = script.tell(Saved(memory=memory, when=script.when()))
    assert [action for action in begun if isinstance(action, Confirm)] != []
    script.tell(Confirmed(guest=G, when=script.when()))
    assert script.state.guests[G].work is None


def test_a_memory_that_cannot_be_written_confirms_nothing_and_lets_nothing_begin() -> None:
    script = removing()
    script.fails(SaveMemory(memory=script.state.memory), "the disk is full", away=False)
    assert f"remove of guest {G} is tried again: the disk is full" in script.logged
    script.orders(order(H), order(desired=Desired.ABSENT), count=2, polled=True)
    before = len(script.begun)
    for _ in range(3):
        script.plays((), guest())
        assert script.begun[-1] == SaveMemory(memory=script.state.memory)
        script.fails(script.begun[-1], "the disk is full", away=False)
    assert not {"Perform", "Confirm"} & set(kinds(script.begun[before:]))
    assert script.logged[-1] == "the disk is full"


def test_a_confirmation_without_an_answer_is_repeated_with_its_reason() -> None:
    script = up(order())
    script.sees()
    script.welcome()
    script.ends(outcome=Outcome(gone=True, failure="no such image"))
    script.tell(Saved(memory=script.state.memory, when=script.when()))
    (first,) = [action for action in script.begun if isinstance(action, Confirm)]
    assert first.absence.failure == "no such image"
    script.fails(first)
    script.at += 1
    script.plays(())
    again = script.begun[-1]
    assert isinstance(again, Perform)
    assert again.task.act is Act.REFUSE_STALE
    script.ends(outcome=Outcome(gone=True, failure="the order is stale"))
    script.tell(Saved(memory=script.state.memory, when=script.when()))
    assert [action for action in script.begun if isinstance(action, Confirm)] == [first, first]


def test_a_boot_is_in_the_memory_and_in_its_file_before_the_guest_is_reported() -> None:
    script = up(order())
    script.sees()
    script.welcome()
    begun = script.ends(outcome=Outcome(booted=True))
    assert begun[0] == SaveMemory(memory=Memory(booted=(LastBoot(guest=G, boot=1, host_boot="boot-1"),)))


def test_a_guest_that_an_agent_started_which_died_is_adopted() -> None:
    script = up(order(boot=4))
    script.sees(guest(state=GuestState.RUNNING))
    begun = script.welcome()
    memory = Memory(booted=(LastBoot(guest=G, boot=4, host_boot="boot-1"),))
    assert SaveMemory(memory=memory) in begun
    assert kinds(script.tell(Saved(memory=memory, when=script.when()))) == ["Verify"]


def test_a_memory_that_changed_while_it_was_written_is_written_again() -> None:
    script = up(order(), order(H))
    script.sees()
    script.welcome()
    (first,) = [action for action in script.ends(G, outcome=Outcome(booted=True)) if isinstance(action, SaveMemory)]
    assert SaveMemory not in [type(action) for action in script.ends(H, outcome=Outcome(booted=True))]
    begun = script.tell(Saved(memory=first.memory, when=script.when()))
    assert [len(action.memory.booted) for action in begun if isinstance(action, SaveMemory)] == [2]


def test_only_a_few_guests_are_started_at_a_time() -> None:
    guests = [id_of(number) for number in range(1, STARTS_AT_ONCE + 3)]
    script = up(*map(order, guests))
    script.sees()
    assert kinds(script.welcome()).count("Perform") == STARTS_AT_ONCE
    begun = script.fails(script.performing(G), "libvirt is away")
    assert kinds(begun).count("Perform") == 1
    script.tell(Stop(when=script.when()))
    begun = script.fails(script.performing(H), "libvirt is away")
    assert "Perform" not in kinds(begun)


def test_a_task_that_failed_is_tried_again_later_and_logged_once() -> None:
    script = up(order())
    script.sees()
    script.welcome()
    for seconds in (1, 2, 4):
        script.fails(script.performing(), "libvirt is away")
        before = kinds(script.begun).count("Perform")
        until = script.at + seconds
        while kinds(script.begun).count("Perform") == before:
            script.plays(())
        assert until <= script.at < until + LEASE
    assert script.logged == [f"start of guest {G} is tried again: libvirt is away"]


def test_what_a_look_saw_of_a_guest_that_was_moving_is_not_used() -> None:
    script = up(order())
    script.sees()
    script.welcome()
    script.passes(LEASE * 0.25)
    assert script.begun[-1] == Look()
    script.ends(outcome=Outcome(booted=True))
    script.tell(Saved(memory=script.state.memory, when=script.when()))
    script.sees()  # it is not there yet
    before = len(script.begun)
    script.welcome()
    assert not [action for action in script.begun[before:] if isinstance(action, Perform | SendGuest | Verify)]


# -- reports of guests -------------------------------------------------------------------------------------------------------------------


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


# -- SIGHUP ------------------------------------------------------------------------------------------------------------------------------


def test_a_hangup_logs_which_options_differ_and_changes_nothing() -> None:
    script = Script()
    script.passes(0.0)
    before = script.state
    assert script.tell(HungUp(when=script.when())) == [ReadOptions()]
    script.tell(OptionsRead(options=(Option(key="[a] b", value="2"), Option(key="[a] c", value="x", secret=True)), when=script.when()))
    (sentence,) = script.logged
    assert sentence == (
        "SIGHUP: the configuration was read again: [a] b was '1' and is '2', [a] c has another value, which is secret; "
        "start this process again to use it"
    )
    assert script.state == before


def test_a_configuration_that_is_wrong_now_is_one_sentence() -> None:
    script = Script()
    script.passes(0.0)
    before = script.state
    script.fails(ReadOptions(), "[a] b in c.conf: 'x' is not allowed", away=False)
    assert script.logged == [
        "SIGHUP: the configuration stays as it was, because what is in its files now is wrong: [a] b in c.conf: 'x' is not allowed"
    ]
    assert script.state == before


# -- the end, and stories ----------------------------------------------------------------------------------------------------------------


def test_an_agent_that_ends_begins_nothing_and_waits_for_what_is_under_way() -> None:
    script = removing()
    script.tell(Stop(when=script.when()))
    assert not script.state.idle
    script.passes(LEASE)
    (confirm,) = script.tell(Saved(memory=script.state.memory, when=script.when()))
    assert isinstance(confirm, Confirm)
    script.tell(Confirmed(guest=G, when=script.when()))
    for action in (action for action in script.begun if isinstance(action, SaveStories)):
        script.tell(StoriesSaved(stories=action.stories, when=script.when()))
    while script.state.saving_stories:
        script.tell(StoriesSaved(stories=script.state.stories, when=script.when()))
    if script.state.turn is not None:
        script.sees()
    assert script.state.idle
    assert script.passes(100.0) == []


def test_a_story_tells_what_happened_to_a_guest_and_no_strangers() -> None:
    script = Script()
    script.plays((order(),))
    script.ends(outcome=Outcome(booted=True))
    script.tell(Saved(memory=script.state.memory, when=script.when()))
    script.plays((order(),), guest(state=GuestState.RUNNING), guest(H, revision=9))
    script.tell(HostChanged(event=Event(kind=EventKind.STOPPED, guest=G, detail="failed"), when=script.when()))
    script.plays((order(),), guest(state=GuestState.CRASHED))
    story = script.state.stories[G]
    assert story.name == "server-1"
    assert [entry.what for entry in story.entries] == [
        f"an agent begins; the service orders: running, boot 1, claim {id_of(99)} of revision 3",
        "start begins",
        "start: done",
        "it is running",
        "the service is told: running",
        "the hypervisor says: stopped failed",
        "it is crashed",
        "the service is told: crashed",
    ]
    assert story.entries[0].time == 1e9 + 1000


def test_stories_are_written_soon_but_not_all_the_time() -> None:
    script = Script()
    script.plays((order(),))
    (first,) = [action for action in script.begun if isinstance(action, SaveStories)]
    assert not [
        action for action in script.tell(StoriesSaved(stories=first.stories, when=script.when())) if isinstance(action, SaveStories)
    ]
    assert [action for action in script.passes(1.0) if isinstance(action, SaveStories)]


def test_a_running_guest_gets_its_record_amended_after_its_claim() -> None:
    script = Script(Memory(booted=(LastBoot(guest=G, boot=1, host_boot="boot-1"),)))
    amended = replace(order(), revision=8)
    script.plays((amended,), guest(state=GuestState.RUNNING, revision=3))
    begun = [action for action in script.begun if isinstance(action, Perform)]
    assert [(action.task.act, action.order) for action in begun] == [(Act.AMEND, amended)]
    script.ends(outcome=Outcome())
    script.plays((amended,), guest(state=GuestState.RUNNING, revision=8))
    assert [action for action in script.begun if isinstance(action, Perform)] == begun

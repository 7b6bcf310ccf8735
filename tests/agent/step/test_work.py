"""The work on guests: tasks, what is saved of them, and what is confirmed."""

from __future__ import annotations

from copy import deepcopy

from msgspec.structs import replace
from tests.agent.script import CLAIM, FACTS, LEASE, G, H, Script, guest, id_of, kinds, order, removing, up
from tests.build.orders import amended

from pinfold.agent.actions import Confirm, Look, Perform, SaveMemory, SendGuest, Verify
from pinfold.agent.events import Confirmed, Outcome, Saved
from pinfold.agent.reconcile import Act, LastBoot, Memory
from pinfold.agent.state import STARTS_AT_ONCE
from pinfold.drivers.port import GuestState
from pinfold.host.loop_events import Stop
from pinfold.store.records import Desired, Pause, Tombstone


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


def test_a_guest_that_ran_and_is_missing_is_started_only_by_orders_that_were_read_since() -> None:
    script = Script(memory=Memory(booted=(LastBoot(guest=G, boot=1, host_boot="boot-1"),)))
    script.passes(0.0)
    script.orders(order())
    script.sees()
    assert kinds(script.welcome()) == ["Announce", "ReadOrders", "PollOrders"], "it is missing"
    removed, started = deepcopy(script), deepcopy(script)

    assert kinds(removed.orders(count=2)) == ["Look"]
    removed.sees()
    assert "Perform" not in kinds(removed.begun), "the service forgot it, and somebody removed it"
    assert removed.state.turn is None

    assert kinds(started.orders(order())) == ["Look"]
    started.sees()
    assert started.performing().task.act is Act.START
    assert started.state.turn is None


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


def test_a_running_guest_gets_its_record_amended_after_its_claim() -> None:
    script = Script(Memory(booted=(LastBoot(guest=G, boot=1, host_boot="boot-1"),)))
    changed = amended(order(), revision=8)
    script.plays((changed,), guest(state=GuestState.RUNNING, revision=3))
    begun = [action for action in script.begun if isinstance(action, Perform)]
    assert [(action.task.act, action.task.order) for action in begun] == [(Act.AMEND, changed)]
    script.ends(outcome=Outcome())
    script.plays((changed,), guest(state=GuestState.RUNNING, revision=8))
    assert [action for action in script.begun if isinstance(action, Perform)] == begun


def test_the_service_is_told_that_a_guest_could_not_follow_its_claim_until_the_claim_changes_again() -> None:
    script = Script(Memory(booted=(LastBoot(guest=G, boot=1, host_boot="boot-1"),)))
    changed = amended(order(), revision=8)
    here = guest(state=GuestState.RUNNING, revision=3)
    script.plays((changed,), here)
    script.ends(outcome=Outcome(failure="pCPU 3 is not in its cpuset"))
    assert f"amend of guest {G} is tried again: pCPU 3 is not in its cpuset" in script.logged
    script.plays((changed,), here)
    told = [action.report for action in script.begun if isinstance(action, SendGuest)]
    assert (told[-1].revision, told[-1].unmoved) == (3, "pCPU 3 is not in its cpuset")
    back = amended(order(), revision=9)
    script.orders(back, count=2, polled=True)
    script.plays((back,), here)
    script.ends(outcome=Outcome())
    script.plays((back,), guest(state=GuestState.RUNNING, revision=9))
    told = [action.report for action in script.begun if isinstance(action, SendGuest)]
    assert (told[-1].revision, told[-1].unmoved) == (9, "")
    assert f"over: amend of guest {G} is tried again: pCPU 3 is not in its cpuset" in script.logged


def test_a_guest_that_cannot_be_paused_is_told_of_and_left_until_its_order_changes() -> None:
    paused = replace(order(), pause=Pause.ON_DISK)
    script = Script(memory=Memory(booted=(LastBoot(guest=G, boot=1, host_boot=FACTS.host_boot),)))
    running = guest(state=GuestState.RUNNING)
    script.plays((paused,), running)
    assert script.performing().task.act is Act.SUSPEND
    script.ends(outcome=Outcome(not_paused="it has a host device"))
    script.at += 2
    before = len(script.begun)
    script.plays((paused,), running)
    assert [one.report.not_paused for one in script.begun[before:] if isinstance(one, SendGuest)] == ["it has a host device"]
    assert not [one for one in script.begun[before:] if isinstance(one, Perform)]
    script.orders(order(), count=2, polled=True)
    script.orders(paused, count=3, polled=True)
    script.at += 2
    script.plays((paused,), running)
    script.plays((paused,), running)
    assert [one.task.act for one in script.begun if isinstance(one, Perform)] == [Act.SUSPEND, Act.SUSPEND]
    assert script.state.guests[G].not_paused == ""

"""The stories of guests, as the agent tells and writes them."""

from __future__ import annotations

from tests.agent.script import G, H, Script, guest, id_of, order

from pinfold.agent.actions import SaveMemory, SaveStories
from pinfold.agent.events import HostChanged, Outcome, Saved, StoriesSaved
from pinfold.agent.pace import LONGEST_SECONDS
from pinfold.agent.reconcile import LastBoot, Memory
from pinfold.drivers.port import Event, EventKind, GuestState


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


def test_a_guest_that_cannot_go_on_for_the_same_reason_again_and_again_tells_it_once() -> None:
    script = Script(memory=Memory(booted=(LastBoot(guest=G, boot=1, host_boot="boot-1"),)))

    def tries(times: int, failure: str) -> list[str]:
        """The failures that the tries were told as known."""
        known = []
        for _ in range(times):
            script.at += LONGEST_SECONDS
            while G not in script.state.guests or script.state.guests[G].work is None:
                script.plays((order(),), guest(state=GuestState.PAUSED))
            known.append(script.performing().known)
            for action in script.ends(outcome=Outcome(booted=True, failure=failure)):
                if isinstance(action, SaveMemory):
                    script.tell(Saved(memory=action.memory, when=script.when()))
            assert script.state.guests[G].work is None
            script.plays((order(),), guest(state=GuestState.PAUSED if failure else GuestState.RUNNING))  # its report
        return known

    def entries() -> list[str]:
        return [entry.what for entry in script.state.stories[G].entries][1:]

    assert tries(40, "pCPU 3 is taken") == ["", *["pCPU 3 is taken"] * 39]
    once = ["it is paused", "finish begins", "finish: pCPU 3 is taken", "the service is told: paused pCPU 3 is taken"]
    assert entries() == once
    assert len([action for action in script.begun if isinstance(action, SaveMemory)]) == 1
    assert tries(2, "pCPU 3 is offline") == ["pCPU 3 is taken", "pCPU 3 is offline"]
    assert tries(1, "") == ["pCPU 3 is offline"]
    assert entries()[4:6] == ["finish: pCPU 3 is offline", "the service is told: paused pCPU 3 is offline"]
    assert entries()[6:] == ["finish: done", "it is running", "the service is told: running"]
    assert tries(1, "pCPU 3 is taken") == [""]
    assert entries()[9:12] == ["it is paused", "finish begins", "finish: pCPU 3 is taken"]


def test_stories_are_written_soon_but_not_all_the_time() -> None:
    script = Script()
    script.plays((order(),))
    (first,) = [action for action in script.begun if isinstance(action, SaveStories)]
    assert not [
        action for action in script.tell(StoriesSaved(stories=first.stories, when=script.when())) if isinstance(action, SaveStories)
    ]
    assert [action for action in script.passes(1.0) if isinstance(action, SaveStories)]

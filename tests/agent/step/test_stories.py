"""The stories of guests, as the agent tells and writes them."""

from __future__ import annotations

from tests.agent.script import G, H, Script, guest, id_of, order

from pinfold.agent.actions import SaveStories
from pinfold.agent.events import HostChanged, Outcome, Saved, StoriesSaved
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


def test_stories_are_written_soon_but_not_all_the_time() -> None:
    script = Script()
    script.plays((order(),))
    (first,) = [action for action in script.begun if isinstance(action, SaveStories)]
    assert not [
        action for action in script.tell(StoriesSaved(stories=first.stories, when=script.when())) if isinstance(action, SaveStories)
    ]
    assert [action for action in script.passes(1.0) if isinstance(action, SaveStories)]

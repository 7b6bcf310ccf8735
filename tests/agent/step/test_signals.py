"""The end of an agent by a signal, and SIGHUP."""

from __future__ import annotations

from tests.agent.script import LEASE, G, Script, removing

from pinfold.agent.actions import Confirm, ReadOptions, SaveStories
from pinfold.agent.events import Confirmed, HungUp, OptionsRead, Saved, Stop, StoriesSaved
from pinfold.core.options import Option


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

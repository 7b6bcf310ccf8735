"""The end of an agent by a signal, and SIGHUP."""

from __future__ import annotations

from tests.agent.script import LEASE, G, Script, removing

from pinfold.agent.actions import Confirm, Look, ReadOptions, SaveStories, UsePools
from pinfold.agent.events import Confirmed, OptionsRead, Saved, StoriesSaved
from pinfold.core.cpuset import CpuSet
from pinfold.core.options import Option
from pinfold.core.pools import PoolConfig
from pinfold.host.loop_events import HungUp, Stop

OTHERS = (Option(key="[a] b", value="2"), Option(key="[a] c", value="x", secret=True))


def test_a_hangup_logs_which_options_differ_and_changes_nothing_but_pools() -> None:
    script = Script()
    script.passes(0.0)
    before = script.state
    assert script.tell(HungUp(when=script.when())) == [ReadOptions()]
    script.tell(OptionsRead(options=OTHERS, pools=PoolConfig(), when=script.when()))
    (sentence,) = script.logged
    assert sentence == (
        "SIGHUP: the configuration was read again: [a] b was '1' and is '2', [a] c has another value, which is secret; "
        "start this process again to use it"
    )
    assert script.state == before


def test_a_hangup_changes_the_pools_and_reports_the_host_by_them() -> None:
    script = Script()
    script.plays(())
    shared = Option(key="[compute] cpu_shared_set", value="0-1")
    pools = PoolConfig(shared=CpuSet.of(0, 1))
    begun = script.tell(OptionsRead(options=(*OTHERS, shared), pools=pools, when=script.when()))
    assert begun == [UsePools(pools=pools), Look()]
    assert script.logged[-1] == (
        "SIGHUP: the configuration was read again: [compute] cpu_shared_set was not set and is '0-1', which is used from now on; "
        "[a] b was '1' and is '2', [a] c has another value, which is secret; start this process again to use it"
    )
    assert script.tell(OptionsRead(options=(*OTHERS, shared), pools=pools, when=script.when())) == [], "they are used already"


def test_a_configuration_that_is_wrong_now_is_one_sentence() -> None:
    script = Script()
    script.passes(0.0)
    before = script.state
    script.fails(ReadOptions(), "[a] b in c.conf: 'x' is not allowed", away=False)
    assert script.logged == [
        "SIGHUP: the configuration stays as it was, because what is in its files now is wrong: [a] b in c.conf: 'x' is not allowed"
    ]
    assert script.state == before


def test_hangups_during_a_reading_are_answered_by_one_more_after_it() -> None:
    script = Script()
    script.plays(())
    old, new = PoolConfig(shared=CpuSet.of(0)), PoolConfig(shared=CpuSet.of(0, 1))
    assert script.tell(HungUp(when=script.when())) == [ReadOptions()]
    assert script.tell(HungUp(when=script.when())) == []
    assert script.tell(HungUp(when=script.when())) == []
    assert ReadOptions() in script.tell(OptionsRead(options=OTHERS, pools=old, when=script.when()))
    assert ReadOptions() not in script.tell(OptionsRead(options=OTHERS, pools=new, when=script.when()))
    assert script.state.rules.pools == new
    assert script.tell(HungUp(when=script.when())) == [ReadOptions()]


def test_a_hangup_during_a_reading_that_fails_is_answered_by_one_more() -> None:
    script = Script()
    script.plays(())
    script.tell(HungUp(when=script.when()))
    script.tell(HungUp(when=script.when()))
    assert script.fails(ReadOptions(), "it is wrong", away=False) == [ReadOptions()]
    assert script.fails(ReadOptions(), "it is wrong", away=False) == []


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

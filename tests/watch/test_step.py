"""The watch as a function of events: when it sweeps, and what it says."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from tests.watch.seen import SETTINGS, Script, logged, sweeps

from pinfold.core.cpuset import CpuSet
from pinfold.core.pools import PoolConfig
from pinfold.host.loop_events import HungUp, Stop, Tick
from pinfold.watch.messages import (
    FollowPools,
    HostChanged,
    Publish,
    Published,
    ReadSettings,
    SettingsRead,
    SettingsRefused,
    Sweep,
    SweepFailed,
)
from pinfold.watch.pools import PoolsMode
from pinfold.watch.state import State
from pinfold.watch.step import due_at


def test_the_first_sweep_begins_at_once_and_the_next_ones_follow_the_interval() -> None:
    watch = Script()
    assert sweeps(watch.told(Tick(when=watch.when)))
    watch.at = 0.1
    assert watch.swept() == [Publish(), FollowPools(settings=SETTINGS, mode=PoolsMode.REPORT)]
    watch.at = 10.0
    assert not sweeps(watch.told(Tick(when=watch.when)))
    watch.at = 10.1
    assert sweeps(watch.told(Tick(when=watch.when)))


def test_a_change_on_the_host_is_swept_at_once() -> None:
    watch = Script()
    watch.told(Tick(when=watch.when))
    watch.swept()
    watch.at = 5.0
    assert sweeps(watch.told(HostChanged(when=watch.when)))


def test_a_change_during_a_sweep_leads_to_another_sweep_after_a_rest() -> None:
    watch = Script()
    watch.told(Tick(when=watch.when))
    assert not sweeps(watch.told(HostChanged(when=watch.when)))
    assert not sweeps(watch.swept())
    assert due_at(watch.state) == 1.0
    watch.at = 1.0
    assert sweeps(watch.told(Tick(when=watch.when)))


def test_long_sweeps_are_followed_by_long_rests() -> None:
    watch = Script()
    watch.told(Tick(when=watch.when))
    watch.swept(seconds=0.5)
    watch.told(HostChanged(when=watch.when))
    assert due_at(watch.state) == 5.0


def test_a_host_that_cannot_be_swept_is_said_once_and_so_is_the_end_of_it() -> None:
    watch = Script()
    assert logged(watch.told(SweepFailed(when=watch.when, why="libvirt is away"))) == ["the host cannot be swept: libvirt is away"]
    assert logged(watch.told(SweepFailed(when=watch.when, why="libvirt is away"))) == []
    assert logged(watch.swept()) == ["over: the host cannot be swept: libvirt is away"]
    assert (watch.state.sweeps, watch.state.failed_sweeps) == (1, 2)


def test_guests_that_cannot_be_read_are_named() -> None:
    watch = Script()
    assert logged(watch.swept(unread=(("web", "it hangs"),))) == ["guest web cannot be read: it hangs"]
    assert watch.state.unread == 1


def test_a_file_that_cannot_be_written_is_said_until_it_can() -> None:
    watch = Script()
    assert logged(watch.told(Published(when=watch.when, failures=(("textfile", "textfile: disk full"),)))) == ["textfile: disk full"]
    assert logged(watch.told(Published(when=watch.when, failures=(("textfile", ""),)))) == ["over: textfile: disk full"]


def test_a_hangup_reads_the_configuration_and_sweeps_by_it() -> None:
    watch = Script()
    watch.told(Tick(when=watch.when))
    watch.swept()
    assert watch.told(HungUp(when=watch.when)) == [ReadSettings()]
    new = replace(SETTINGS, pools=PoolConfig(shared=CpuSet.of(0)))
    actions = watch.told(SettingsRead(when=watch.when, settings=new))
    assert Sweep(settings=new) in actions
    assert logged(actions) == ["SIGHUP: the configuration was read again"]


@pytest.mark.parametrize("readable", [True, False])
def test_a_hangup_while_the_configuration_is_read_reads_it_once_more(readable: bool) -> None:
    watch = Script()
    watch.told(HungUp(when=watch.when))
    assert [action for _ in range(2) for action in watch.told(HungUp(when=watch.when)) if isinstance(action, ReadSettings)] == []
    when = watch.when
    ended = SettingsRead(when=when, settings=SETTINGS) if readable else SettingsRefused(when=when, why="it cannot be read")
    assert ReadSettings() in watch.told(ended)
    assert ReadSettings() not in watch.told(ended)


def test_a_hangup_does_not_move_the_connection() -> None:
    watch = Script()
    actions = watch.told(SettingsRead(when=watch.when, settings=replace(SETTINGS, uri="processes:")))
    assert "connection_uri and state_dir stay" in logged(actions)[0]
    assert watch.state.settings.uri == SETTINGS.uri


def test_a_configuration_that_cannot_be_used_changes_nothing() -> None:
    watch = Script()
    watch.told(HungUp(when=watch.when))
    actions = watch.told(SettingsRefused(when=watch.when, why="cpu_shared_set: 'q' is no list"))
    assert logged(actions) == ["SIGHUP: the configuration of before still counts: cpu_shared_set: 'q' is no list"]
    assert watch.state.settings == SETTINGS
    assert watch.told(HungUp(when=watch.when)) == [ReadSettings()]


def test_files_that_have_changed_are_read_once_two_sweeps_have_seen_them_alike() -> None:
    old, half, new = ((1, 10, 7),), ((2, 3, 7),), ((3, 12, 7),)
    watch = Script(state=State(settings=SETTINGS, interval=10.0, read_stamp=old))
    assert ReadSettings() not in [each for stamp in (old, old, half, new) for each in watch.swept(stamp=stamp)]
    assert ReadSettings() in watch.swept(stamp=new)
    changed = replace(SETTINGS, pools=PoolConfig(shared=CpuSet.of(0)))
    actions = watch.told(SettingsRead(when=watch.when, settings=changed, stamp=new))
    assert logged(actions) == ["the configuration files changed: the configuration was read again"]
    assert ReadSettings() not in watch.swept(stamp=new)


def test_a_file_that_is_gone_is_not_read() -> None:
    watch = Script(state=State(settings=SETTINGS, interval=10.0, read_stamp=((1, 10, 7),)))
    assert ReadSettings() not in [*watch.swept(stamp=(None,)), *watch.swept(stamp=(None,))]


def test_nothing_begins_after_a_stop() -> None:
    watch = Script()
    assert not sweeps(watch.told(Stop(when=watch.when)))
    assert watch.state.ending

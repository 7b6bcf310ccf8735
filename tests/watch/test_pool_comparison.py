"""When the watch compares guests with the pools of today, and what it says about those that are left behind."""

from __future__ import annotations

from msgspec.structs import replace
from tests.watch.seen import SETTINGS, Script, guest, logged, snapshot

from pinfold.core.cpuset import CpuSet
from pinfold.watch.changes import ChangeKind
from pinfold.watch.messages import Action, FollowPools, Note, PoolsFollowed
from pinfold.watch.pools import AGAIN_SECONDS, SETTLE_SECONDS, Follower, PoolsMode
from pinfold.watch.snapshot import Snapshot
from pinfold.watch.state import State

WEB = Follower(
    guest_id="0000-1",
    name="web",
    pending=True,
    moves=("4 emulator threads from 0 to 0-1",),
    later="at its next hard reboot Nova writes its pins anew",
)


def script(mode: PoolsMode | None) -> Script:
    return Script(state=State(settings=SETTINGS, interval=10.0, pools_mode=mode))


def with_shared(cpus: str) -> Snapshot:
    seen = snapshot()
    pools = tuple(replace(pool, cpus=CpuSet.parse(cpus)) if pool.name == "shared" else pool for pool in seen.pools)
    return replace(seen, pools=pools)


def compared(actions: list[Action]) -> bool:
    return any(isinstance(action, FollowPools) for action in actions)


def followed(watch: Script, *guests: Follower, failure: str = "") -> list[Action]:
    return watch.told(PoolsFollowed(when=watch.when, guests=guests, failure=failure))


def test_guests_are_compared_at_the_first_sweep_and_when_pools_have_changed() -> None:
    watch = script(PoolsMode.REPORT)
    assert compared(watch.swept())
    followed(watch)
    assert not compared(watch.swept())
    actions = watch.swept(with_shared("0"))
    assert compared(actions)
    assert logged(actions) == ["the shared pool is 0; before: 0-1"]


def test_a_report_names_the_guests_that_are_left_behind_and_what_nova_will_do_until_they_are_not() -> None:
    watch = script(PoolsMode.REPORT)
    watch.swept()
    (said,) = logged(followed(watch, WEB))
    assert said == (
        "1 guest is not on the pools of today (web); `pinfold host pools` shows how to move it; "
        "Nova's web: at its next hard reboot Nova writes its pins anew"
    )
    watch.at += AGAIN_SECONDS - 1
    assert not compared(watch.swept())
    watch.at += 1
    assert compared(watch.swept())
    assert logged(followed(watch)) == [f"over: {said}"]


def test_guests_that_were_moved_are_named_and_written_down() -> None:
    watch = script(PoolsMode.APPLY)
    watch.swept()
    actions = followed(watch, WEB)
    sentence = (
        "guest web follows the pools of today, without a restart: 4 emulator threads from 0 to 0-1; "
        "at its next hard reboot Nova writes its pins anew"
    )
    assert logged(actions) == [sentence]
    (note,) = [action for action in actions if isinstance(action, Note)]
    assert (note.change.kind, note.change.guest, note.change.after) == (ChangeKind.FOLLOWED, "web", sentence)


def test_a_guest_that_cannot_follow_is_named_and_tried_again() -> None:
    watch = script(PoolsMode.APPLY)
    watch.swept()
    assert logged(followed(watch, replace(WEB, why="it hangs"))) == ["guest web does not follow the pools of today: it hangs"]
    watch.at += AGAIN_SECONDS
    assert compared(watch.swept())
    assert logged(followed(watch, failure="libvirt is away")) == ["guests are not compared with the pools of today: libvirt is away"]


def test_a_guest_that_begins_to_run_is_compared_too_when_guests_follow() -> None:
    for mode in PoolsMode:
        watch = script(mode)
        watch.swept()
        followed(watch)
        watch.swept(snapshot(guest(1, "web")))
        watch.at += SETTLE_SECONDS
        assert compared(watch.swept(snapshot(guest(1, "web")))) is (mode is PoolsMode.APPLY)


def test_guests_without_records_are_not_compared_and_changed_pools_are_said_all_the_same() -> None:
    watch = script(None)
    assert not compared(watch.swept())
    actions = watch.swept(with_shared("0"))
    assert not compared(actions)
    assert logged(actions) == ["the shared pool is 0; before: 0-1"]

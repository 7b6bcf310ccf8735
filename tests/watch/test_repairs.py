"""When a drifted guest is repaired, and when the watch gives up: scripted with a clock, and as properties."""

from __future__ import annotations

import dataclasses

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.watch.seen import SETTINGS, Script, guest, logged, snapshot

from pinfold.core.cpuset import CpuSet
from pinfold.core.drift import FindingCode
from pinfold.core.pools import PoolConfig
from pinfold.core.repairs import (
    BY_THE_WATCH,
    FORGET_SECONDS,
    LONGEST_PAUSE,
    MOST_UNDONE,
    Book,
    Drifted,
    after_sweep,
    due,
    findings,
    repaired,
)
from pinfold.core.settings import RepairScope
from pinfold.host.loop_events import HungUp, Repaired
from pinfold.watch.changes import ChangeKind
from pinfold.watch.messages import Action, Note, Repair, SettingsRead
from pinfold.watch.step import due_at

WEB = Drifted(guest_id="0000-1", name="web", pid=7, classes=("emulator",), undoer="Nova, at a hard reboot")
RUNS = frozenset({WEB.guest_id})


@dataclasses.dataclass
class Guard:
    """The rules alone, with a clock."""

    book: Book = dataclasses.field(default_factory=dict)
    at: float = 1_000.0

    def sweep(self, *drifted: Drifted, after: float = 0.0) -> tuple[str, ...]:
        """Whom a sweep leads to repair."""
        self.at += after
        self.book, _ = after_sweep(self.book, drifted, RUNS, self.at)
        return tuple(one.name for one in due(self.book, self.at))

    def repair(self, *, failed: bool = False) -> None:
        self.book = repaired(self.book, WEB.guest_id, self.at, failed=failed)


def test_drift_is_repaired_soon_and_then_later_and_later_and_then_not_any_more() -> None:
    guard = Guard()
    assert guard.sweep(WEB) == ()
    assert guard.sweep(WEB, after=2) == ("web",)
    guard.repair()
    assert guard.sweep(WEB, after=10) == ()
    assert guard.sweep(WEB, after=10) == ("web",)
    guard.repair()
    assert guard.sweep(WEB, after=10) == ()
    assert guard.sweep(WEB, after=50) == ()
    assert guard.sweep(WEB, after=10) == ("web",)
    guard.repair()
    assert guard.sweep(WEB, after=10) == ()
    assert guard.sweep(WEB, after=FORGET_SECONDS) == ()
    (one,) = findings(guard.book, BY_THE_WATCH)
    assert one.code is FindingCode.REPAIR_UNDONE
    assert one.sentence() == "guest web: it was repaired 3 times, somebody undid it each time, and so it is left as it is"
    assert "Nova, at a hard reboot" in one.advice


def test_drift_that_passes_by_itself_is_not_repaired() -> None:
    guard = Guard()
    for _ in range(5):
        assert guard.sweep(WEB, after=1) == ()
        assert guard.sweep(after=1) == ()


def test_a_repair_that_stands_is_forgotten_after_an_hour() -> None:
    guard = Guard()
    for _ in range(10):
        assert guard.sweep(WEB, after=FORGET_SECONDS) == ()
        assert guard.sweep(WEB, after=2) == ("web",)
        guard.repair()
        guard.sweep()
        guard.sweep(after=FORGET_SECONDS)
        assert guard.book == {}


def test_a_guest_that_is_started_anew_begins_anew() -> None:
    guard = Guard()
    for _ in range(MOST_UNDONE + 1):
        guard.sweep(WEB, after=1_000)
        guard.repair()
    assert findings(guard.book, BY_THE_WATCH)
    assert guard.sweep(replace(WEB, pid=8)) == ()
    assert guard.sweep(replace(WEB, pid=8), after=2) == ("web",)
    assert findings(guard.book, BY_THE_WATCH) == ()


def test_a_repair_that_fails_is_tried_again_ever_later_and_is_nobody_s_undoing() -> None:
    guard, pauses = Guard(), []
    for _ in range(10):
        waited = 0.0
        while not guard.sweep(WEB, after=5):
            waited += 5
        pauses.append(waited)
        guard.repair(failed=True)
    assert pauses[1:] == sorted(pauses[1:])
    assert pauses[-1] <= LONGEST_PAUSE
    assert findings(guard.book, BY_THE_WATCH) == ()


def test_a_repair_that_fails_for_weeks_is_still_tried_again() -> None:
    guard = Guard()
    guard.sweep(WEB)
    for _ in range(3_000):
        assert guard.sweep(WEB, after=LONGEST_PAUSE) == ("web",)
        guard.repair(failed=True)


@given(steps=st.lists(st.tuples(st.booleans(), st.booleans(), st.floats(0.1, 300.0)), max_size=60))
def test_no_more_than_three_repairs_in_a_row_are_undone(steps: list[tuple[bool, bool, float]]) -> None:
    """However drift comes and goes, a process gets at most three repairs that succeed, until it is calm for an hour."""
    guard, done = Guard(), 0
    for drifts, fails, pause in steps:
        for _ in guard.sweep(*([WEB] if drifts else []), after=pause):
            guard.repair(failed=fails)
            done += not fails
        done = done if WEB.guest_id in guard.book else 0
        assert done <= MOST_UNDONE


def asked(actions: list[Action]) -> list[str]:
    return [action.guest.name for action in actions if isinstance(action, Repair)]


def noted(actions: list[Action]) -> list[str]:
    return [action.change.subject for action in actions if isinstance(action, Note) and action.change.kind is ChangeKind.REPAIR]


def test_the_watch_repairs_counts_notes_and_gives_up_with_a_finding() -> None:
    watch = Script()
    watch.state = replace(watch.state, scope=RepairScope.NOVA)
    seen = snapshot(guest(1, name="web"))
    for number in range(MOST_UNDONE):
        actions = watch.swept(seen, drifted=(WEB,))
        assert noted(actions) == (["undone"] if number else [])
        assert asked(actions) == []
        assert number or due_at(watch.state) == watch.at + 2.0
        watch.at += 100.0
        assert asked(watch.swept(seen, drifted=(WEB,))) == ["web"]
        done = watch.told(Repaired(when=watch.when, guest=WEB))
        assert noted(done) == ["done"]
        assert any("what would undo it: Nova, at a hard reboot" in line for line in logged(done))
    actions = watch.swept(seen, drifted=(WEB,))
    assert asked(actions) == []
    assert any("it was repaired 3 times" in line for line in logged(actions))
    assert watch.state.snapshot is not None
    assert [one.code for one in watch.state.snapshot.findings] == [FindingCode.REPAIR_UNDONE]
    assert watch.state.repairs == {("emulator", "done"): 3, ("emulator", "undone"): 3}


def test_a_failure_is_said_once() -> None:
    watch = Script()
    watch.swept(snapshot(guest(1)), drifted=(WEB,))
    assert logged(watch.told(Repaired(when=watch.when, guest=WEB, failure="it hangs"))) == ["guest web cannot be repaired: it hangs"]
    assert logged(watch.told(Repaired(when=watch.when, guest=WEB, failure="it hangs"))) == []
    assert watch.state.repairs == {("emulator", "failed"): 2}


def test_a_failure_is_over_when_its_guest_has_ended_or_has_no_drift_any_more() -> None:
    for seen in (snapshot(), snapshot(guest(1, name="web")), snapshot(guest(1, name="web", runs=False))):
        watch = Script()
        watch.swept(snapshot(guest(1, name="web")), drifted=(WEB,))
        watch.told(Repaired(when=watch.when, guest=WEB, failure="it hangs"))
        assert logged(watch.swept(seen)) == ["over: guest web cannot be repaired: it hangs"]
        assert watch.state.troubles == {}


def test_a_failure_stays_while_its_guest_drifts_or_cannot_be_read() -> None:
    watch = Script()
    watch.swept(snapshot(guest(1, name="web")), drifted=(WEB,))
    watch.told(Repaired(when=watch.when, guest=WEB, failure="it hangs"))
    assert logged(watch.swept(snapshot(guest(1, name="web")), drifted=(WEB,))) == []
    watch.swept(snapshot(), unread=(("web", "it hangs"),), running=RUNS)
    assert "guest web cannot be repaired: it hangs" in watch.state.troubles.values()


def repaired_once() -> Script:
    """A watch whose repair of a guest stands."""
    watch = Script()
    seen = snapshot(guest(1, name="web"))
    watch.swept(seen, drifted=(WEB,))
    watch.at += 100.0
    assert asked(watch.swept(seen, drifted=(WEB,))) == ["web"]
    watch.told(Repaired(when=watch.when, guest=WEB))
    watch.swept(seen)
    return watch


def test_drift_after_a_change_of_the_pools_is_nobody_s_undoing() -> None:
    watch = repaired_once()
    watch.told(HungUp(when=watch.when))
    other = replace(SETTINGS, pools=PoolConfig(shared=CpuSet.of(0)))
    watch.told(SettingsRead(when=watch.when, settings=other))
    assert noted(watch.swept(snapshot(guest(1, name="web")), drifted=(WEB,))) == []
    watch.at += 2.0
    assert asked(watch.swept(snapshot(guest(1, name="web")), drifted=(WEB,))) == ["web"]


def test_settings_with_the_same_pools_keep_what_was_undone() -> None:
    watch = repaired_once()
    watch.told(HungUp(when=watch.when))
    watch.told(SettingsRead(when=watch.when, settings=SETTINGS))
    assert noted(watch.swept(snapshot(guest(1, name="web")), drifted=(WEB,))) == ["undone"]


def test_a_guest_that_cannot_be_read_for_once_keeps_its_attempts() -> None:
    watch = repaired_once()
    watch.swept(snapshot(), unread=(("web", "it hangs"),), running=RUNS)
    assert noted(watch.swept(snapshot(guest(1, name="web")), drifted=(WEB,))) == ["undone"]


def test_a_repair_that_found_nothing_to_do_is_not_counted_and_cannot_be_undone() -> None:
    watch, seen = Script(), snapshot(guest(1, name="web"))
    for _ in range(MOST_UNDONE + 1):
        assert noted(watch.swept(seen, drifted=(WEB,))) == []
        watch.at += 2.0
        assert asked(watch.swept(seen, drifted=(WEB,))) == ["web"]
        assert noted(watch.told(Repaired(when=watch.when, guest=WEB, needless=True))) == []
    assert watch.state.repairs == {}

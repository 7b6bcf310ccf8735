"""What changed between two sweeps: the journal's rows, told from made-up snapshots."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.watch.seen import guest, owner, snapshot

from pinfold.core.cpuset import CpuSet
from pinfold.core.drift import Finding, FindingCode, Subject, foreign_floating
from pinfold.core.drift.written import write
from pinfold.core.overhead import ObservedThread, ThreadClass
from pinfold.core.pools import Pools
from pinfold.watch.changes import EMPTY, Change, ChangeKind, changes, owners_of, owners_text
from pinfold.watch.snapshot import SeenOwner, SeenPcpu, Snapshot, decode, encode

WEB, DB = guest(1), guest(2, name="db")


def kinds(before: Snapshot, now: Snapshot) -> list[tuple[str, object]]:
    return [(one.kind.value, one.pcpu if one.pcpu is not None else one.guest or one.subject) for one in changes(before, now)]


def test_nothing_changed_is_nothing() -> None:
    one = snapshot(WEB, owners={2: (owner(WEB),)})
    assert changes(one, one) == ()


def test_a_guest_that_starts_comes_and_gets_its_pcpu() -> None:
    assert kinds(snapshot(), snapshot(WEB, owners={2: (owner(WEB),)})) == [("guest-came", "web1"), ("owner", 2)]


def test_a_guest_that_stops_goes_whether_or_not_its_definition_stays() -> None:
    stopped = replace(WEB, runs=False, state="stopped")
    assert kinds(snapshot(WEB), snapshot(stopped)) == kinds(snapshot(WEB), snapshot()) == [("guest-went", "web1")]


def test_a_second_owner_is_said_once() -> None:
    one, two = ({2: (owner(WEB), *more)} for more in ((), (owner(DB),)))
    assert kinds(snapshot(owners=one), snapshot(owners=two)) == [("owner", 2), ("second-owner", 2)]
    assert kinds(snapshot(owners=two), snapshot(WEB, owners=two)) == [("guest-came", "web1")]


def test_pools_that_change_are_told_with_their_pcpus() -> None:
    old = snapshot()
    new = replace(old, pools=(replace(old.pools[0], cpus=CpuSet.parse("1-3")), *old.pools[1:]))
    assert changes(old, new) == (Change(kind=ChangeKind.POOL, subject="dedicated", before="2-3", after="1-3"),)


def finding(**fields: object) -> Finding:
    values = {
        "code": FindingCode.EMULATOR_THREAD,
        "guest": WEB.name,
        "guest_id": WEB.id,
        "thread_class": ThreadClass.EMULATOR,
        "tid": 7,
        "recorded": "0-1",
        "observed": "0-3",
    }
    return Finding(**(values | fields))  # type: ignore[arg-type]


def with_findings(*found: Finding) -> Snapshot:
    return snapshot(WEB, findings=tuple(map(write, found)))


def test_drift_is_told_when_it_begins_and_when_it_ends_and_not_in_between() -> None:
    fine, astray, further = with_findings(), with_findings(finding()), with_findings(finding(tid=8, observed="0-9"))
    (drifted,) = changes(fine, astray)
    assert (drifted.kind, drifted.guest, drifted.subject) == (ChangeKind.DRIFTED, "web1", "emulator-thread")
    assert drifted.after == "guest web1: emulator thread 7 () may run on 0-3, recorded is 0-1"
    assert changes(astray, further) == ()
    assert [one.kind for one in changes(further, fine)] == [ChangeKind.PUT_BACK]


def test_threads_of_unknown_class_that_come_and_go_are_the_same_drift() -> None:
    pools, online = Pools(shared=CpuSet.of(0), dedicated=CpuSet.parse("1-3")), CpuSet.parse("0-3")

    def with_threads(*tids: int) -> Snapshot:
        threads = [ObservedThread(tid=9, name="qemu", thread_class=ThreadClass.EMULATOR, allowed=online)]
        threads += [ObservedThread(tid=tid, name="qemu", thread_class=ThreadClass.UNKNOWN, allowed=online) for tid in tids]
        found = foreign_floating(Subject(name="web", id="1"), threads, CpuSet(), 1, pools, online)
        assert len(found) == 2
        return with_findings(*found)

    assert list(changes(with_threads(71, 72), with_threads(71, 80, 81))) == []
    assert len(list(changes(with_threads(71), with_findings()))) == 2


def test_notes_are_not_drift() -> None:
    assert changes(with_findings(), with_findings(finding(minor=True))) == ()


NAMES = st.text(max_size=12)
OWNERS = st.lists(
    st.builds(SeenOwner, guest=NAMES, role=st.sampled_from(["vcpu", "emulator"]), id=st.sampled_from(["", "0-1", "0-2"])), max_size=3
)


@given(owners=OWNERS)
def test_owners_are_read_back_from_the_journal_s_text(owners: list[SeenOwner]) -> None:
    pcpu = SeenPcpu(pcpu=1, pool="dedicated", owners=tuple(owners))
    found = owners_of(owners_text(pcpu))
    assert [(role, identity) for role, identity, _ in found] == [(one.role, one.id) for one in sorted(owners)]
    assert all("\n" not in name for _, _, name in found)


@given(steps=st.lists(st.dictionaries(st.integers(0, 3), OWNERS.map(tuple), max_size=4), max_size=6))
def test_the_changes_lead_from_each_snapshot_to_the_next(steps: list[dict[int, tuple[SeenOwner, ...]]]) -> None:
    told: dict[int, str] = {}
    before = EMPTY
    for held in steps:
        now = snapshot(owners=held)
        for change in changes(before, now):
            if change.kind is ChangeKind.OWNER and change.pcpu is not None:
                assert told.get(change.pcpu, "") == change.before
                told[change.pcpu] = change.after
        assert {pcpu.pcpu: owners_text(pcpu) for pcpu in now.pcpus if pcpu.owners} == {cpu: text for cpu, text in told.items() if text}
        before = now


def test_a_snapshot_is_read_back_and_another_version_is_none() -> None:
    one = snapshot(WEB, owners={2: (owner(WEB),)}, findings=(write(finding()),))
    assert decode(encode(one)) == one
    assert decode(encode(one).replace('"v":1', '"v":2')) is None
    assert decode("nonsense") is None

"""Drifted guests repaired while pCPUs of their places are offline, and while one of them cannot be moved. Real guests."""

from __future__ import annotations

import pytest
from msgspec import structs
from tests.real.host import domains
from tests.real.host.bench import DEDICATED, Bench
from tests.real.host.test_pool_change import SHARE, cpus, offline, quiet

from pinfold.cli.views.audit import repair_view
from pinfold.core.drift import FindingCode
from pinfold.core.encoding import plain
from pinfold.core.errors import InvariantViolation, PinfoldError, Unavailable
from pinfold.core.overhead import masks
from pinfold.core.settings import RepairScope
from pinfold.drivers.port import HostGuest
from pinfold.host import written
from pinfold.host.audit import audit
from pinfold.host.repair import repair, repair_guest


def astray(bench: Bench, name: str) -> None:
    """Pin the guest's emulator threads elsewhere, live and in its definition."""
    guest = bench.guest(name)
    assert guest.record is not None
    bench.driver.pin(guest.id, structs.replace(masks(guest.record.fit), overhead=cpus("9")))


def in_place(bench: Bench, name: str) -> bool:
    """Whether the live pins and threads are on what is online of the recorded overhead set, and the kept definition has it whole."""
    guest = bench.guest(name)
    assert guest.record is not None and guest.kept is not None and guest.pins.emulator is not None
    recorded = guest.record.fit.emulator
    online = bench.driver.topology().online
    return quiet(bench, name) and guest.kept.emulator == recorded and guest.pins.emulator == recorded & online


def test_a_repair_with_an_offline_pcpu_moves_to_those_that_are_online_and_keeps_the_definition(synthetic_bench: Bench) -> None:
    bench = synthetic_bench.with_pools(shared="0-1", dedicated="2-15")
    bench.start(bench.order("shares", SHARE))
    bench.start(bench.order("own", DEDICATED))
    for name in ("shares", "own"):
        astray(bench, name)
    with offline(bench.lab, cpus("1")):
        done = repair(bench.driver, bench.settings)
        assert done.complete and {one.before.guest.name for one in done.done} == {"shares", "own"}
        assert in_place(bench, "shares") and in_place(bench, "own")
        assert not audit(bench.driver, bench.settings).drift
    (narrow,) = repair(bench.driver, bench.settings).done
    assert narrow.before.guest.name == "shares" and not narrow.after.drift
    assert in_place(bench, "shares"), "on the whole set again"


def test_a_guest_that_cannot_be_moved_is_left_with_the_reason_and_the_others_are_repaired(synthetic_bench: Bench) -> None:
    bench = synthetic_bench.with_pools(shared="0-1", dedicated="2-15")
    names = ("a", "b", "c")
    for name in names:
        bench.start(bench.order(name, SHARE))
        astray(bench, name)
    middle = sorted(bench.driver.guests(), key=lambda guest: guest.id)[1]
    assert middle.record is not None
    pinned = middle.record.fit.pinned
    others = set(names) - {middle.name}
    with offline(bench.lab, pinned):
        done = repair(bench.driver, bench.settings)
        assert {one.before.guest.name for one in done.done} == others and not done.complete
        assert all(in_place(bench, name) for name in others)
        why = {left.finding.code: left.why for left in done.left}
        assert why == {
            FindingCode.DEFINITION_PINS: f"it could not be moved: pCPU {pinned} is not online on this host",
            FindingCode.PCPU_OFFLINE: "no pin undoes it",
        }
        alone = repair(bench.driver, bench.settings, middle.name)
        assert not alone.done and {left.finding.code: left.why for left in alone.left} == why
    assert repair(bench.driver, bench.settings).complete and in_place(bench, middle.name)


class NeverPins:
    """A driver that moves no thread of one guest, as when a thread does not leave a cgroup of somebody's. `pins` are the guests tried."""

    def __init__(self, bench: Bench, name: str, error: PinfoldError | None = None) -> None:
        self._driver, self._id = bench.driver, bench.guest(name).id
        self._error = error or Unavailable("a thread cannot be moved")
        self.pins: list[str] = []

    def __getattr__(self, name: str) -> object:
        return getattr(self._driver, name)

    def pin(self, guest: str, *arguments: object, **more: bool) -> None:
        self.pins.append(guest)
        if guest == self._id:
            raise self._error
        self._driver.pin(guest, *arguments, **more)  # type: ignore[arg-type]


class GoesAway(NeverPins):
    """A driver whose hypervisor is away from the first pin on."""

    def guests(self) -> tuple[HostGuest, ...]:
        if self.pins:
            raise Unavailable("libvirt does not answer")
        return self._driver.guests()


class UnreadOnce(NeverPins):
    """A driver that moves all threads, and cannot read those of one guest once after it has moved them."""

    def pin(self, guest: str, *arguments: object, **more: bool) -> None:
        self.pins.append(guest)
        self._driver.pin(guest, *arguments, **more)  # type: ignore[arg-type]

    def observe(self, guest: HostGuest) -> object:
        if guest.id == self._id and self._id in self.pins:
            self.pins.remove(self._id)
            raise Unavailable("its threads cannot be read")
        return self._driver.observe(guest)


def two_astray(bench: Bench) -> tuple[HostGuest, HostGuest]:
    """Two guests with drift, ordered by id."""
    for name in ("a", "b"):
        bench.start(bench.order(name))
        guest = bench.guest(name)
        assert guest.record is not None
        bench.driver.pin(guest.id, structs.replace(masks(guest.record.fit), overhead=cpus("1")))
    first, second = sorted(bench.driver.guests(), key=lambda guest: guest.id)
    return first, second


def test_a_guest_that_cannot_be_read_after_it_was_moved_is_a_failure_although_no_drift_is_left(bench: Bench) -> None:
    bench = bench.with_pools(shared="0-1")
    first, second = two_astray(bench)
    done = repair(UnreadOnce(bench, first.name), bench.settings)  # type: ignore[arg-type]
    assert [one.before.guest.name for one in done.done] == [second.name] and not done.left
    assert [(one.id, one.name, one.why) for one in done.failed] == [(first.id, first.name, "its threads cannot be read")]
    assert not done.complete
    assert f"✗ {first.name}: the repair failed: its threads cannot be read" in "\n".join(map(str, repair_view(done)))
    assert plain(written.repair(done))["failed"] == [{"id": first.id, "name": first.name, "why": "its threads cannot be read"}]
    assert repair(bench.driver, bench.settings).complete


def test_a_bug_and_a_hypervisor_that_is_away_end_the_repair(bench: Bench) -> None:
    bench = bench.with_pools(shared="0-1")
    first, _ = two_astray(bench)
    bug = NeverPins(bench, first.name, InvariantViolation("a bug"))
    with pytest.raises(InvariantViolation, match="a bug"):
        repair(bug, bench.settings)  # type: ignore[arg-type]
    away = GoesAway(bench, first.name)
    with pytest.raises(Unavailable, match="libvirt does not answer"):
        repair(away, bench.settings)  # type: ignore[arg-type]
    assert bug.pins == away.pins == [first.id], "no other guest waits for it"


def test_a_thread_that_cannot_be_moved_stops_no_other_repair(bench: Bench) -> None:
    bench = bench.with_pools(shared="0-1")
    first, second = two_astray(bench)
    done = repair(NeverPins(bench, first.name), bench.settings)  # type: ignore[arg-type]
    assert [one.before.guest.name for one in done.done] == [second.name] and quiet(bench, second.name)
    assert {left.finding.guest for left in done.left} == {first.name}
    assert {left.why for left in done.left} == {"it could not be moved: a thread cannot be moved"}
    again = repair(NeverPins(bench, first.name), bench.settings)  # type: ignore[arg-type]
    assert [one.id for one in again.failed] == [first.id] and not again.done
    assert "no running guest of ours has drifted" not in "".join(map(str, repair_view(again)))


@pytest.mark.parametrize("whose", [RepairScope.OURS, RepairScope.NOVA])
def test_one_offline_pcpu_of_the_pool_does_not_stop_the_repair_of_a_guest(synthetic_bench: Bench, whose: RepairScope) -> None:
    bench = synthetic_bench.with_pools(shared="0-1", dedicated="2-15")
    if whose is RepairScope.OURS:
        bench.start(bench.order("vm", SHARE))
    else:
        domains.define(bench, "vm", cputune="<vcpupin vcpu='0' cpuset='4'/><emulatorpin cpuset='0-1'/>", nova=True, specs=SHARE)
    domains.virsh(bench, "emulatorpin", "vm", "9", "--live")
    found = bench.guest("vm").id
    with offline(bench.lab, cpus("1")):
        done = repair_guest(bench.driver, bench.settings, found, whose)
        assert done.moved and not done.left and not done.stays
        guest = bench.guest("vm")
        assert guest.kept is not None and (guest.pins.emulator, guest.kept.emulator) == (cpus("0"), cpus("0-1"))

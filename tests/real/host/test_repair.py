"""Drifted guests repaired while pCPUs of their places are offline, and while one of them cannot be moved. Real guests."""

from __future__ import annotations

import pytest
from msgspec import structs
from tests.real.host import domains
from tests.real.host.bench import DEDICATED, Bench
from tests.real.host.test_pool_change import SHARE, cpus, offline, quiet

from pinfold.cli.views.audit import repair_view
from pinfold.core.drift import FindingCode
from pinfold.core.errors import Unavailable
from pinfold.core.overhead import masks
from pinfold.core.settings import RepairScope
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
    """A driver that moves no thread of one guest, as when a thread does not leave a cgroup of somebody's."""

    def __init__(self, bench: Bench, name: str) -> None:
        self._driver, self._id = bench.driver, bench.guest(name).id

    def __getattr__(self, name: str) -> object:
        return getattr(self._driver, name)

    def pin(self, guest: str, *arguments: object, **more: bool) -> None:
        if guest == self._id:
            raise Unavailable("a thread cannot be moved")
        self._driver.pin(guest, *arguments, **more)  # type: ignore[arg-type]


def test_a_thread_that_cannot_be_moved_stops_no_other_repair(bench: Bench) -> None:
    bench = bench.with_pools(shared="0-1")
    for name in ("a", "b"):
        bench.start(bench.order(name))
        guest = bench.guest(name)
        assert guest.record is not None
        bench.driver.pin(guest.id, structs.replace(masks(guest.record.fit), overhead=cpus("1")))
    first, second = sorted(bench.driver.guests(), key=lambda guest: guest.id)
    done = repair(NeverPins(bench, first.name), bench.settings)  # type: ignore[arg-type]
    assert [one.before.guest.name for one in done.done] == [second.name] and quiet(bench, second.name)
    assert {left.finding.guest for left in done.left} == {first.name}
    assert {left.why for left in done.left} == {"it could not be moved: a thread cannot be moved"}
    again = repair(NeverPins(bench, first.name), bench.settings)  # type: ignore[arg-type]
    assert again.failed == (first.id,) and not again.done
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

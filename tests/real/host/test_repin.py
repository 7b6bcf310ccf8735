"""Running guests moved inside their host cells: off retiring pCPUs, and so that free siblings come together. Real guests.

The witness on the machine's own pCPUs is procfs, read without our code.
"""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs
from tests.real.host.bench import DEDICATED, Bench, FailsLate, allowed
from tests.real.host.test_pool_change import SHARE, cpus, offline, quiet

from pinfold.core.errors import InvalidRequest
from pinfold.core.fit.capacity import demands_of
from pinfold.core.overhead import masks
from pinfold.core.request.model import Flavor
from pinfold.drivers.port import Driver, HostGuest
from pinfold.host.lock import owning
from pinfold.host.repin import apply, plan
from pinfold.host.start import restart
from pinfold.host.stop import stop

WHOLE = DEDICATED | {"hw:cpu_thread_policy": "isolate"}
FLAVORS, _ = demands_of([Flavor(name="whole", vcpus=6, memory_mib=16, extra_specs=tuple(sorted(WHOLE.items())))])


def test_a_running_vcpu_leaves_its_retiring_pcpu_with_the_threads_that_float_there(bench: Bench) -> None:
    old = bench.with_pools(dedicated="0-1")
    old.start(old.order("vm", DEDICATED))
    began = old.guest("vm")
    assert began.pid is not None and began.pins.vcpus == ((0, cpus("0")),)
    new = bench.with_pools(shared="0", dedicated="1")
    found = plan(new.driver, new.settings).found
    assert [(str(move.before), str(move.after)) for step in found.steps for move in step.moves] == [("0", "1")]
    assert found.freed == cpus("0") and old.guest("vm") == began, "a plan changes nothing"

    assert not apply(new.driver, new.settings).failure
    now = new.guest("vm")
    assert (now.pid, now.state) == (began.pid, began.state) and now.record is not None
    assert now.record.fit.pinned == cpus("1")
    assert set().union(*allowed(began.pid).values()) == {"1"}
    assert quiet(new, "vm") and plan(new.driver, new.settings).found.steps == ()
    stop(new.driver, new.settings, "vm")
    assert restart(new.driver, new.settings, "vm").masks.vcpus == (cpus("1"),)


def test_free_siblings_are_joined_where_a_larger_guest_fits_then(synthetic_bench: Bench) -> None:
    host = synthetic_bench.with_pools(shared="0-1", dedicated="2-15")
    for name in ("a", "b"):
        host.start(host.order(name, DEDICATED))
    _put(host, "b", "6")
    found = plan(host.driver, host.settings, FLAVORS).found
    (slots,) = found.slots
    assert (slots.before, slots.after, len(found.steps)) == (0, 1, 1)
    assert not apply(host.driver, host.settings, FLAVORS).failure
    assert quiet(host, "a") and quiet(host, "b")
    host.start(host.order("large", WHOLE, vcpus=6))
    assert plan(host.driver, host.settings, FLAVORS).found.steps == ()


def _put(host: Bench, name: str, pcpu: str) -> None:
    """Give a guest of one vCPU another pCPU, in its record too."""
    record = host.guest(name).record
    assert record is not None
    cell = structs.replace(record.fit.cells[0], pins=((0, int(pcpu)),))
    fit = structs.replace(record.fit, cells=(cell,), emulator=cpus(pcpu))
    host.driver.pin(record.guest, masks(fit))
    host.driver.amend(record.guest, structs.replace(record, fit=fit))


def test_all_steps_are_undone_when_one_fails(synthetic_bench: Bench) -> None:
    old = synthetic_bench.with_pools(shared="0-1", dedicated="2-15")
    for name in ("a", "b"):
        old.start(old.order(name, DEDICATED))
    before = {guest.id: (guest.record, guest.pins, guest.pid) for guest in old.driver.guests()}
    new = synthetic_bench.with_pools(shared="0-1", dedicated="4-15")
    done = apply(FailsLate(new.driver, "pin", at=2), new.settings)  # type: ignore[arg-type]
    assert "was not moved: libvirt went away" in done.failure and not done.not_undone
    assert {guest.id: (guest.record, guest.pins, guest.pid) for guest in new.driver.guests()} == before
    assert quiet(new, "a") and quiet(new, "b")
    assert not apply(new.driver, new.settings).failure
    assert {guest.pins.vcpus[0][1].first for guest in new.driver.guests()} == {4, 5}


class LosesAGuest:
    """A driver whose guest of one name is gone after the first pin, as after somebody's `virsh undefine`."""

    def __init__(self, driver: Driver, name: str) -> None:
        self._driver, self._name, self._gone = driver, name, False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._driver, name)

    def pin(self, *arguments: Any, **more: Any) -> None:
        self._driver.pin(*arguments, **more)
        self._gone = True

    def guests(self) -> tuple[HostGuest, ...]:
        return tuple(guest for guest in self._driver.guests() if not (self._gone and guest.name == self._name))


def test_a_guest_that_has_gone_meanwhile_ends_the_steps_with_a_sentence(synthetic_bench: Bench) -> None:
    old = synthetic_bench.with_pools(shared="0-1", dedicated="2-15")
    for name in ("a", "b"):
        old.start(old.order(name, DEDICATED))
    before = {guest.id: (guest.record, guest.pins) for guest in old.driver.guests()}
    new = synthetic_bench.with_pools(shared="0-1", dedicated="4-15")
    last = max(old.driver.guests(), key=lambda guest: guest.id).name
    done = apply(LosesAGuest(new.driver, last), new.settings)  # type: ignore[arg-type]
    assert f"guest {last} was not moved: " in done.failure
    assert {guest.id: (guest.record, guest.pins) for guest in new.driver.guests()} == before


def test_what_cannot_move_says_why(synthetic_bench: Bench) -> None:
    old = synthetic_bench.with_pools(shared="0-1", dedicated="2-7")
    for name, change in (("older", {"request": None}), ("served", {"owner": "the agent of c1"}), ("stopped", {})):
        old.start(old.order(name, DEDICATED))
        record = old.guest(name).record
        assert record is not None
        old.driver.amend(record.guest, structs.replace(record, **change))
    stop(old.driver, old.settings, "stopped")
    old.start(old.order("vm", DEDICATED, vcpus=2))
    new = synthetic_bench.with_pools(shared="0-1", dedicated="8-8")
    found = plan(new.driver, new.settings)
    why = {stay.guest.name: stay.why for stay in found.stays}
    assert len(found.found.steps) == 1 and found.found.steps[0].guest == old.guest("vm").id
    assert why["older"].startswith("its record does not say what was asked for; a new place would free them: `pinfold guest stop older`")
    assert why["served"].startswith("it is the agent of c1's; a new place would free them: `pinfold server stop")
    assert why["stopped"].startswith("it does not run; a new place would free them: `pinfold guest replace stopped`")
    assert why["vm"].startswith("its host cell has no free dedicated pCPU for them; ")


def test_an_offline_pcpu_that_the_plan_does_not_concern_stops_no_step(synthetic_bench: Bench) -> None:
    old = synthetic_bench.with_pools(shared="0-1", dedicated="2-15")
    old.start(old.order("vm", SHARE))
    new = synthetic_bench.with_pools(shared="0-1", dedicated="3-15")
    with offline(new.lab, cpus("1")):
        assert not apply(new.driver, new.settings).failure
        now = new.guest("vm")
        assert now.kept is not None and quiet(new, "vm")
        assert (now.pins.vcpus, now.kept.vcpus, now.kept.emulator) == (((0, cpus("3")),), ((0, cpus("3")),), cpus("0-1"))


def test_a_guest_that_never_moved_is_not_said_to_be_elsewhere(synthetic_bench: Bench) -> None:
    old = synthetic_bench.with_pools(shared="1", dedicated="2-15")
    old.start(old.order("vm", SHARE))
    began = old.guest("vm")
    new = synthetic_bench.with_pools(shared="1", dedicated="3-15")
    with offline(new.lab, cpus("1")):
        done = apply(new.driver, new.settings)
        assert (done.failure, done.not_undone) == ("guest vm was not moved: pCPU 1 is not online on this host", {})
        assert new.guest("vm") == began


def test_a_host_of_a_service_is_left_to_its_agent(bench: Bench) -> None:
    with owning(bench.settings, "the agent of c1"), pytest.raises(InvalidRequest, match="host repin --apply is refused"):
        apply(bench.driver, bench.settings)

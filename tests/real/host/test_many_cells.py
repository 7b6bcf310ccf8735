"""A host of two cells and 32 pCPUs, filled: what was recorded is what libvirt was asked for, and the host tells it again by itself.

The topology is synthetic: the witness is what libvirt asked of each thread, not where it ran.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from msgspec import structs
from tests.real.host.bench import DEDICATED, Bench

from pinfold.core.cpuset import CpuSet
from pinfold.core.fit.answer import EmulatorPlacement, NoFit
from pinfold.core.host import Locality
from pinfold.core.ledger import Role
from pinfold.core.overhead import ThreadClass
from pinfold.drivers.libvirt.driver import LibvirtDriver
from pinfold.host.audit import audit
from pinfold.host.map import map_of
from pinfold.host.start import place
from pinfold.host.survey import survey
from pinfold.lab.witness import witness_of

SHARE = DEDICATED | {"hw:emulator_threads_policy": "share"}
ISOLATE = DEDICATED | {"hw:emulator_threads_policy": "isolate"}
MIX = [
    SHARE,
    ISOLATE,
    DEDICATED,
    SHARE | {"hw:numa_nodes": "2"},
    ISOLATE | {"hw:cpu_thread_policy": "isolate"},
    {"hw:cpu_policy": "mixed", "hw:cpu_dedicated_mask": "0", "hw:emulator_threads_policy": "share"},
    {},
]


@pytest.fixture
def bench(synthetic_bench: Bench) -> Bench:
    """The first two pCPUs of each cell are shared, the rest are dedicated."""
    return synthetic_bench.with_pools(shared="0-1,16-17", dedicated="2-15,18-31")


def test_a_mix_of_flavors_until_one_is_refused(bench: Bench) -> None:
    refusal = None
    for number in range(40):
        found = place(bench.driver, bench.settings, bench.order(f"g{number:02}", MIX[number % len(MIX)], vcpus=2))
        if isinstance(found, NoFit):
            refusal = found
            break
        assert found.observation.witness == "lab records (synthetic)"
        assert {t.allowed for t in found.observation.threads if t.thread_class is ThreadClass.EMULATOR} == {found.masks.overhead}
    assert refusal is not None
    seen = survey(bench.driver, bench.settings)
    taken = [claim.fit.taken for claim in seen.state.ledger.claims]
    assert sum(map(len, taken)) == len(CpuSet(cpu for cpus in taken for cpu in cpus))
    assert [guest.findings for guest in audit(bench.driver, bench.settings).guests if guest.findings] == []
    roles = [p.role for cell in map_of(seen).cells for core in cell.cores for p in core.pcpus if p.role is not None]
    assert roles.count(Role.EMULATOR) == sum(c.fit.emulator_placement is EmulatorPlacement.ISOLATED for c in seen.state.ledger.claims)


def test_the_ledger_is_read_back_from_the_host_alone(bench: Bench) -> None:
    fits = {bench.start(bench.order(f"g{number}", specs, vcpus=2)).fit for number, specs in enumerate(MIX)}
    before = survey(bench.driver, bench.settings)
    bench.lab.restart_daemon()
    fresh = LibvirtDriver(bench.lab.uri, witness=witness_of(bench.lab.uri))
    try:
        after = survey(fresh, bench.settings)
    finally:
        fresh.close()
    assert after.state == before.state
    assert {claim.fit for claim in after.state.ledger.claims} == fits


def test_overhead_threads_run_near_their_guest_if_the_host_prefers_that(bench: Bench) -> None:
    limits = structs.replace(bench.settings.limits, locality=Locality.PREFER_LOCAL)
    bench = replace(bench, settings=structs.replace(bench.settings, limits=limits))
    parts = {0: CpuSet.parse("0-1"), 1: CpuSet.parse("16-17")}
    for name, specs, vcpus in (("one", SHARE, 10), ("other", SHARE, 10), ("wide", SHARE | {"hw:numa_nodes": "2"}, 4)):
        found = bench.start(bench.order(name, specs, vcpus=vcpus))
        cells = [cell.host_cell for cell in found.fit.cells]
        near = CpuSet(pcpu for cell in cells for pcpu in parts[cell])
        assert [cell for cell, _ in found.fit.overhead_cells] == cells
        assert {t.allowed for t in found.observation.threads if t.thread_class is ThreadClass.EMULATOR} == {near}
    seen = survey(bench.driver, bench.settings)
    assert sorted(str(claim.fit.emulator) for claim in seen.state.ledger.claims) == ["0-1", "0-1,16-17", "16-17"]
    assert [guest.findings for guest in audit(bench.driver, bench.settings).guests if guest.findings] == []


def may_lock_memory() -> bool:
    """Whether this process has CAP_SYS_RESOURCE, which libvirt needs for the locked memory of a realtime guest."""
    status = Path("/proc/self/status").read_text().splitlines()
    return bool(next(int(line.split()[1], 16) for line in status if line.startswith("CapEff")) >> 24 & 1)


@pytest.mark.skipif(not may_lock_memory(), reason="without CAP_SYS_RESOURCE libvirt cannot lock a realtime guest's memory")
def test_realtime_vcpus_run_fifo_and_the_rest_does_not(bench: Bench) -> None:
    started = bench.start(bench.order("rt", SHARE | {"hw:cpu_realtime": "yes", "hw:cpu_realtime_mask": "^0"}, vcpus=2))
    schedulers = {thread.vcpu: thread.scheduler for thread in started.observation.threads if thread.thread_class is ThreadClass.VCPU}
    assert schedulers == {0: "other", 1: "fifo"}

"""The map of a host from its ledger and from what an agent reported of it, as the service has them."""

from __future__ import annotations

import time

from msgspec.structs import replace

from pinfold.core.cpuset import CpuSet
from pinfold.core.drift import Finding, FindingCode
from pinfold.core.encoding import plain
from pinfold.core.fit.answer import EmulatorPlacement, Fit, FitCell
from pinfold.core.host import Claim, Foreign, HostState, Ledger
from pinfold.core.host_map import HostMap, Observed, PcpuMap, host_map
from pinfold.core.hosttext import host
from pinfold.core.identity import GuestId
from pinfold.core.ledger import Role
from pinfold.core.overhead import ThreadClass
from pinfold.core.pools import Pools

A, B = GuestId("a"), GuestId("b")
NAMES = {A: "vm1", B: "vm2"}
POOLS = Pools(shared=CpuSet.of(0), dedicated=CpuSet(range(1, 8)), overhead=CpuSet.of(0))


def pinned(*pcpus: int, emulator: int | None = None) -> Fit:
    """A fit with a vCPU on each pCPU."""
    placement = EmulatorPlacement.POOL if emulator is None else EmulatorPlacement.ISOLATED
    return Fit(
        vcpus=len(pcpus),
        memory_mib=64,
        cells=(FitCell(guest_cell=0, host_cell=0, pins=tuple(enumerate(pcpus)), memory_mib=64),),
        emulator_placement=placement,
        emulator=CpuSet.of(0 if emulator is None else emulator),
        emulator_pcpu=emulator,
    )


def ledger(*foreign: Foreign, **fits: Fit) -> HostState:
    claims = tuple(Claim(guest=GuestId(guest), fit=fit) for guest, fit in sorted(fits.items()))
    return HostState(topology=host("core:8 mem:1024"), pools=POOLS, ledger=Ledger(claims=claims, foreign=foreign), revision=7, name="c1")


def astray(guest: str, recorded: str, thread_class: ThreadClass | None = ThreadClass.VCPU) -> Finding:
    code = FindingCode.VCPU_THREAD if thread_class is ThreadClass.VCPU else FindingCode.EMULATOR_THREAD
    return Finding(code=code, guest_id=guest, tid=71, thread_class=thread_class, recorded=recorded, observed="0-7")


def pcpus(chart: HostMap) -> dict[int, PcpuMap]:
    return {pcpu.pcpu: pcpu for cell in chart.cells for core in cell.cores for pcpu in core.pcpus}


def test_a_pcpu_names_its_owner_by_id_and_name() -> None:
    chart = host_map(ledger(a=pinned(1, 2, emulator=3)), Observed(names=NAMES))
    assert (chart.host, chart.revision) == ("c1", 7)
    found = [(pcpu.pcpu, owner.guest, owner.name, owner.role, owner.vcpu) for pcpu in pcpus(chart).values() for owner in pcpu.owners]
    assert found == [(1, "a", "vm1", Role.VCPU, 0), (2, "a", "vm1", Role.VCPU, 1), (3, "a", "vm1", Role.EMULATOR, None)]


def test_a_pool_that_threads_have_left_names_their_guest() -> None:
    found = host_map(ledger(a=pinned(1, 2)), Observed(names=NAMES, findings=(replace(astray("a", "0", None), guest="vm1"),)))
    assert {pcpu.pcpu: pcpu.left_by for pcpu in found.pcpus if pcpu.left_by} == {0: ("vm1",)}


def test_a_place_has_drifted_if_a_finding_says_so_and_is_unknown_without_an_audit() -> None:
    state = ledger(a=pinned(1, 2, emulator=3), b=pinned(4))

    def drifted(*findings: Finding, judged: frozenset[GuestId]) -> dict[int, bool | None]:
        chart = host_map(state, Observed(names=NAMES, findings=findings, judged=judged))
        return {pcpu: seen.owners[0].drifted for pcpu, seen in pcpus(chart).items() if seen.owners}

    both = frozenset({A, B})
    assert drifted(judged=frozenset()) == {1: None, 2: None, 3: None, 4: None}
    assert drifted(judged=both) == {1: False, 2: False, 3: False, 4: False}
    assert drifted(astray("a", "2"), judged=both) == {1: False, 2: True, 3: False, 4: False}
    assert drifted(astray("a", "3", None), judged=frozenset({B})) == {1: None, 2: None, 3: True, 4: False}
    assert drifted(astray("c", "1"), astray("b", "1"), astray("b", "no cpulist"), judged=both) == {1: False, 2: False, 3: False, 4: False}


def test_what_an_agent_does_not_report_of_foreign_guests_is_unknown() -> None:
    chart = host_map(ledger(Foreign(name="x", cpus=CpuSet.of(5)), a=pinned(1)), Observed(names=NAMES))
    (owner,) = pcpus(chart)[5].owners
    assert (owner.guest, owner.name, owner.thread_class, owner.vcpu, owner.stray, owner.drifted) == (None, "x", None, None, None, None)
    assert (pcpus(chart)[0].overhead_runs, pcpus(chart)[0].vcpus_float, pcpus(chart)[1].vcpus_float) == (True, None, None)
    assert chart.overhead is not None
    assert (chart.floating_vcpus, chart.overhead.guests, chart.overhead.others) == (None, 1, None)
    alone = host_map(ledger(a=pinned(1)), Observed(names=NAMES))
    assert (alone.floating_vcpus, pcpus(alone)[0].vcpus_float, pcpus(alone)[0].overhead_runs) == (0, False, True)


def test_two_owners_come_from_the_ledger_and_from_findings() -> None:
    found = Finding(code=FindingCode.TWO_OWNERS, subject="6")
    chart = host_map(ledger(a=pinned(1, 2), b=pinned(2)), Observed(names=NAMES, findings=(found, replace(found, subject="no cpulist"))))
    assert [pcpu for pcpu, seen in pcpus(chart).items() if seen.contested] == [2, 6]


def test_a_guest_without_a_name_is_named_by_its_id_and_a_host_without_a_report_has_no_cells() -> None:
    assert pcpus(host_map(ledger(a=pinned(1)), Observed(names={})))[1].owners[0].name == "a"
    empty = host_map(replace(ledger(), topology=host("core:0"), pools=Pools(shared=CpuSet(), dedicated=CpuSet())), Observed(names={}))
    assert (empty.dedicated_free, empty.overhead) == (0, None)


def test_the_largest_host_is_drawn_within_a_second() -> None:
    topology = host("pack:2 cell:4 core:32 pu:2 mem:65536")
    pools = Pools(shared=CpuSet.of(0, 1), dedicated=topology.online - CpuSet.of(0, 1), overhead=CpuSet.of(0, 1))
    claims = tuple(Claim(guest=GuestId(f"{cpu:03}"), fit=pinned(cpu)) for cpu in pools.dedicated)
    findings = tuple(astray(claim.guest, claim.guest) for claim in claims)
    state = HostState(topology=topology, pools=pools, ledger=Ledger(claims=claims), name="c1")
    began = time.monotonic()
    chart = plain(host_map(state, Observed(names={}, findings=findings)))
    assert time.monotonic() - began < 1.0, "it takes 20 ms on an idle core"
    assert sum(len(core["pcpus"]) for cell in chart["cells"] for core in cell["cores"]) == 512

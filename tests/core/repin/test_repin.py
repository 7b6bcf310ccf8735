"""Moves of running guests within their host cells: off retiring pCPUs, and so that free siblings come together."""

from __future__ import annotations

import re
from collections import Counter
from itertools import combinations

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.build.fits import fits
from tests.build.hosts import NO_RESERVE, cpus, pools, state
from tests.build.requests import guest

from pinfold.core.cpuset import CpuSet
from pinfold.core.fit.answer import EmulatorPlacement, Fit
from pinfold.core.fit.check import violations
from pinfold.core.fit.demand import prepare
from pinfold.core.fit.engine import fit
from pinfold.core.fit.invariants import broken
from pinfold.core.host import Foreign, HostState, Ledger
from pinfold.core.hosttext import host
from pinfold.core.identity import GuestId
from pinfold.core.ledger import Role, amend, claim, release
from pinfold.core.pools import Pools
from pinfold.core.repin.plan import PcpuMove, Repin, SizeChange, SlotChange, repin
from pinfold.core.request.model import EmulatorPolicy, GuestRequest, ThreadPolicy
from pinfold.core.topology import Topology

PREFER, REQUIRE, ISOLATE = ThreadPolicy.PREFER, ThreadPolicy.REQUIRE, ThreadPolicy.ISOLATE
Guests = dict[GuestId, GuestRequest]


def filled(where: HostState, **requests: GuestRequest) -> tuple[HostState, Guests]:
    """The host with these guests, placed one after another."""
    for name, request in requests.items():
        where = claim(where, GuestId(name), fits(request, where))
    return where, {GuestId(name): request for name, request in requests.items()}


def pins(plan: Repin) -> list[tuple[str, str, str]]:
    """`(guest, from, to)` of each move."""
    return [(step.guest, str(move.before), str(move.after)) for step in plan.steps for move in step.moves]


def changed(where: HostState, dedicated: str, shared: str = "") -> HostState:
    return replace(where, pools=pools(shared, dedicated))


def test_a_vcpu_on_a_retiring_pcpu_moves_to_a_free_one_of_its_cell() -> None:
    where, asked = filled(state("cell:2 core:4", dedicated="0-7"), web=guest("2"))
    plan = repin(changed(where, "1-7"), asked)
    assert pins(plan) == [("web", "0", "2")]
    assert (plan.freed, plan.stays) == (cpus("0"), ())
    assert plan.steps[0].after.emulator == cpus("1-2"), "threads that float over the guest's own pCPUs follow them"


def test_no_guest_moves_to_another_cell() -> None:
    where, asked = filled(state("cell:2 core:2", dedicated="0-3"), web=guest("2"))
    plan = repin(changed(where, "1-3"), asked)
    assert plan.steps == () and plan.stays[0].pcpus == cpus("0")


def test_an_offline_pcpu_retires_too() -> None:
    where, asked = filled(state("core:4", dedicated="0-3"), web=guest("2", emulator=EmulatorPolicy.ISOLATE))
    gone = replace(where, topology=host("core:4 offline:2"), pools=pools("", "0-1,3"))
    plan = repin(gone, asked)
    assert plan.steps[0].moves == (PcpuMove(role=Role.EMULATOR, before=cpus("2"), after=cpus("3")),)
    assert plan.steps[0].after.emulator == cpus("3")


def test_a_guest_on_whole_cores_moves_with_its_idle_siblings_to_a_whole_core() -> None:
    where, asked = filled(state("core:4 pu:2", dedicated="0-7"), web=guest("2", threads=ISOLATE))
    plan = repin(changed(where, "0-2,4-7"), asked)
    assert pins(plan) == [("web", "2", "4"), ("web", "1,3", "1,5")]
    assert plan.freed == cpus("3")


def test_vcpus_that_need_pairs_move_together() -> None:
    where, asked = filled(state("core:4 pu:2", dedicated="0-7"), web=guest("2", threads=REQUIRE))
    assert pins(repin(changed(where, "0,2-7"), asked)) == [("web", "0", "2"), ("web", "1", "3")]
    assert pins(repin(changed(where, "0,2,4,6"), asked)) == []


def test_siblings_are_joined_so_that_a_larger_guest_fits() -> None:
    where, asked = filled(state("core:4 pu:2", dedicated="0-7"), a=guest("1"), b=guest("2"), c=guest("1"))
    where = release(where, GuestId("b"))
    del asked[GuestId("b")]
    spread = amend(where, GuestId("c"), fits(guest("1"), replace(release(where, GuestId("c")), pools=pools("", "4"))))
    big = prepare(guest("3", threads=ISOLATE))
    plan = repin(spread, asked, [("big", big)])
    assert [(kind, len(step.moves)) for step in plan.steps for kind in [step.guest]] == [("a", 1)]
    assert plan.slots == (SlotChange(flavor="big", vcpus=3, before=0, after=1),)


def test_nothing_moves_without_gain() -> None:
    where, asked = filled(state("core:4 pu:2", dedicated="0-7"), a=guest("1"))
    spread = amend(where, GuestId("a"), fits(guest("1"), replace(release(where, GuestId("a")), pools=pools("", "4"))))
    assert repin(spread, asked, [("small", prepare(guest("1")))]).steps == ()
    assert repin(spread, asked) == Repin(
        sizes=(SizeChange(threads=ISOLATE, before=3, after=3), SizeChange(threads=REQUIRE, before=6, after=6))
    )


def test_joined_siblings_make_room_for_what_retires() -> None:
    where = state("core:3 pu:2", dedicated="0-5")
    where, asked = filled(where, iso=guest("1", threads=ISOLATE), a=guest("1"), b=guest("1"))
    spread = amend(where, GuestId("b"), fits(guest("1"), replace(release(where, GuestId("b")), pools=pools("", "4"))))
    plan = repin(changed(spread, "2-5"), asked)
    assert plan.freed == cpus("0-1") and plan.stays == ()
    assert [step.guest for step in plan.steps] == ["a", "iso"]


def test_guests_that_must_not_be_moved_stay() -> None:
    where, _ = filled(state("core:4", dedicated="0-3"), web=guest("2"))
    plan = repin(changed(where, "2-3"), {})
    assert plan.steps == () and plan.stays[0].pcpus == cpus("0-1")


def test_an_isolated_emulator_keeps_away_from_realtime_siblings() -> None:
    request = guest("2", emulator=EmulatorPolicy.ISOLATE, realtime="0-1")
    where, asked = filled(state("core:4 pu:2", dedicated="0-7"), rt=request)
    before = where.ledger.claims[0].fit
    assert before.pinned == cpus("0-1") and before.emulator_pcpu == 2
    plan = repin(changed(where, "0-1,3-7"), asked)
    assert pins(plan) == [("rt", "2", "3")]
    moved = repin(changed(where, "1-7"), asked).steps[0].after
    assert moved.pinned == cpus("1,4"), "pCPU 3 is free, but a sibling of the emulator's"


SHAPES = ("core:4 pu:2 mem:64", "cell:2 core:3 pu:2 mem:64", "core:3 pu:4 mem:64", "core:2 pu:4 mem:64 / core:3 mem:64", "core:5 mem:64")


@st.composite
def small(draw: st.DrawFn, threads: tuple[ThreadPolicy, ...] = tuple(ThreadPolicy), vcpus: tuple[str, ...] = ("", "0")) -> GuestRequest:
    """A pinned guest of one or two cells; `vcpus` of it may be realtime."""
    sizes = draw(st.sampled_from(["1", "1", "2", "3", "1 1"]))
    policy = draw(st.sampled_from([*EmulatorPolicy]))
    realtime = draw(st.sampled_from(vcpus)) if sizes != "1" or policy is not EmulatorPolicy.UNSET else ""
    return guest(sizes, emulator=policy, threads=draw(st.sampled_from(threads)), realtime=realtime)


@st.composite
def crowded(draw: st.DrawFn, requests: st.SearchStrategy[GuestRequest]) -> tuple[HostState, Guests]:
    """A host with guests, some of which have left again, that then lost pCPUs of its dedicated pool, or all of them to `offline`."""
    topology = host(draw(st.sampled_from(SHAPES)))
    shared = CpuSet(draw(st.sets(st.sampled_from(list(topology.online)), max_size=1)))
    everything = Pools(shared=shared, dedicated=topology.online - shared, overhead=shared or None)
    where, asked = HostState(topology=topology, pools=everything, limits=NO_RESERVE), Guests()
    for number in range(6):
        one = draw(requests)
        answer = fit(one, where)
        if isinstance(answer, Fit):
            where, asked[GuestId(f"g{number}")] = claim(where, GuestId(f"g{number}"), answer), one
    for name in draw(st.sets(st.sampled_from(sorted(asked)))) if asked else ():
        where = release(where, name)
        del asked[name]
    taken = CpuSet.union(one.fit.taken for one in where.ledger.claims)
    lost = CpuSet(draw(st.sets(st.sampled_from(list(taken)), max_size=3))) if taken else CpuSet()
    others = CpuSet(draw(st.sets(st.sampled_from(list(topology.online)), max_size=1))) - taken
    foreign = (Foreign(name="other", cpus=others),) if others else ()
    if draw(st.booleans()):
        where = replace(where, topology=_without(topology, lost))
    left = replace(everything, dedicated=everything.dedicated - lost)
    return replace(where, pools=left, ledger=Ledger(claims=where.ledger.claims, foreign=foreign)), asked


def _without(topology: Topology, lost: CpuSet) -> Topology:
    """The host after these pCPUs went offline."""
    cells = []
    for cell in topology.cells:
        cores = tuple(core - lost for core in cell.cores if core - lost)
        cells.append(replace(cell, cores=cores, sockets=cell.sockets[: len(cores)]))
    return Topology(cells=tuple(cells), offline=topology.offline | lost)


@settings(max_examples=120)
@given(crowded(small()), st.booleans())
def test_each_step_is_a_valid_place_in_the_same_cells_and_nothing_gets_worse(made: tuple[HostState, Guests], with_flavor: bool) -> None:
    where, asked = made
    plan = repin(where, asked, [("two", prepare(guest("2", threads=ISOLATE)))] if with_flavor else ())
    now = where
    for step in plan.steps:
        others = release(now, step.guest)
        known = next(one.fit for one in now.ledger.claims if one.guest == step.guest)
        assert step.before == known and step.moves and not broken(step.after)
        assert _wrongs(asked[step.guest], others, step.after) <= _wrongs(asked[step.guest], others, known)
        places = [(cell.guest_cell, cell.host_cell, cell.memory_mib, cell.page_kib, cell.float_set) for cell in known.cells]
        assert places == [(cell.guest_cell, cell.host_cell, cell.memory_mib, cell.page_kib, cell.float_set) for cell in step.after.cells]
        assert (
            step.after.emulator
            if step.after.emulator_placement is EmulatorPlacement.POOL
            else step.after.emulator <= (step.after.taken | step.after.floating)
        )
        claim(others, step.guest, step.after)
        now = amend(now, step.guest, step.after)
    before, after = _retiring(where), _retiring(now)
    assert plan.freed == before - after and after <= before
    assert CpuSet.union(one.pcpus for one in plan.stays) == after
    assert repin(now, asked).freed == CpuSet(), "what can be freed is freed at once"


def _wrongs(request: GuestRequest, others: HostState, placed: Fit) -> Counter[str]:
    """How often a fit breaks each rule, whatever the pCPU. Threads that float over a guest's own pCPUs leave offline ones."""
    wrongs = Counter(re.sub(r"\d[\d,-]*", "", sentence) for sentence in violations(request, others, placed))
    if not placed.taken <= others.topology.online:
        del wrongs["the emulator threads are on  (float), against the policy"]
    return wrongs


def _retiring(where: HostState) -> CpuSet:
    usable = where.pools.dedicated & where.topology.online
    return CpuSet.union(one.fit.taken for one in where.ledger.claims) - usable


@settings(max_examples=120)
@given(crowded(small((PREFER,), ("",))))
def test_with_thread_policy_prefer_the_most_is_freed_and_the_most_cores_are_joined(made: tuple[HostState, Guests]) -> None:
    where, asked = made
    now = where
    for step in repin(where, asked).steps:
        now = amend(now, step.guest, step.after)
    usable = where.pools.dedicated & where.topology.online
    foreign = CpuSet.union(other.cpus for other in where.ledger.foreign)
    most = 0
    for cell in where.topology.cells:
        held = [pcpu for one in where.ledger.claims for pcpu in one.fit.taken if _cell(where, one.fit, pcpu) == cell.id]
        room = list((cell.cpus & usable) - foreign)
        left = [pcpu for one in now.ledger.claims for pcpu in one.fit.taken if _cell(where, one.fit, pcpu) == cell.id]
        assert len(CpuSet(left) - usable) == max(len(held) - len(room), 0), "as many leave as find a free pCPU"
        taken = min(len(held), len(room))
        wholes = [
            sum(core <= (cell.cpus & usable) - foreign - CpuSet(chosen) for core in cell.cores) for chosen in combinations(room, taken)
        ]
        most = max(most, *wholes)
    found = max(
        sum(core <= (cell.cpus & usable) - foreign - CpuSet.union(one.fit.taken for one in now.ledger.claims) for core in cell.cores)
        for cell in where.topology.cells
    )
    if any(len({len(core) for core in cell.cores}) > 1 for cell in where.topology.cells):
        return  # a whole core is not broken to make two smaller ones whole
    assert found == most


def _cell(where: HostState, placed: Fit, pcpu: int) -> int:
    """The host cell of a pCPU that a fit holds; an offline one is in the cell of the guest's."""
    by_pin = {own: cell.host_cell for cell in placed.cells for _, own in cell.pins}
    return by_pin.get(pcpu, where.topology.cell_of.get(pcpu, placed.cells[0].host_cell))

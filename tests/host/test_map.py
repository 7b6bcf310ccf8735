"""The map of a host as a value."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from tests.build.fits import fit
from tests.build.guests import HOST, POOLS, ours, surveyed, theirs, uuid
from tests.build.hosts import cpus

from pinfold.core.drift import Finding, FindingCode
from pinfold.core.host import ForeignMemory
from pinfold.core.host_map import HostMap, Observed, PcpuMap, Pool, host_map
from pinfold.core.hosttext import host
from pinfold.core.ledger import Role, roles
from pinfold.core.overhead import ThreadClass, masks
from pinfold.core.pools import Pools
from pinfold.drivers.port import DefinedPins
from pinfold.host.map import map_of
from pinfold.host.verify import Verdict


def pcpu(seen: HostMap, number: int) -> PcpuMap:
    return next(p for p in [*(p for cell in seen.cells for core in cell.cores for p in core.pcpus), *seen.offline] if p.pcpu == number)


def test_every_online_pcpu_is_there_once_in_its_cell_and_core() -> None:
    seen = map_of(surveyed())
    assert [[[p.pcpu for p in core.pcpus] for core in cell.cores] for cell in seen.cells] == [
        [[0, 1], [2, 3], [4, 5], [6, 7]],
        [[8, 9], [10, 11], [12, 13], [14, 15]],
    ]
    assert [(cell.dedicated, cell.dedicated_free) for cell in seen.cells] == [(6, 6), (8, 8)]


def test_owners_and_roles() -> None:
    seen = map_of(surveyed(ours(1, "a", fit("2,4", pcpu=6, idle="3,5,7")), theirs(2, "x", ["8"], emulator="9")))
    assert [(p, pcpu(seen, p).role) for p in (0, 2, 3, 6, 8, 9, 10)] == [
        (0, None),
        (2, Role.VCPU),
        (3, Role.IDLE_SIBLING),
        (6, Role.EMULATOR),
        (8, Role.FOREIGN),
        (9, Role.FOREIGN),
        (10, Role.FREE),
    ]
    assert [(use.name, use.vcpu) for use in pcpu(seen, 4).owners] == [("a", 1)]
    assert seen.cells[0].dedicated_free == 0
    assert seen.cells[1].dedicated_free == 6


def test_two_owners_are_both_shown() -> None:
    seen = map_of(surveyed(ours(1, "a", fit("2")), ours(2, "b", fit("2"))))
    assert [use.name for use in pcpu(seen, 2).owners] == ["a", "b"]


def test_pools_and_the_hosts_own() -> None:
    pools = Pools(shared=cpus("0"), dedicated=cpus("4-15"), overhead=cpus("1-2"))
    seen = map_of(surveyed(pools=pools))
    assert [pcpu(seen, p).pool for p in (0, 1, 3, 4)] == [Pool.SHARED, Pool.OVERHEAD, Pool.HOST, Pool.DEDICATED]
    assert [pcpu(seen, p).overhead for p in (0, 1)] == [False, True]


def test_a_claimed_pcpu_that_left_the_pool_is_retiring() -> None:
    seen = map_of(surveyed(ours(1, "a", fit("2,4")), pools=Pools(shared=cpus("0-1"), dedicated=cpus("4-15"))))
    assert (pcpu(seen, 2).retiring, pcpu(seen, 4).retiring) == (True, False)


def test_a_claimed_pcpu_that_went_offline_is_still_shown() -> None:
    topology = host("cell:2 core:4 pu:2 offline:5")
    seen = map_of(surveyed(ours(1, "a", fit("4-5")), topology=topology, pools=Pools(shared=cpus("0-1"), dedicated=cpus("2-4,6-15"))))
    assert [(p.pcpu, p.offline) for p in seen.offline] == [(5, True)]


def test_the_overhead_pool_is_booked_by_those_who_use_it() -> None:
    seen = map_of(surveyed(ours(1, "a", fit("2", emulator="0-1")), ours(2, "b", fit("3"))))
    assert seen.overhead is not None
    assert (str(seen.overhead.pool), seen.overhead.booked_millicpu, seen.overhead.total_millicpu, seen.overhead.guests) == (
        "0-1",
        32,
        1000,
        1,
    )
    assert map_of(surveyed(pools=Pools(shared=cpus("0-1"), dedicated=cpus("2-15")))).overhead is None


def test_the_service_draws_the_same_map_of_guests_that_it_ordered() -> None:
    strayed = Finding(code=FindingCode.VCPU_THREAD, guest_id=uuid(1), tid=71, thread_class=ThreadClass.VCPU, recorded="4", observed="0-15")
    guests = ours(1, "a", fit("2,4", pcpu=6, idle="3,5,7")), ours(2, "b", fit("8", emulator="0-1"))
    seen = surveyed(*guests)
    verdicts = [Verdict(guest=guest, masks=masks(fit("2")), observation=None, findings=(strayed,)) for guest in guests]
    told = Observed(names={uuid(1): "a", uuid(2): "b"}, findings=(strayed,), judged=frozenset({uuid(1), uuid(2)}))
    assert map_of(seen, verdicts) == host_map(seen.state, told)


PCPUS = st.lists(st.integers(0, 15), min_size=1, max_size=4, unique=True)


@given(claimed=st.lists(PCPUS, max_size=4), pinned=st.lists(PCPUS, max_size=2), shrunk=st.booleans())
def test_the_map_and_the_ledger_say_the_same_of_every_pcpu(claimed: list[list[int]], pinned: list[list[int]], shrunk: bool) -> None:
    guests = [ours(number, f"g{number}", fit(",".join(map(str, held)))) for number, held in enumerate(claimed)]
    strangers = [theirs(100 + number, f"x{number}", [str(cpu) for cpu in held]) for number, held in enumerate(pinned)]
    pools = Pools(shared=cpus("0-1"), dedicated=cpus("6-15"), overhead=cpus("0-1")) if shrunk else POOLS
    seen = surveyed(*guests, *strangers, pools=pools, topology=HOST)
    drawn = {p.pcpu: (p.role, p.retiring) for cell in map_of(seen).cells for core in cell.cores for p in core.pcpus if p.role is not None}
    assert drawn == {cpu: (told.role, told.retiring) for cpu, told in roles(seen.state).items()}


def test_pcpus_that_are_switched_off_until_a_guest_needs_them_are_free() -> None:
    topology, pools = host("core:8 offline:4-7"), Pools(shared=cpus("0-1"), dedicated=cpus("2-7"), overhead=cpus("0-1"))
    seen = structs.replace(surveyed(theirs(1, "x", ["4"], running=False), topology=topology, pools=pools), power_managed=True)
    assert (seen.switched_off, map_of(seen).dedicated_free) == (cpus("4-7"), 5)
    assert structs.replace(seen, power_managed=False).switched_off == cpus("")


def test_one_pool_for_both_is_told_apart() -> None:
    seen = map_of(surveyed(pools=Pools(shared=cpus("2-15"), dedicated=cpus("2-15"))))
    assert (pcpu(seen, 2).pool, pcpu(seen, 0).pool) == (Pool.EITHER, Pool.HOST)


def test_threads_of_guests_that_are_not_ours_are_seen_on_the_shared_pool() -> None:
    share = theirs(1, "x", ["4", "5"], emulator="0-1", nova=True)
    floating = theirs(2, "y", 3, placement="0", nova=True)
    stopped = theirs(3, "z", 2, placement="1", nova=True, running=False)
    seen = map_of(surveyed(share, floating, stopped))
    assert [(pcpu(seen, p).vcpus_float, pcpu(seen, p).overhead_runs) for p in (0, 1, 2)] == [(True, True), (False, True), (False, False)]
    assert seen.floating_vcpus == 3
    assert seen.overhead is not None
    assert (seen.overhead.guests, seen.overhead.others) == (0, 1)


def test_the_isolated_emulator_pcpu_of_a_guest_that_is_not_ours_is_told_apart() -> None:
    seen = map_of(surveyed(theirs(1, "x", ["4", "5"], emulator="6", nova=True)))
    assert [pcpu(seen, p).owners[0].thread_class for p in (4, 6)] == [ThreadClass.VCPU, ThreadClass.EMULATOR]


def test_each_cell_says_what_memory_and_huge_pages_are_left() -> None:
    topology = host("cell:2 core:4 pu:2 mem:4096 huge:2048x512")
    held = structs.replace(
        theirs(1, "x", ["4"], nova=True), memory_mib=256, huge_mib=256, pages=(ForeignMemory(cell=0, size_kib=2048, count=128),)
    )
    seen = map_of(surveyed(held, ours(2, "a", fit("10")), topology=topology))
    assert [[(pages.size_kib, pages.total, pages.free) for pages in cell.huge_pages] for cell in seen.cells] == [
        [(2048, 512, 384)],
        [(2048, 512, 512)],
    ]
    assert [cell.memory_free_mib for cell in seen.cells] == [3072 - 64, 3072]


def test_a_guest_of_novas_that_was_pinned_elsewhere_live_owns_its_home_and_is_a_stray_elsewhere() -> None:
    home = DefinedPins(vcpus=((0, cpus("4")),), emulator=cpus("0-1"))
    moved = theirs(2, "x", ["5"], emulator="2", nova=True, kept=home)
    seen = map_of(surveyed(ours(1, "a", fit("2")), structs.replace(moved, kept_first=True)))
    found = {p: [(use.name, use.stray) for use in pcpu(seen, p).owners] for p in (2, 4, 5)}
    assert found == {2: [("a", False), ("x", True)], 4: [("x", False)], 5: [("x", True)]}
    assert not any(pcpu(seen, p).contested for p in range(16))
    assert seen.overhead is not None
    assert seen.overhead.others == 1


def test_two_owners_on_the_map_are_the_two_owners_of_an_audit() -> None:
    strangers = (theirs(3, "x", ["6"]), theirs(4, "y", ["6"]))
    seen = map_of(surveyed(ours(1, "a", fit("2")), ours(2, "b", fit("2")), *strangers))
    assert [p for p in range(16) if pcpu(seen, p).contested] == [2], "strangers may share a pCPU with each other"

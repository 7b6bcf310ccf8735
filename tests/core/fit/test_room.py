"""How much fits, to the last pCPU, MiB and page: floating vCPUs, memory, pages, disk and traits."""

from __future__ import annotations

import pytest
from tests.build.fits import fits, refused
from tests.build.hosts import NO_RESERVE, cpus, state
from tests.build.requests import ANY, LARGE, SMALL, explicit, guest

from pinfold.core.fit.answer import NoFit
from pinfold.core.fit.engine import fit
from pinfold.core.host import Foreign, ForeignMemory, Limits, ReservedPages
from pinfold.core.ledger import claim, release
from pinfold.core.reasons import Kind, ReasonCode
from pinfold.core.request.model import GuestRequest, PageRequest


def floating(vcpus: int, memory_mib: int = 1) -> GuestRequest:
    return GuestRequest(vcpus=vcpus, memory_mib=memory_mib)


@pytest.mark.parametrize(
    ("shared", "overhead", "ratio", "fraction", "most"),
    [
        pytest.param("0-3", None, 4.0, 0.5, 16, id="no overhead pool: the ratio alone"),
        pytest.param("0-3", "0-3", 4.0, 0.5, 8, id="half of the overlap is overhead"),
        pytest.param("0", "0", 16.0, 0.5, 8, id="a pool of one"),
        pytest.param("0-3", "0-3", 4.0, 0.0, 16, id="a fraction of nothing gives all to vCPUs"),
        pytest.param("0-3", "4-5", 4.0, 0.5, 16, id="a separate overhead pool takes nothing"),
        pytest.param("0-3", "3-4", 4.0, 0.5, 14, id="an overlap of one"),
        pytest.param("0-2", None, 1.1, 0.5, 3, id="a ratio rounds down: 3.3"),
        pytest.param("0-9", None, 0.7, 0.5, 7, id="a ratio is the decimal that it is written as"),
        pytest.param("0-1", "0-1", 1.0, 1.0, 0, id="a fraction of all leaves none"),
    ],
)
def test_the_host_line_of_floating_vcpus(shared: str, overhead: str | None, ratio: float, fraction: float, most: int) -> None:
    limits = Limits(reserved_memory_mib=0, cpu_allocation_ratio=ratio, shared_fraction=fraction)
    where = state("core:12", shared=shared, overhead=overhead, limits=limits)
    if most:
        where = claim(where, "a", fits(floating(most), where))
    answer = refused(floating(1), where)
    assert answer.sentence() == ("the host has room for 0 floating vCPUs, 1 needed")


def test_floating_guests_and_guest_cells_share_the_host_line() -> None:
    where = state("cell:2 core:2", shared="0-3", limits=Limits(reserved_memory_mib=0, cpu_allocation_ratio=1.0))
    where = claim(where, "a", fits(floating(3), where))
    assert refused(guest("2", floating="0-1"), where).reasons[0].code is ReasonCode.SHARED_CAPACITY
    fits(guest("1", floating="0"), where)


def test_a_guest_cell_does_not_compete_with_itself() -> None:
    where = state("cell:2 core:2", shared="0-3")
    fits(guest("2", floating="0-1"), where)
    answer = refused(guest("3", floating="0-2"), where)
    assert (answer.kind, answer.reasons[-1].code) == (Kind.INFEASIBLE, ReasonCode.SHARED_PCPUS)
    assert len(fits(floating(9), where).float_vcpus) == 9


def test_the_line_of_a_cell_holds_for_guests_bound_to_it() -> None:
    where = state("cell:2 core:2", shared="0-3", limits=Limits(reserved_memory_mib=0, cpu_allocation_ratio=1.0))
    for name, wanted in (("a", 0), ("b", 1)):
        answer = fits(guest("2", floating="0-1"), where)
        assert answer.cells[0].host_cell == wanted
        where = claim(where, name, answer)
    assert refused(guest("1", floating="0"), where).kind is Kind.INSUFFICIENT
    assert fits(guest("2", floating="0-1"), release(where, "a")).cells[0].host_cell == 0


def test_a_guest_without_a_shared_pool_has_no_place_to_float() -> None:
    answer = refused(floating(1), state("core:4"))
    assert answer.sentence() == "no shared pool is configured (cpu_shared_set), and 1 vCPU would float"
    assert answer.kind is Kind.INFEASIBLE


@pytest.mark.parametrize(
    ("limits", "foreign", "most"),
    [
        pytest.param(NO_RESERVE, (), 128, id="all of both cells"),
        pytest.param(Limits(reserved_memory_mib=28), (), 100, id="less the reserve"),
        pytest.param(Limits(reserved_memory_mib=28, ram_allocation_ratio=1.5), (), 150, id="the ratio stretches floating memory"),
        pytest.param(NO_RESERVE, (Foreign(name="x", memory_mib=100),), 28, id="less foreign memory"),
        pytest.param(
            NO_RESERVE, (Foreign(name="x", pages=(ForeignMemory(cell=1, size_kib=4, count=257),)),), 126, id="less foreign small pages"
        ),
    ],
)
def test_the_host_line_of_memory(limits: Limits, foreign: tuple[Foreign, ...], most: int) -> None:
    where = state("cell:2 core:2 mem:64", shared="0-3", limits=limits, foreign=foreign)
    fits(floating(1, most), where)
    assert refused(floating(1, most + 1), where).reasons[0].code is ReasonCode.MEMORY


def test_strict_memory_is_not_stretched_and_floating_memory_keeps_off_it() -> None:
    limits = Limits(reserved_memory_mib=0, ram_allocation_ratio=2.0)
    where = state("core:4 mem:64", shared="0-1", limits=limits)
    where = claim(where, "a", fits(floating(1, 100), where))
    fits(guest("1", memory_mib=14), where)
    assert refused(guest("1", memory_mib=15), where).reasons[0].sentence() == "the host has 14 MiB of small-page memory free, 15 needed"
    where = claim(where, "b", fits(guest("1", memory_mib=14), where))
    assert isinstance(fit(floating(1, 1), where), NoFit)


def test_strict_memory_stays_in_its_cell() -> None:
    where = state("cell:2 core:2 mem:64")
    assert refused(guest("1", memory_mib=65), where).reasons[-1].sentence() == "cell 1 has 64 MiB of small-page memory in all, 65 needed"
    fits(guest("1 1", memory_mib=64), where)


@pytest.mark.parametrize(
    ("page", "memory_mib", "size"),
    [
        pytest.param(SMALL, 8, 4, id="small"),
        pytest.param(explicit(4), 8, 4, id="the small page by number"),
        pytest.param(explicit(2048), 8, 2048, id="a size by number"),
        pytest.param(explicit(2048), 20, 2048, id="all pages of a size"),
        pytest.param(explicit(2048), 22, 0, id="one page more than there are"),
        pytest.param(explicit(2048), 7, 0, id="no whole number of pages"),
        pytest.param(explicit(4096), 8, 0, id="a size that the host does not have"),
        pytest.param(LARGE, 8, 2048, id="large: the largest size"),
        pytest.param(LARGE, 7, 1024, id="large: the largest size that divides the memory"),
        pytest.param(LARGE, 24, 1024, id="large: the largest size of which there are enough"),
        pytest.param(LARGE, 26, 0, id="large is never the small page"),
        pytest.param(ANY, 26, 4, id="any: the small page last"),
        pytest.param(ANY, 8, 2048, id="any: the largest size first"),
    ],
)
def test_pages(page: PageRequest, memory_mib: int, size: int) -> None:
    where = state("core:4 mem:100 huge:1024x25,2048x10")
    request = guest("2", memory_mib=memory_mib, page=page)
    if not size:
        assert isinstance(fit(request, where), NoFit)
        return
    assert fits(request, where).cells[0].page_kib == size


def test_pages_are_used_up_reserved_and_held_by_others() -> None:
    reserved = Limits(reserved_memory_mib=0, reserved_pages=(ReservedPages(cell=0, size_kib=2048, count=3),))
    held = (Foreign(name="x", pages=(ForeignMemory(cell=0, size_kib=2048, count=2),)),)
    where = state("core:4 mem:64 huge:2048x10", limits=reserved, foreign=held)
    first = fits(guest("1", memory_mib=6, page=explicit(2048)), where)
    where = claim(where, "a", first)
    answer = refused(guest("1", memory_mib=6, page=explicit(2048)), where)
    assert answer.reasons[-1].sentence() == "cell 0 has 2 pages of 2048 KiB free, 3 needed"
    fits(guest("1", memory_mib=4, page=explicit(2048)), where)


def test_each_guest_cell_chooses_its_pages_for_itself() -> None:
    where = state("core:2 mem:64 huge:2048x4 / core:2 mem:64")
    assert [cell.page_kib for cell in fits(guest("2 2", memory_mib=8, page=ANY), where).cells] == [2048, 4]


def test_disk() -> None:
    where = state("core:4", disk_gib=10, limits=Limits(reserved_memory_mib=0, reserved_disk_gib=2, disk_allocation_ratio=1.5))
    where = claim(where, "a", fits(guest("1", disk_gib=10), where))
    fits(guest("1", disk_gib=3), where)
    assert refused(guest("1", disk_gib=4), where).sentence() == "the host has 3 GiB of disk free, 4 needed"
    assert refused(guest("1", disk_gib=14), where).kind is Kind.INFEASIBLE
    fits(guest("1", disk_gib=99), state("core:4"))


def test_traits() -> None:
    where = state("core:4", traits=frozenset({"A", "B"}))
    fits(guest("1", required=frozenset({"A"}), forbidden=frozenset({"C"})), where)
    answer = refused(guest("1", required=frozenset({"A", "C"}), forbidden=frozenset({"B"})), where)
    assert answer.sentence() == "the host lacks the trait C; the host has the forbidden trait B"
    assert answer.kind is Kind.INFEASIBLE


def test_more_guest_cells_than_host_cells() -> None:
    answer = refused(guest("1 1 1"), state("cell:2 core:4"))
    assert (answer.reasons[0].sentence(), answer.kind) == ("the host has 2 cells, 3 needed", Kind.INFEASIBLE)


@pytest.mark.parametrize(
    ("vcpus", "taken", "kind", "sentence"),
    [
        pytest.param("4", "0", Kind.INSUFFICIENT, "cell 0 has 3 free dedicated pCPUs, 4 needed", id="a release may help"),
        pytest.param("5", "0", Kind.INFEASIBLE, "cell 0 has 4 dedicated pCPUs, 5 needed", id="nothing will ever help"),
    ],
)
def test_whether_waiting_helps(vcpus: str, taken: str, kind: Kind, sentence: str) -> None:
    answer = refused(guest(vcpus), state("core:4", taken=taken))
    assert (answer.kind, answer.reasons[-1].kind, answer.reasons[-1].sentence()) == (kind, kind, sentence)
    assert [reason.kind for reason in answer.reasons if reason.cell is None] == [kind]


def test_retiring_pcpus_are_never_free() -> None:
    where = state("core:4", dedicated="2-3", taken="0")
    assert fits(guest("2"), where).taken == cpus("2-3")
    assert refused(guest("3"), where).reasons[-1].available == 2

"""The known traps: places where a plausible engine answers wrongly or late."""

from __future__ import annotations

import pytest
from tests.build.fits import fits, places, refused
from tests.build.hosts import cpus, state
from tests.build.requests import ANY, LARGE, guest

from pinfold.core.host import Foreign
from pinfold.core.reasons import Kind, ReasonCode
from pinfold.core.request.model import EmulatorPolicy, ThreadPolicy

ISOLATE = EmulatorPolicy.ISOLATE


def test_cells_of_4_4_and_5_take_guest_cells_of_4_and_4_with_an_isolated_emulator() -> None:
    answer = fits(guest("4 4", emulator=ISOLATE), state("core:4 / core:4 / core:5"))
    assert places(answer) == [(2, "8,9,10,11"), (0, "0,1,2,3")]
    assert answer.emulator == cpus("12")


def test_guest_cells_of_1_1_and_3_on_cells_of_2_do_not_fit() -> None:
    where = state("cell:3 core:2")
    answer = refused(guest("1 1 3"), where)
    assert answer.kind is Kind.INFEASIBLE
    assert "no host cell, even empty, takes guest cell 2" in answer.sentence()


def test_guest_cells_of_1_1_and_3_find_the_one_cell_of_3_wherever_it_stands() -> None:
    for text, wanted in (
        ("core:3 / core:2 / core:2", [1, 2, 0]),
        ("core:2 / core:3 / core:2", [0, 2, 1]),
        ("core:2 / core:2 / core:3", [0, 1, 2]),
    ):
        assert [cell.host_cell for cell in fits(guest("1 1 3"), state(text)).cells] == wanted


@pytest.mark.parametrize(
    ("text", "size"),
    [
        pytest.param("core:4 mem:64 huge:2048x16", 2048, id="a host with pages of 2 MiB"),
        pytest.param("core:4 mem:4096 huge:1048576x2", 1048576, id="a host with pages of 1 GiB, which do not divide the memory"),
        pytest.param("core:4 mem:64 huge:1024x16,2048x3", 1024, id="too few of the larger size"),
        pytest.param("core:4 mem:64", 0, id="no large pages at all"),
    ],
)
def test_large_pages_mean_what_each_host_has(text: str, size: int) -> None:
    request = guest("2", memory_mib=8, page=LARGE)
    if size in (0, 1048576):
        assert refused(request, state(text)).kind is Kind.INFEASIBLE
        return
    assert [cell.page_kib for cell in fits(request, state(text)).cells] == [size]


def test_large_over_hosts_with_different_pages_is_decided_on_each_host_alone() -> None:
    request = guest("2", memory_mib=8, page=LARGE)
    two, one, both = state("core:4 mem:64 huge:2048x16"), state("core:4 mem:64 huge:1024x16"), state("core:4 mem:64 huge:1024x8,2048x4")
    sizes = [fits(request, where).cells[0].page_kib for where in (two, one, both, two)]
    assert sizes == [2048, 1024, 2048, 2048]


def test_a_mixed_guest_whose_cell_0_pins_nothing_gets_its_isolated_emulator_there() -> None:
    answer = fits(guest("2 2", floating="0-1", emulator=ISOLATE), state("pack:2 core:5", shared="0-1,5-6"))
    carrier = answer.cells[0]
    assert carrier.pins == ()
    assert answer.emulator_pcpu in (cpus("2-4") if carrier.host_cell == 0 else cpus("7-9"))
    assert len(answer.taken) == 3


def test_a_mixed_guest_whose_cell_0_finds_no_pcpu_gets_it_in_another_cell() -> None:
    where = state("pack:2 core:5", shared="0-4,5-6")
    answer = fits(guest("2 2", floating="0-1", emulator=ISOLATE), where)
    assert [cell.host_cell for cell in answer.cells] == [0, 1]
    assert answer.emulator == cpus("9")


def test_a_cell_with_nothing_to_pin_is_no_obstacle_to_thread_policies() -> None:
    where = state("core:3 / core:2 pu:2", shared="0-2", dedicated="3-6")
    for threads in ThreadPolicy:
        answer = fits(guest("2 1", floating="0-1", threads=threads), where)
        assert [cell.host_cell for cell in answer.cells] == [0, 1]


@pytest.mark.timeout(60)
def test_eight_guest_cells_on_sixteen_host_cells_with_no_fit_are_answered_at_once() -> None:
    where = state("cell:16 core:4")
    request = guest(" ".join(["4"] * 7 + ["5"]))
    assert refused(request, where).kind is Kind.INFEASIBLE
    full = state("cell:9 core:4 / cell:7 core:3")
    unequal = guest("4 4 4 4 4 4 4 4", emulator=ISOLATE)
    assert refused(unequal, full).kind is Kind.INFEASIBLE
    mixed = guest("1 2 3 4 4 4 4 4", emulator=ISOLATE, threads=ThreadPolicy.ISOLATE)
    assert refused(mixed, state("cell:4 core:4 / cell:12 core:3")).kind is Kind.INFEASIBLE


def test_every_pair_fits_and_all_together_do_not() -> None:
    answer = refused(guest("4 4 1"), state("core:4 / core:3 / core:2"))
    assert [reason.code for reason in answer.reasons if reason.cell is None] == [ReasonCode.CELL_COMBINATION]
    assert answer.reasons[0].sentence() == "each guest cell fits some host cell, but only 2 of 3 fit at once"


def test_the_cheapest_cells_are_left_where_their_small_pages_overdraw_the_host() -> None:
    """Cell 0 is the fullest, so PACK prefers it, but only small pages are left there, and other guests' floating memory needs those."""
    where = state("core:2 mem:64 / core:3 mem:64 huge:2048x31", foreign=(Foreign(name="other", memory_mib=60),))
    answer = fits(guest("2", memory_mib=10, page=ANY), where)
    assert (answer.cells[0].host_cell, answer.cells[0].page_kib) == (1, 2048)
    assert fits(guest("2", memory_mib=6, page=ANY), where).cells[0].host_cell == 0


def test_the_same_with_unequal_guest_cells() -> None:
    where = state(
        "core:2 mem:64 / core:3 mem:64 huge:2048x31 / core:4 mem:64 huge:2048x31", foreign=(Foreign(name="other", memory_mib=64),)
    )
    assert refused(guest("2 1", memory_mib=10), where).reasons[0].code is ReasonCode.MEMORY
    answer = fits(guest("2 1", memory_mib=10, page=ANY), where)
    assert sorted(cell.host_cell for cell in answer.cells) == [1, 2]


def test_the_emulator_takes_the_cell_that_only_it_can_use() -> None:
    """Guest cell 0 cannot carry the emulator in any placement, guest cell 1 can."""
    answer = fits(guest("2 1", emulator=ISOLATE), state("core:2 / core:2"))
    assert answer.emulator_pcpu == 3
    assert places(answer) == [(0, "0,1"), (1, "2")]


def test_a_foreign_pin_counts_as_taken() -> None:
    where = state("core:4", foreign=(Foreign(name="other", cpus=cpus("0-1")),))
    assert places(fits(guest("2"), where)) == [(0, "2,3")]
    assert refused(guest("3"), where).kind is Kind.INSUFFICIENT

"""Memory on wrong cells, told from what each area of a process holds."""

from __future__ import annotations

import pytest

from pinfold.core.cpuset import CpuSet
from pinfold.core.drift import ExpectedMemory, Subject, misplaced_memory
from pinfold.core.drift.memory import Area, AreaKind, placed_mib

MIB = 256
"""Pages of 4 KiB."""
WEB = Subject(name="web", owner="pinfold")


def plain(*pages: tuple[int, int]) -> Area:
    return Area(kind=AreaKind.PLAIN, page_kib=4, pages=pages)


def huge(*pages: tuple[int, int]) -> Area:
    return Area(kind=AreaKind.HUGE, page_kib=2048, pages=pages)


ON_0 = ExpectedMemory(cells=CpuSet.of(0), huge_mib={})
ON_BOTH = ExpectedMemory(cells=CpuSet.of(0, 1), huge_mib={})
HUGE_ON_BOTH = ExpectedMemory(cells=CpuSet.of(0, 1), huge_mib={0: 512, 1: 512})


@pytest.mark.parametrize(
    ("wanted", "areas", "said"),
    [
        pytest.param(ON_0, [plain((0, 512 * MIB))], "", id="all of it is in place"),
        pytest.param(ON_0, [plain((0, 256 * MIB), (1, 256 * MIB))], "256 MiB of its memory lie on cell 1, their", id="half"),
        pytest.param(ON_0, [plain((2, 40 * MIB)), plain((1, 40 * MIB))], "80 MiB of its memory lie on cell 1-2, their", id="two cells"),
        pytest.param(ON_BOTH, [plain((0, 512 * MIB), (1, 512 * MIB))], "", id="a guest of two cells"),
        pytest.param(ON_0, [plain((0, 512 * MIB)), *[plain((1, 4 * MIB))] * 20], "", id="small areas are QEMU's own"),
        pytest.param(ON_0, [plain((0, 512 * MIB), (1, 20 * MIB))], "", id="little may be QEMU's own"),
        pytest.param(
            ON_0, [Area(kind=AreaKind.OTHER, page_kib=4, pages=((1, 512 * MIB),))], "", id="heap and programs are not the guest's"
        ),
        pytest.param(HUGE_ON_BOTH, [huge((0, 256)), huge((1, 256))], "", id="huge pages on both cells"),
        pytest.param(
            HUGE_ON_BOTH, [huge((0, 256)), huge((0, 256))], "512 MiB of its memory lie on cell 0, their place is cell 0-1", id="all on one"
        ),
        pytest.param(HUGE_ON_BOTH, [huge((0, 257)), huge((1, 255))], "2 MiB of its memory lie on cell 0", id="one huge page counts"),
        pytest.param(HUGE_ON_BOTH, [huge((0, 128)), huge((1, 300))], "88 MiB of its memory lie on cell 1", id="not touched everywhere yet"),
        pytest.param(HUGE_ON_BOTH, [huge((0, 256)), huge((1, 300))], "", id="plugged in later, and nothing is lacking"),
    ],
)
def test_memory_on_a_wrong_cell_is_one_finding(wanted: ExpectedMemory, areas: list[Area], said: str) -> None:
    found = misplaced_memory(WEB, wanted, areas)
    assert [finding.sentence().partition(f"guest web: {said}")[0] for finding in found] == ([""] if said else [])
    assert all(finding.advice == "start it anew: `pinfold guest stop web`, `pinfold guest restart web`" for finding in found)


def test_novas_guests_are_rebooted() -> None:
    (finding,) = misplaced_memory(Subject(name="instance-1"), ON_0, [plain((1, 512 * MIB))])
    assert "openstack server reboot --hard" in finding.advice


def test_an_old_reading_says_its_age() -> None:
    areas = [plain((1, 512 * MIB))]
    (fresh,), (old,) = misplaced_memory(WEB, ON_0, areas, 59.0), misplaced_memory(WEB, ON_0, areas, 150.0)
    assert "512 MiB of its memory lie" in fresh.sentence()
    assert "512 MiB (read 2 min ago) of its memory lie" in old.sentence()


def test_where_a_guests_memory_lies_is_its_huge_pages_and_its_large_areas() -> None:
    other = Area(kind=AreaKind.OTHER, page_kib=4, pages=((1, 512 * MIB),))
    assert placed_mib([huge((1, 8)), plain((0, 512 * MIB), (1, 4 * MIB)), plain((2, 4 * MIB)), other]) == ((0, 512), (1, 20))
    assert placed_mib([]) == ()

"""A topology's invariants, and the hosts that a text names."""

from __future__ import annotations

import pytest
from tests.build.hosts import TEXTS, cpus

from pinfold.core.cpuset import CpuSet
from pinfold.core.errors import InvalidRequest, InvariantViolation
from pinfold.core.hosttext import host
from pinfold.core.topology import HostCell, PagePool, Topology, check


def cell(number: int = 0, *cores: str, **changes: object) -> HostCell:
    return HostCell(id=number, cores=tuple(cpus(core) for core in cores), **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("cells", "offline", "sentence"),
    [
        pytest.param((cell(1), cell(0)), "", r"cell ids \[1, 0\] do not ascend", id="ids descend"),
        pytest.param((cell(0), cell(0)), "", r"cell ids \[0, 0\] do not ascend", id="an id twice"),
        pytest.param((cell(0, "0-1", "1"),), "", "pCPU 1 stands in two cores", id="a pCPU in two cores"),
        pytest.param((cell(0, "0"), cell(1, "0")), "", "pCPU 0 stands in two cores", id="a pCPU in two cells"),
        pytest.param((cell(0, "0-1"),), "1-2", "pCPU 1 is both online and offline", id="online and offline"),
        pytest.param((cell(0, ""),), "", "cell 0 has a core without pCPUs", id="an empty core"),
        pytest.param((cell(0, "2", "0"),), "", "not ordered by their lowest pCPU", id="cores out of order"),
        pytest.param((cell(0, "0", "1", sockets=(0,)),), "", "2 cores and 1 socket ids", id="sockets"),
        pytest.param(
            (cell(pages=(PagePool(size_kib=2048, total=1), PagePool(size_kib=4, total=1))),), "", "do not ascend", id="page sizes"
        ),
        pytest.param((cell(memory_mib=-1),), "", "negative amount of memory", id="memory"),
        pytest.param((cell(distances=((0, 10), (1, 20))),), "", r"distances to the cells \[0, 1\], not to \[0\]", id="distances"),
    ],
)
def test_check_names_the_broken_invariant(cells: tuple[HostCell, ...], offline: str, sentence: str) -> None:
    with pytest.raises(InvariantViolation, match=sentence):
        check(Topology(cells=cells, offline=cpus(offline)))


@pytest.mark.parametrize("text", TEXTS)
def test_every_text_is_a_sound_topology(text: str) -> None:
    check(host(text))


@pytest.mark.parametrize(
    ("text", "cells"),
    [
        pytest.param("pack:2 core:2 pu:2", [(0, "0-1 2-3"), (1, "4-5 6-7")], id="siblings side by side"),
        pytest.param("pack:2 core:2 pu:2 far", [(0, "0,4 1,5"), (1, "2,6 3,7")], id="siblings far apart"),
        pytest.param("core:2 pu:4 far", [(0, "0,2,4,6 1,3,5,7")], id="four-way siblings far apart"),
        pytest.param("core:2 pu:2 step:2", [(0, "0,2 4,6")], id="sparse pCPU ids"),
        pytest.param(
            "core:2 / core:0 mem:64 / core:1 pu:2 ids:0,1,8", [(0, "0 1"), (1, ""), (8, "2-3")], id="uneven cells, sparse cell ids"
        ),
        pytest.param("core:3 pu:2 offline:1,4-5", [(0, "0 2-3")], id="an offline sibling and an offline core"),
        pytest.param("cell:16", [(n, str(n)) for n in range(16)], id="sixteen cells"),
    ],
)
def test_the_cells_of_a_text(text: str, cells: list[tuple[int, str]]) -> None:
    assert [(one.id, " ".join(str(core) for core in one.cores)) for one in host(text).cells] == cells


def test_what_a_text_says_of_memory_sockets_and_distances() -> None:
    topology = host("pack:2 cell:2 core:1 mem:100 huge:2048x10,1048576x0 / mem:0 / mem:64 small:64")
    first, last, biggest = topology.cells[0], topology.cells[4], topology.cells[5]
    assert [(page.size_kib, page.total) for page in first.pages] == [(4, 80 * 256), (2048, 10), (1048576, 0)]
    assert (first.small_memory_mib, first.memory_mib, last.pages, last.small_memory_mib) == (80, 100, (), 0)
    assert (biggest.small_page_kib, biggest.pages[0].total) == (64, 1024)
    assert [one.sockets for one in topology.cells] == [(0,), (0,), (1,), (1,), (2,), (3,)]
    assert first.distances == ((0, 10), (1, 12), (2, 20), (3, 20), (4, 20), (5, 20))
    assert topology.threads_per_core == 1


def test_offline_pcpus_exist() -> None:
    topology = host("core:4 offline:1-2")
    assert (topology.online, topology.offline, topology.cell(0).cpus) == (cpus("0,3"), cpus("1-2"), cpus("0,3"))
    assert topology.siblings == {0: CpuSet.of(0), 3: CpuSet.of(3)}
    assert topology.cell_of == {0: 0, 3: 0}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        pytest.param("cores:4", "'cores:4' is none of pack", id="an unknown word"),
        pytest.param("core:4 core:2", "'core' is given twice", id="a word twice"),
        pytest.param("step:2 / step:2", "'step' is given twice", id="a host's word in two groups"),
        pytest.param("core:x", "'core:x' is no whole number from 0 to 8192", id="no number"),
        pytest.param("pu:0", "'pu:0' is no whole number from 1 to 8192", id="a core without threads"),
        pytest.param("huge:2048", "'huge:2048' is not SIZExCOUNT", id="huge pages without a count"),
        pytest.param("mem:1 huge:2048x1", "more than the 1 MiB", id="more huge pages than memory"),
        pytest.param("core:2 offline:2", "names pCPU 2, the host has 0-1", id="an offline pCPU that is not there"),
        pytest.param("cell:2 ids:0", "does not name 2 ascending cell ids", id="too few cell ids"),
        pytest.param("core:9000", "'core:9000' is no whole number from 0 to 8192", id="too many cores"),
        pytest.param("core:8 pu:42949672952", "'pu:42949672952' is no whole number from 1 to 8192", id="far too many threads"),
        pytest.param("cell:99999999", "'cell:99999999' is no whole number from 1 to 1024", id="far too many cells"),
        pytest.param("pack:64 cell:64", "4096 cells are too many, at most 1024 are allowed", id="too many cells together"),
        pytest.param("pack:8 core:128 pu:16", "16384 pCPUs do not fit below CPU index 8191", id="too many pCPUs together"),
        pytest.param("core:2048 step:5", "do not fit below", id="too many pCPUs with steps"),
        pytest.param("cell:600/cell:600", "1200 cells are too many", id="too many cells in two groups"),
        pytest.param("mem:2147483648", "is no whole number from 0 to 2147483647", id="too much memory"),
        pytest.param("huge:2048x1,2048x2", "page sizes .* do not ascend", id="a page size twice"),
        pytest.param("core:1 " * 20_000, "host text has 140000 characters, at most 65536 are allowed", id="too long"),
        pytest.param("x" * 1000, "'x{59}…' is none of pack", id="a long word"),
    ],
)
def test_a_wrong_text_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(InvalidRequest, match=sentence):
        host(text)

"""Fleets and requests of CSV files, and the sentences about what is wrong in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from pinfold.core.errors import InvalidRequest
from pinfold.simulation.inputs import MIXES, fleet_of, requests_of
from pinfold.simulation.table import MAX_ROWS

TRACES = Path(__file__).parents[2] / "benchmarks" / "packing" / "traces"


def test_the_production_traces_are_read_as_they_are() -> None:
    fleet = fleet_of((TRACES / "hosts.csv").read_text(), "hosts.csv")
    assert (fleet.hosts, len(fleet.topologies), fleet.sources[-1]) == (1710, 1710, "hosts.csv, line 1711")
    mix = requests_of((TRACES / "c2.csv").read_text(), "c2.csv")
    assert mix.sources[1] == "c2.csv, line 3"
    assert (len(mix.shapes), mix.shapes[0].vcpus, mix.shapes[0].memory_mib, mix.shapes[0].cells) == (4998, 32, 65536, 2)


def test_a_file_of_excel_is_read_with_its_byte_order_mark() -> None:
    assert [shape.vcpus for shape in requests_of("\ufeffvcpus,memory_gib\r\n2,4\r\n", "r.csv").shapes] == [2]
    assert fleet_of("\ufeffcell0_pcpus,cell0_gib\r\n4,8\r\n", "hosts.csv").hosts == 1


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("memory_gib,vcpu\n1,2\n", "r.csv: the first line names no column vcpus; it names 'memory_gib' and 'vcpu'"),
        ("vcpus\n1\n", "r.csv: the first line names no column memory_gib or memory_mib; it names 'vcpus'"),
        ("", "r.csv is empty"),
        ("\ufeff \n", "r.csv is empty"),
        ("vcpus,memory_gib\n2,1,024\n", "r.csv, line 2 has 3 values, and the first line names 2 columns"),
        (",".join(f"c{n}" for n in range(20)) + "\n1\n", "'c11' and 8 more"),
        ("vcpus,memory_gib\n", "r.csv has no rows below its first line"),
        ("vcpus,memory_gib\n2,1\n2\n", "r.csv, line 3: memory_gib is '', a whole number from 1 to"),
        ("vcpus,memory_gib\n-2,1\n", "r.csv, line 2: vcpus is '-2', a whole number from 1 to"),
        ("vcpus,memory_gib\n\u0662,1\n", "r.csv, line 2: vcpus is '\u0662', a whole number from 1 to"),
        ("vcpus,memory_gib,guest_cells\n3,1,2\n", "r.csv, line 2: 3 vCPUs and 1024 MiB cannot be divided among 2 equal cells"),
        ("vcpus,memory_gib,vcpus\n2,1,64\n", "r.csv: the first line names the column vcpus twice"),
        ("vcpus,memory_gib\n" + "2,1\n" * (MAX_ROWS + 1), "r.csv has more than 200,000 rows"),
    ],
)
def test_what_is_wrong_with_requests_is_said(text: str, sentence: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        requests_of(text, "r.csv")
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "cell0_pcpus,cell0_gib,cell2_pcpus,cell2_gib\n4,8,4,8\n",
            "f.csv: the first line names no column cell1_pcpus; it names 'cell0_pcpus'",
        ),
        ("cell0_pcpus,cell0_gib,cell1_pcpus\n4,8,4\n", "f.csv: the first line names no column cell1_gib; it names"),
        ("cell0_pcpus,cell0_gib,cell1_pcpu,cell1_gib\n4,8,4,8\n", "f.csv: the first line names no column cell1_pcpus; it names"),
        ("cell0_pcpus,cell0_gib,cell1_pcpus,cell1_gib\n4,8,,8\n", "f.csv, line 2: cell1_pcpus is '', a whole number from 0"),
        ("cell0_pcpus,cell0_gib,cell1_pcpus,cell1_gib\n,,4,8\n", "f.csv, line 2: cell0_pcpus is '', a whole number from 0"),
        ("cell0_pcpus,cell0_gib\n,\n", "f.csv, line 2: cell0_pcpus is '', a whole number from 0"),
        ("cell99999_pcpus\n4\n", "f.csv: the first line names cell99999_pcpus; a host has at most"),
        ("cell0_pcpus,cell0_gib,cell0_gib\n4,8,1\n", "f.csv: the first line names the column cell0_gib twice"),
        ("pcpus\n4\n", "f.csv: the first line names no column cell0_pcpus; it names 'pcpus'"),
        ("", "f.csv is empty"),
    ],
)
def test_what_is_wrong_with_a_fleet_is_said(text: str, sentence: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        fleet_of(text, "f.csv")
    assert sentence in str(caught.value)


def test_a_host_may_leave_its_last_cells_empty() -> None:
    fleet = fleet_of("cell0_pcpus,cell0_gib,cell1_pcpus,cell1_gib\n4,8,,\n4,8,0,8\n", "f.csv")
    assert [[cell.memory_mib for cell in one.cells] for one in fleet.topologies] == [[8192], [8192, 8192]]


def test_columns_that_are_ignored_are_named_with_the_one_that_may_be_meant() -> None:
    assert requests_of("vcpus,memory_gib,guest_cell,hw:cpu_polcy\n4,8,2,x\n", "r.csv").warnings == (
        "r.csv: the columns 'guest_cell' and 'hw:cpu_polcy' are ignored; perhaps guest_cells is meant",
    )
    assert requests_of("vcpus,memory_gib,memory_mib\n4,8,512\n", "r.csv").warnings == ("r.csv: the column 'memory_gib' is ignored",)
    assert fleet_of("cell0_pcpus,cell0_gib,rack\n4,8,a\n", "f.csv").warnings == ("f.csv: the column 'rack' is ignored",)
    assert requests_of("vcpus,memory_gib\n4,8\n", "r.csv").warnings == ()


def test_a_column_that_does_not_count_may_be_there_twice() -> None:
    assert requests_of("vcpus,memory_gib,,\n2,1,,\n", "r.csv").shapes[0].vcpus == 2


def test_every_mix_can_be_divided_among_its_cells() -> None:
    assert all(shape.vcpus % shape.cells == shape.memory_mib % shape.cells == 0 for mix in MIXES.values() for shape in mix.shapes)

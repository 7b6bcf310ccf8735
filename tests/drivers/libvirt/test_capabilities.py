"""Capabilities XML of every recorded host, and of broken ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.golden import check

from pinfold.core.cpuset import CpuSet
from pinfold.core.errors import InvalidRequest
from pinfold.core.topology import Topology
from pinfold.drivers.libvirt import capabilities

HOSTS = Path(__file__).parents[2] / "hosts"
HEAD, TAIL = "<capabilities><host><topology><cells>", "</cells></topology></host></capabilities>"
CPU = "<cpu id='1' siblings='1'/>"
SHAPES = sorted(path.parent.name for path in HOSTS.glob("*/capabilities.xml"))


def recorded(shape: str) -> Topology:
    offline = HOSTS / shape / "offline"
    text = (HOSTS / shape / "capabilities.xml").read_text(encoding="utf-8")
    return capabilities.topology(text, offline=CpuSet.parse(offline.read_text(encoding="ascii").strip() if offline.exists() else ""))


def shown(topology: Topology) -> str:
    lines = [f"online {topology.online} offline {topology.offline}, {topology.threads_per_core} threads a core"]
    for cell in topology.cells:
        cores = " ".join(f"{core}@{socket}" for core, socket in zip(cell.cores, cell.sockets, strict=True))
        pages = " ".join(f"{pool.size_kib}KiB:{pool.total}" for pool in cell.pages)
        distances = " ".join(f"{other}:{value}" for other, value in cell.distances)
        lines.append(f"cell {cell.id}: {cell.memory_mib} MiB, small {cell.small_memory_mib} MiB")
        lines += [f"  cores {cores}", f"  pages {pages}", f"  distances {distances}"]
        lines += [f"  last-level caches {' '.join(map(str, cell.caches))}"] if cell.caches else []
    return "\n".join(line.rstrip() for line in lines) + "\n"


@pytest.mark.parametrize("shape", SHAPES)
def test_each_recorded_host_has_the_topology_that_was_reviewed(shape: str) -> None:
    check(HOSTS / shape / "topology.txt", shown(recorded(shape)))


def test_the_ten_shapes_and_a_real_machine_are_recorded() -> None:
    assert len(SHAPES) >= 11
    assert "two-pcpus-kvm" in SHAPES


def test_a_core_keeps_only_its_online_siblings() -> None:
    text = (HOSTS / "one-cell-smt" / "capabilities.xml").read_text(encoding="utf-8")
    topology = capabilities.topology(text, offline=CpuSet.of(3))
    assert topology.cells[0].cores[1] == CpuSet.of(2)
    assert topology.offline == CpuSet.of(3)
    assert 3 not in topology.online


BANKS = "<bank id='{}' level='{}' type='{}' size='16' unit='MiB' cpus='{}'/>"


@pytest.mark.parametrize(
    ("banks", "caches"),
    [
        ([(0, 3, "both", "0-3"), (1, 3, "both", "4-7")], (0, 0, 1, 1)),
        ([(0, 2, "both", "0-7"), (4, 3, "data", "0-7"), (9, 4, "code", "0-7")], (4, 4, 4, 4)),
        ([(0, 3, "both", "0-3")], ()),
        ([], ()),
    ],
    ids=["two in one cell", "the highest level without code", "not of every core", "none"],
)
def test_the_last_level_cache_of_each_core_is_that_of_its_bank(banks: list[tuple[object, ...]], caches: tuple[int, ...]) -> None:
    text = (HOSTS / "one-cell-smt" / "capabilities.xml").read_text(encoding="utf-8")
    told = "".join(BANKS.format(*bank) for bank in banks)
    assert capabilities.topology(text.replace("</host>", f"<cache>{told}</cache></host>", 1)).cells[0].caches == caches


def test_a_bare_cpu_element_is_an_offline_pcpu() -> None:
    text = (HOSTS / "one-cell-no-smt" / "capabilities.xml").read_text(encoding="utf-8")
    bare = text.replace("<cpu id='5' socket_id='0' die_id='0' core_id='5' siblings='5'/>", "<cpu id='5'/>")
    assert bare != text
    assert 5 not in capabilities.topology(bare).online


def test_memory_in_any_unit_is_mib() -> None:
    text = (HOSTS / "one-cell-smt" / "capabilities.xml").read_text(encoding="utf-8")
    gib = text.replace("<memory unit='KiB'>16777216</memory>", "<memory unit='GiB'>16</memory>")
    assert capabilities.topology(gib).cells[0].memory_mib == 16384


def test_the_platform_is_the_host_s_own_architecture() -> None:
    power = capabilities.platform((HOSTS / "four-way-smt" / "capabilities.xml").read_text(encoding="utf-8"))
    assert (power.arch, power.small_page_kib, power.best_virt_type) == ("ppc64le", 64, "kvm")
    real = capabilities.platform((HOSTS / "two-pcpus-kvm" / "capabilities.xml").read_text(encoding="utf-8"))
    assert (real.arch, real.emulator, real.virt_types) == ("x86_64", "/usr/bin/qemu-system-x86_64", ("kvm", "qemu"))


def test_a_host_without_kvm_emulates() -> None:
    text = (HOSTS / "one-cell-smt" / "capabilities.xml").read_text(encoding="utf-8").replace("      <domain type='kvm'/>\n", "")
    assert capabilities.platform(text).best_virt_type == "qemu"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "not well-formed XML: no element found in line 1"),
        ("<capabilities>\n<host></capabilities>", "not well-formed XML: mismatched tag in line 2"),
        ("<domain/>", "starts with <domain>, <capabilities> is expected"),
        ("<capabilities><host/></capabilities>", "has no <host><topology><cells>"),
        ("<!DOCTYPE a [<!ENTITY b 'c'>]><capabilities/>", "document type or entities"),
        (f"{HEAD}<cell id='x'/>{TAIL}", "id='x', a number is expected"),
        (
            f"{HEAD}<cell id='0'/><cell id='0'/>{TAIL}",
            "contradicts itself: topology: cell ids [0, 0] do not ascend",
        ),
        (
            f"{HEAD}<cell id='0'><cpus>{CPU}</cpus></cell><cell id='1'><cpus>{CPU}</cpus></cell>{TAIL}",
            "pCPU 1 stands in two cores",
        ),
        (f"{HEAD}<cell id='0'><cpus><cpu id='1' siblings='1-'/></cpus></cell>{TAIL}", "siblings='1-'"),
    ],
    ids=["empty", "mismatched tag", "a domain", "no cells", "a document type", "no number", "cell twice", "pCPU twice", "bad siblings"],
)
def test_what_is_no_capabilities_xml_is_refused_in_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        capabilities.topology(text)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_text_beyond_the_bound_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="at most 4194304 are allowed"):
        capabilities.topology("<capabilities>" + " " * 4_200_000 + "</capabilities>")
